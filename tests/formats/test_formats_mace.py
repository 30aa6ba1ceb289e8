"""Models of MACE: numbers of mace-torch, conversion, and files that are refused."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms

from ase_pet import PETCalculator, formats, store
from ase_pet.formats import mace
from tolerances import worst

NAMES = ("organic", "invariant", "vectors", "density_agnesi_zbl")
STRUCTURES = ("ethanol", "si8", "mixed_cell", "slab", "atom", "pair")
# relative to the largest number of an array; atoms alone have no forces
# public models, which are not part of the repository: a folder of `.model` files
PUBLIC = sorted(Path(os.environ.get("MACE_MODELS", "/nowhere")).glob("*.model"))
LIMITS = {"float64": 1e-9, "float32": 5e-6}
SMALLEST_FORCE = 1e-2  # eV/A


def structure(values, name):
    """Structure of a file of values."""
    arrays = {key: values[f"{name}/{key}"] for key in ("numbers", "positions", "cell", "pbc")}
    return Atoms(**arrays)


@pytest.fixture(scope="module")
def organic():
    """Path of a model in the repository."""
    from paths import DATA

    return DATA / "oracles" / "mace" / "organic.model"


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("name", NAMES)
def test_numbers_are_those_of_mace_torch(name, dtype, reference_file):
    path = reference_file(f"mace/{name}.model")
    values = np.load(path.with_suffix(".npz"))
    calculator = PETCalculator(path, dtype=dtype)
    limit = LIMITS[dtype]
    for key in STRUCTURES:
        atoms = structure(values, key)
        atoms.calc = calculator
        energy = values[f"{key}/energy"]
        assert abs(atoms.get_potential_energy() - energy) < limit * abs(energy)
        # the file has energies without those of free atoms
        free = [calculator.model.composition[number] for number in atoms.numbers]
        energies = calculator.results["energies"] - free
        assert worst(energies, values[f"{key}/energies"]) < limit
        forces = values[f"{key}/forces"]
        largest = max(np.abs(forces).max(), SMALLEST_FORCE)
        assert np.abs(atoms.get_forces() - forces).max() < limit * largest


@pytest.mark.parametrize("key", ["si8", "mixed_cell"])
@pytest.mark.parametrize("name", NAMES)
def test_stress_is_that_of_mace_torch(name, key, reference_file):
    path = reference_file(f"mace/{name}.model")
    values = np.load(path.with_suffix(".npz"))
    atoms = structure(values, key)
    atoms.calc = PETCalculator(path)
    assert worst(atoms.get_stress(), values[f"{key}/stress_voigt"]) < LIMITS["float64"]


def test_a_converted_model_is_the_same(organic, tmp_path):
    folder = store.convert(organic, tmp_path / "converted")
    values = np.load(organic.with_suffix(".npz"))
    atoms = structure(values, "mixed_cell")
    results = []
    for path in (organic, folder):
        atoms.calc = PETCalculator(path)
        results.append((atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()))
    for before, after in zip(*results, strict=True):
        assert np.array_equal(before, after)
    model, _ = store.load(folder)
    assert model.message_passing_depth == 1
    assert model.settings == formats.read(organic).settings


def test_weights_and_constants_have_their_precision(organic):
    model = mace.read(organic)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}
    single = model.float()
    assert {parameter.dtype for parameter in single.parameters()} == {torch.float32}
    assert {buffer.dtype for buffer in single.radial_basis.buffers()} == {torch.float64}


def test_an_unsupported_element_is_named(organic):
    with pytest.raises(ValueError, match="unsupported element Fe: the model knows H, C, O, Si"):
        Atoms("Fe", calculator=PETCalculator(organic)).get_potential_energy()


@pytest.mark.parametrize("path", PUBLIC, ids=str)
def test_public_models_are_read(path):
    """Each file of the folder MACE_MODELS: forces are derivatives, and turn with the structure."""
    calculator = PETCalculator(path, dtype="float64")
    number = calculator.species[0]
    atoms = Atoms([number] * 3, [[0, 0, 0], [0, 0.3, 2.1], [1.9, 0, 0.4]], calculator=calculator)
    forces = atoms.get_forces()
    step = 1e-4
    energies = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions[0, 0] += sign * step
        energies.append(calculator.evaluate([moved], ["energy"])[0]["energy"])
    assert abs((energies[1] - energies[0]) / (2 * step) - forces[0, 0]) < 1e-5
    before = atoms.get_potential_energy()
    atoms.rotate(50, (1, 2, 3))
    assert abs(atoms.get_potential_energy() - before) < 1e-9
