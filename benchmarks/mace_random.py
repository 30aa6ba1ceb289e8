"""A small MACE with random weights as an ASE calculator, to test the checks on other codes.

Requires: pip install mace-torch.

    python benchmarks/checks.py --names mace
    PYTHONPATH=benchmarks ase-pet check --calculator mace_random:calculator --species Si

Two interactions of 16x0e + 16x1o, spherical harmonics up to 2, correlation 2, cutoff 5 A, float64.
Its energies have no physical meaning, but they are invariant, smooth and conservative.
"""

import numpy as np
import torch
from mace.calculators import (
    MACECalculator,
)  # before e3nn, which it makes loadable with torch 2.6 and later
from mace.modules import MACE, interaction_classes

from e3nn import o3  # isort: skip


def calculator(numbers=(14,), seed=0):
    """MACECalculator with random weights for elements with these atomic numbers."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        default = torch.get_default_dtype()
        torch.set_default_dtype(
            torch.float64
        )  # MACE builds its networks in the default precision of the process
        try:
            model = MACE(
                r_max=5.0,
                num_bessel=8,
                num_polynomial_cutoff=5,
                max_ell=2,
                num_interactions=2,
                interaction_cls=interaction_classes["RealAgnosticResidualInteractionBlock"],
                interaction_cls_first=interaction_classes["RealAgnosticInteractionBlock"],
                num_elements=len(numbers),
                hidden_irreps=o3.Irreps("16x0e + 16x1o"),
                gate=torch.nn.functional.silu,
                MLP_irreps=o3.Irreps("16x0e"),
                atomic_energies=np.zeros((1, len(numbers))),
                avg_num_neighbors=16.0,
                atomic_numbers=list(numbers),
                correlation=2,
            )
        finally:
            torch.set_default_dtype(default)
    return MACECalculator(models=[model], device="cpu", default_dtype="float64")
