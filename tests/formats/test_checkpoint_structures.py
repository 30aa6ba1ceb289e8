"""Checkpoints on unusual structures: isolated atoms, molecules, slabs, small cells, many atoms."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, diamond100, molecule
from ase.calculators.calculator import PropertyNotImplementedError

from ase_pet import PETCalculator
from paths import DATA
from tolerances import worst

OWN = ["pet_direct_heads.ckpt", "pet_llpr.ckpt"]
SHARED = [
    f"metatrain/tiny_{name}.ckpt"
    for name in (
        "modern_fixed",
        "modern_adaptive_solver",
        "modern_adaptive_grid",
        "legacy_residual",
        "variants_zbl_temp",
        "conditioning",
    )
]
SHARED += [
    f"original_pet/{name}"
    for name in (
        "default_like",
        "preln",
        "no_central_token",
        "blend_mish_linear",
        "only_length",
        "average_bonds",
    )
]
SHARED += [
    "ecse/model",
    "metatrain/old/pet_model-v1_trainer-v1.ckpt",
    "metatrain/old/llpr_model-v3_trainer-v3.ckpt",
]
STEP = 1e-4  # A
LIMIT = 2e-5  # eV/A, for networks with random weights, some with once differentiable cutoffs


@pytest.fixture(params=OWN + SHARED)
def calculator(request):
    """Calculator of a checkpoint, float64."""
    if request.param in OWN:
        return PETCalculator(DATA / request.param, dtype="float64")
    find = request.getfixturevalue("reference_file")
    return PETCalculator(find(request.param), dtype="float64")


def element(calculator):
    """Symbol of an element the model knows."""
    return Atoms(numbers=[max(calculator.species)]).symbols[0]


def rattled(atoms, seed=0):
    atoms.rattle(0.1, seed=seed)
    return atoms


def small_cell(symbol):
    return rattled(bulk(symbol, "fcc", a=3.6, cubic=False) * (1, 1, 2))


def slab(symbol):
    atoms = rattled(diamond100(symbol, (1, 1, 3), vacuum=5.0, a=5.0))
    atoms.pbc = [True, True, False]
    return atoms


def agree(calculator, atoms):
    """Forces agree with differences of the energy for three components, and add up to zero."""
    forces = calculator.get_forces(atoms)
    assert np.isfinite(forces).all()
    assert np.abs(forces.sum(axis=0)).max() < 1e-10
    for k in range(min(3, len(atoms))):
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[k, k] += sign * STEP
            energies.append(calculator.get_potential_energy(moved))
        assert abs(forces[k, k] - (energies[1] - energies[0]) / (2 * STEP)) < LIMIT


def test_atom_alone(calculator):
    single = Atoms(element(calculator), positions=[[1, 2, 3]])
    boxed = Atoms(element(calculator), cell=np.eye(3) * 40, pbc=True)
    assert np.isfinite(calculator.get_potential_energy(single))
    assert np.array_equal(calculator.get_forces(single), np.zeros((1, 3)))
    assert (
        abs(calculator.get_potential_energy(boxed) - calculator.get_potential_energy(single))
        < 1e-12
    )
    assert np.array_equal(calculator.get_stress(boxed), np.zeros(6))


def test_pair_beyond_the_cutoff(calculator):
    symbol = element(calculator)
    pair = Atoms([symbol, symbol], positions=[[0, 0, 0], [0, 0, calculator.cutoff + 1e-6]])
    alone = calculator.get_potential_energy(Atoms(symbol))
    assert abs(calculator.get_potential_energy(pair) - 2 * alone) < 1e-10
    assert np.array_equal(calculator.get_forces(pair), np.zeros((2, 3)))


def test_molecule_has_forces_and_no_stress(calculator):
    atoms = rattled(molecule("CH4"))
    atoms.numbers[:] = np.resize(calculator.species, len(atoms))
    agree(calculator, atoms)
    with pytest.raises(PropertyNotImplementedError, match="stress needs a cell of rank 3"):
        calculator.get_stress(atoms)


def test_cell_smaller_than_the_cutoff(calculator):
    atoms = small_cell(element(calculator))
    agree(calculator, atoms)
    double = atoms * (2, 1, 1)
    assert (
        abs(calculator.get_potential_energy(double) - 2 * calculator.get_potential_energy(atoms))
        < 1e-9
    )
    assert worst(calculator.get_stress(double), calculator.get_stress(atoms)) < 1e-10


def test_slab(calculator):
    atoms = slab(element(calculator))
    agree(calculator, atoms)
    higher = atoms.copy()
    higher.cell[2] *= 3
    assert (
        abs(calculator.get_potential_energy(higher) - calculator.get_potential_energy(atoms))
        < 1e-10
    )


@pytest.mark.parametrize(
    "name", [*OWN, "metatrain/tiny_modern_adaptive_grid.ckpt", "original_pet/default_like"]
)
def test_two_thousand_atoms(name, request):
    find = request.getfixturevalue("reference_file")
    path = DATA / name if name in OWN else find(name)
    calculator = PETCalculator(path, dtype="float32")
    atoms = rattled(bulk(element(calculator), "diamond", a=5.5, cubic=True) * (5, 5, 10))
    results = calculator.evaluate([atoms], ("energy", "forces", "stress"))[0]
    assert results["forces"].shape == (2000, 3)
    assert np.isfinite(results["forces"]).all()
    assert np.isfinite(results["stress"]).all()
