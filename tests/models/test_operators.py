"""Number of operators of torch in a step of molecular dynamics: it may only go down."""

from collections import Counter

import pytest
from torch.utils._python_dispatch import TorchDispatchMode

import toys
from ase_pet import PETCalculator

# of the published sizes XS and S, whose structure these toys have; small systems pay for each one
ADAPTIVE = {"num_neighbors_adaptive": 4, "adaptive_cutoff_method": "grid"}
LAYERS = {"XS": 2, "S": 3}
MOST = {
    ("XS", "float64"): 769,
    ("S", "float64"): 964,
    ("XS", "float32"): 710,
    ("S", "float32"): 877,
}


class Operators(TorchDispatchMode):
    """Counts each operator that is called inside."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        self.counts[str(function)] += 1
        return function(*arguments, **(options or {}))


@pytest.mark.parametrize(("size", "dtype"), MOST)
def test_operators_of_a_step(size, dtype):
    model = toys.tiny_pet(num_gnn_layers=LAYERS[size], **ADAPTIVE)
    calculator = PETCalculator(model, dtype=dtype, device="cpu")
    atoms = toys.silicon()
    for _ in range(2):
        atoms.rattle(1e-3, seed=1)
        calculator.calculate(atoms, ("energy", "forces", "stress"), ["positions"])
    atoms.rattle(1e-3, seed=2)
    with Operators() as operators:
        calculator.calculate(atoms, ("energy", "forces", "stress"), ["positions"])
    assert calculator._neighbours.searches == 1
    assert operators.counts.total() <= MOST[size, dtype], operators.counts.most_common(20)
