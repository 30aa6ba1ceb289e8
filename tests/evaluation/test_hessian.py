"""Hessians of every kind of model against differences of forces, by both methods."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError

import original_pet_files
from ase_pet import InvalidStructure, PETCalculator, evaluation
from ase_pet.evaluation import local_models
from ase_pet.graph import build, from_atoms
from local_toys import local_pet
from ponita_toys import tiny_ponita
from tolerances import TOLERANCES, worst
from toys import STRUCTURES, sheared, silicon, slab, tiny_pet

EXACT = TOLERANCES[torch.float64]
MODELS = {
    "PET": lambda: tiny_pet(cutoff_function="bump"),
    "local PET": lambda: tiny_pet("local", cutoff_function="bump"),
    "adaptive": lambda: tiny_pet("grid"),
    "original PET": lambda: original_pet_files.tiny(cutoff_function="bump"),
    "local original PET": lambda: original_pet_files.tiny(cutoff_function="bump", n_gnn_layers=1),
    "PONITA": tiny_ponita,
    "local PONITA": lambda: tiny_ponita("one layer"),
}
LOCAL = ("local PET", "local original PET", "local PONITA")
SYMMETRISERS = {"ecse": "local PET", "group:O": "PONITA"}


def batch(model, atoms):
    return build([from_atoms(atoms)], model.cutoff)


def differences(calculator, atoms, step=1e-5):
    """(3n, 3n) central differences of forces in eV/A^2."""
    ends = [atoms.copy() for _ in range(6 * len(atoms))]
    for k, copy in enumerate(ends):
        copy.positions[k // 6, k // 2 % 3] += step * (1 - 2 * (k % 2))
    forces = np.array(
        [results["forces"].ravel() for results in calculator.evaluate(ends, ("forces",))]
    )
    return (forces[1::2] - forces[::2]) / (2 * step)


def check(calculator, atoms):
    """Check against differences of forces, symmetry, and the acoustic sum rule."""
    hessian_matrix = calculator.hessian(atoms)
    assert worst(hessian_matrix, differences(calculator, atoms)) < 10 * EXACT["derivative"]
    assert worst(hessian_matrix, hessian_matrix.T) < EXACT["derived"]
    assert (
        np.abs(hessian_matrix.reshape(-1, len(atoms), 3).sum(1)).max()
        < EXACT["derived"] * np.abs(hessian_matrix).max()
    )


@pytest.mark.parametrize("structure", ["sheared", "slab"])
@pytest.mark.parametrize("name", MODELS)
def test_hessian_is_the_derivative_of_forces(name, structure):
    check(PETCalculator(MODELS[name](), skin=0), STRUCTURES[structure]())


@pytest.mark.parametrize("name", SYMMETRISERS)
def test_hessian_of_a_symmetrised_model_is_the_derivative_of_forces(name):
    check(PETCalculator(MODELS[SYMMETRISERS[name]](), symmetrise=name, skin=0), sheared())


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("name", LOCAL)
def test_passes_over_neighbours_equal_passes_over_atoms(name, structure):
    model, atoms = MODELS[name](), STRUCTURES[structure]()
    graph = batch(model, atoms)
    rows = torch.cat([evaluation.hessian(model, graph, [k]) for k in range(len(atoms))])
    assert worst(local_models.hessian(model, graph), rows) < EXACT["derived"]


def test_passes_of_a_local_model_are_those_of_its_neighbours(monkeypatch):
    model, atoms = local_pet(), silicon() * (2, 2, 1)
    graph, passes, gradient = batch(model, atoms), [], local_models.gradient
    monkeypatch.setattr(
        local_models,
        "gradient",
        lambda *args, **more: (passes.append(1), gradient(*args, **more))[1],
    )
    evaluation.hessian(model, graph)
    assert len(passes) == 1 + 3 * int(torch.bincount(graph.centre).max()) < 1 + 3 * len(atoms)


@pytest.mark.parametrize("name", ["PET", "local PET"])
def test_rows_of_some_atoms(name):
    calculator, atoms = PETCalculator(MODELS[name]()), slab()
    full = calculator.hessian(atoms).reshape(6, 3, 18)
    assert (
        worst(calculator.hessian(atoms, of=[4, 1]), full[[4, 1]].reshape(6, 18)) < EXACT["derived"]
    )


def test_isolated_atoms_have_no_curvature():
    calculator = PETCalculator(MODELS["local PET"]())
    np.testing.assert_array_equal(
        calculator.hessian(Atoms("SiO", [[0, 0, 0], [0, 0, 9]])), np.zeros((6, 6))
    )


def test_the_solver_is_refused_as_its_second_derivatives_are_wrong():
    model = tiny_pet("solver")
    with pytest.raises(
        PropertyNotImplementedError, match="second derivatives of this model are not exact"
    ):
        PETCalculator(model).hessian(sheared())
    wrong = type(
        "Wrong",
        (),
        {
            "exact_second_derivatives": True,
            "is_local": False,
            "is_symmetrised": False,
            "__call__": lambda self, graph: model(graph),
        },
    )()
    hessian_matrix = evaluation.hessian(wrong, batch(model, sheared())).numpy()
    assert worst(hessian_matrix, differences(PETCalculator(model, skin=0), sheared())) > 1e-4


def moves(atoms, length, count=9):
    """Displacements of some atoms in all directions; none of the first."""
    random = np.random.default_rng(0)
    shifts = random.normal(size=(count, 3))
    return [
        (0, np.zeros(3)),
        *zip(
            random.integers(len(atoms), size=count),
            length * shifts / np.linalg.norm(shifts, axis=1, keepdims=True),
            strict=True,
        ),
    ]


@pytest.mark.parametrize("batch_atoms", [None, 40])
@pytest.mark.parametrize("length", [1e-3, 0.4])
@pytest.mark.parametrize("name", [*LOCAL, "PET"])
def test_forces_of_displaced_copies_are_those_of_whole_structures(name, length, batch_atoms):
    model, atoms = MODELS[name](), silicon() * (2, 2, 1)  # 0.4 A: pairs cross the cutoff
    calculator, displacements = PETCalculator(model, batch_atoms=batch_atoms), moves(atoms, length)
    expected = calculator._one_by_one(atoms, *zip(*displacements, strict=True))
    assert worst(calculator.displaced_forces(atoms, displacements), expected) < EXACT["same"] * 10


def test_only_environments_that_hold_the_displaced_atom_are_evaluated(monkeypatch):
    model, atoms = local_pet(cutoff=3.0), silicon() * (2, 2, 2)
    seen, forward = [], model.forward
    monkeypatch.setattr(
        model, "forward", lambda graph: (seen.append(graph.n_atoms), forward(graph))[1]
    )
    PETCalculator(model).displaced_forces(atoms, moves(atoms, 0.01, 3)[1:])
    assert seen == [
        64 + 1,
        3 * (1 + 4) + 1,
    ]  # at rest; an atom and its four neighbours; one that stands for all neighbours


def test_fallback_for_symmetrised_models_and_small_cells_is_exact():
    calculator, atoms = PETCalculator(local_pet(), symmetrise="ecse"), silicon()
    displacements = moves(atoms, 0.1, 2)
    full = calculator._one_by_one(atoms, *zip(*displacements, strict=True))
    assert worst(calculator.displaced_forces(atoms, displacements), full) == 0


@pytest.mark.parametrize(
    "displacements", [[(2, [0, 0, 0.1])], [(-1, [0, 0, 0.1])], [(0, [0, 0, np.nan])]]
)
def test_bad_displacements_are_named(displacements):
    with pytest.raises(
        ValueError,
        match="`displacements`: expected .*(indices of atoms from 0 to 1|finite lengths in A)",
    ):
        PETCalculator(local_pet()).displaced_forces(
            Atoms("SiO", [[0, 0, 0], [0, 0, 1.5]]), displacements
        )


def test_no_displacement_brings_atoms_together():
    with pytest.raises(InvalidStructure, match="closer than 0.1 A"):
        PETCalculator(local_pet()).displaced_forces(
            Atoms("SiO", [[0, 0, 0], [0, 0, 1.5]]), [(0, [0, 0, 1.45])]
        )
