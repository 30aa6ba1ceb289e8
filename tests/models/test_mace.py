"""MACE: fast and plain paths, symmetry, derivatives, batches, settings."""

import copy
from dataclasses import replace

import pytest
import torch

from ase_pet import PETCalculator, rotations
from ase_pet.graph import chunking
from ase_pet.models import mace
from local_toys import SPECIES, batch, evaluate
from tolerances import TOLERANCES, worst
from toys import ethanol, silicon, slab

SAME = TOLERANCES[torch.float64]["same"]
SMALL = {
    "species": SPECIES,
    "cutoff": 4.0,
    "width": 4,
    "num_bessel": 4,
    "radial_widths": (8,),
    "readout_width": 3,
    "degree": 2,
}
KINDS = {
    "scalars": {"hidden_degrees": ((0,), (0,))},
    "vectors": {},
    "tensors": {"hidden_degrees": ((0, 1, 2), (0, 2)), "residual": (True, True)},
    "density": {"density": (True, True), "distance_transform": "agnesi", "pair_repulsion": True},
    "soft": {"distance_transform": "soft", "cutoff_in_basis": False, "density": (False, True)},
    "degree 3": {"degree": 3, "correlation": (2, 2)},
    "four factors": {"degree": 1, "correlation": (4, 1)},
    "one layer": {
        "hidden_degrees": ((0,),),
        "residual": (True,),
        "density": (False,),
        "average_neighbours": (8.0,),
        "correlation": (2,),
        "readouts": ("linear",),
    },
}


def toy(kind="vectors", seed=0, **changes):
    """MACE with random weights in float64."""
    torch.manual_seed(seed)
    settings = mace.Settings(**{**SMALL, **KINDS[kind], **changes})
    return mace.Model(settings).double().requires_grad_(False)


def plain(model):
    """A copy that computes the equations as they are written."""
    model = copy.deepcopy(model)
    for module in model.modules():
        module.fast = False
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_fast_paths_equal_the_equations(kind):
    model = toy(kind)
    structures = [ethanol(), slab(), ethanol()[:1]]
    fast = evaluate(model, *structures)
    slow = evaluate(plain(model), *structures)
    assert worst(fast.energies, slow.energies) < SAME
    assert worst(fast.forces, slow.forces) < SAME


@pytest.mark.parametrize("kind", KINDS)
def test_energies_do_not_depend_on_the_orientation(kind):
    model = toy(kind)
    atoms = ethanol()
    before = evaluate(model, atoms)
    generator = torch.Generator().manual_seed(1)
    for rotation in rotations.random_orthogonal(2, generator):
        rotated = atoms.copy()
        rotated.positions = atoms.positions @ rotation.numpy().T
        after = evaluate(model, rotated)
        assert worst(after.energies, before.energies) < SAME
        assert worst(after.forces, before.forces @ rotation.T) < SAME


def test_many_edges_are_added_up_in_groups(monkeypatch):
    """Groups of atoms, whose products are computed anew for derivatives, give the same numbers."""
    model = toy()
    structures = [slab(), ethanol(), ethanol()[:1]]
    whole = evaluate(model, *structures)
    expected = whole.energies, whole.forces
    monkeypatch.setitem(chunking.BUDGETS, "convolution_cells", {"cpu": 20})
    parts = evaluate(model, *structures)
    assert worst(parts.energies, expected[0]) < SAME
    assert worst(parts.forces, expected[1]) < SAME


@pytest.mark.parametrize("kind", ["vectors", "density"])
def test_second_derivatives_are_those_of_forces(kind):
    calculator = PETCalculator(toy(kind))
    atoms = ethanol()
    step = 1e-4
    hessian = calculator.hessian(atoms, of=[0, 3])
    for row, (index, axis) in enumerate([(0, 0), (0, 1), (0, 2), (3, 0), (3, 1), (3, 2)]):
        forces = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[index, axis] += sign * step
            forces.append(calculator.evaluate([moved], ["forces"])[0]["forces"])
        numeric = (forces[1] - forces[0]) / (2 * step)
        assert worst(hessian[row], numeric.flatten()) < TOLERANCES[torch.float64]["derivative"]


def test_a_batch_is_its_structures_one_by_one():
    calculator = PETCalculator(toy())
    structures = [ethanol(), silicon(), slab()]
    together = calculator.evaluate(structures)
    for atoms, results in zip(structures, together, strict=True):
        alone = PETCalculator(toy()).evaluate([atoms])[0]
        assert abs(results["energy"] - alone["energy"]) < SAME * abs(alone["energy"])
        assert worst(results["forces"], alone["forces"]) < SAME


def test_forces_of_displaced_copies_are_those_of_each():
    calculator = PETCalculator(toy())
    atoms = slab()
    shifts = [(0, (0.01, 0, 0)), (1, (0, 0.01, 0))]
    together = calculator.displaced_forces(atoms, shifts)
    for (index, shift), forces in zip(shifts, together, strict=True):
        moved = atoms.copy()
        moved.positions[index] += shift
        assert worst(forces, calculator.evaluate([moved], ["forces"])[0]["forces"]) < SAME


@pytest.mark.parametrize(("kind", "depth"), [("one layer", 0), ("vectors", 1)])
def test_energies_depend_on_edges_up_to_the_depth(kind, depth):
    """On a chain with neighbours only, an atom feels the edges up to `depth` atoms away."""
    model = toy(kind)
    assert model.message_passing_depth == depth
    chain = ethanol()[[0] * 6]
    chain.positions = [[3.0 * index, 0.1 * index**2, 0] for index in range(6)]
    moved = chain.copy()
    moved.positions[-1] += (0, 0, 0.3)
    change = evaluate(model, moved).energies - evaluate(model, chain).energies
    changed = change.abs() > 1e-12
    assert changed.tolist() == [index >= 4 - depth for index in range(6)]


def test_hessian_of_a_local_model_is_that_of_any():
    model = toy("one layer")
    atoms = silicon()
    local = PETCalculator(model).hessian(atoms)
    graph = batch([atoms], model.cutoff)
    assert model.is_local
    one_sided = replace(
        graph,
        pair_centre=graph.centre,
        pair_neighbour=graph.neighbour,
        pair_vectors=graph.edge_vectors,
        one_sided=True,
    )
    assert worst(model(one_sided), model(graph)) < SAME
    assert worst(local, local.T) < TOLERANCES[torch.float64]["derived"]


def test_gradients_reach_all_weights():
    model = toy("density", heads={"energy": 1}).requires_grad_(True)
    evaluation = evaluate(model, ethanol())
    evaluation.training = True
    loss = evaluation.energy.sum() + evaluation.forces.square().sum()
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)
    used = [
        name for (name, _), g in zip(model.named_parameters(), gradients, strict=True) if g.any()
    ]
    assert {"embedding.weight", "interactions.0.radial.0.weight"} <= set(used)


def test_heads_have_energies_of_their_own():
    model = toy(heads={"energy/a": 1, "energy/b": 1})
    graph = batch([ethanol()], model.cutoff)
    both = model.predict(graph, ("energy/a", "energy/b"))
    assert worst(both["energy/a"], both["energy/b"]) > 0.01
    with pytest.raises(ValueError, match="`variant` is needed"):
        PETCalculator(model)
    calculator = PETCalculator(model, variant="b")
    energy = calculator.evaluate([ethanol()], ["energy"])[0]["energy"]
    assert abs(energy - float(both["energy/b"].sum())) < SAME * abs(energy)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_degrees": ((0, 1),)}, "`residual` has 2 entries"),
        ({"hidden_degrees": ((1,), (0,))}, "expected rising degrees from 0"),
        ({"degree": 0}, "but `degree` is 0"),
        ({"activation": "cosine"}, "valid choices are silu"),
        ({"num_products": ((), ())}, "`num_products` does not fit"),
        ({"heads": {"dipole": 3}}, "expected energies of 1 component"),
    ],
)
def test_bad_settings_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        mace.Settings(**{**SMALL, **changes})


def test_second_derivatives_pass_through_what_is_computed_anew(monkeypatch):
    model = toy()
    atoms = ethanol()
    expected = PETCalculator(model).hessian(atoms)
    monkeypatch.setitem(chunking.BUDGETS, "convolution_cells", {"cpu": 20})
    assert worst(PETCalculator(model).hessian(atoms), expected) < SAME
