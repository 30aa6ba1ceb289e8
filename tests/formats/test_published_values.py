"""The published PET-MAD 1.5.0 models against the predictions of their authors, if weights exist.

Weights: in the cache of the hub (`ase-pet download pet-mad-s-v1.5.0`); structures and values:
`../shared`.
"""

import ase.io
import numpy as np
import pytest

from ase_pet import PETCalculator, published

# a tenth of the tolerance that the authors use in float32
ENERGY = 1e-4  # eV/atom
FORCES = 1e-3  # eV/A
STRESS = 5e-4  # eV/A^3
CASES = [
    ("pet-mad-s", "test_mini_pet-mad-s", False),
    ("pet-mad-xs", "test_mini_pet-mad-xs", False),
    ("pet-mad-xs", "test_mini_pet-mad-xs_direct", True),
]


@pytest.fixture
def calculator(name, direct):
    """Calculator of a published model that is in the cache; nothing is downloaded."""
    path = published.cached().get(name, {}).get("1.5.0")
    if path is None:
        pytest.skip(f"the weights of {name}-v1.5.0 are not in the cache of the hub")
    return PETCalculator(path, non_conservative=direct)


@pytest.fixture
def predictions(file, reference_file):
    """Structures with the energies, forces and stresses of the authors."""
    return ase.io.read(reference_file(f"pet_mad_goldens/{file}.xyz"), ":")


@pytest.mark.parametrize(("name", "file", "direct"), CASES)
def test_predictions_of_the_authors(name, file, direct, calculator, predictions):
    results = calculator.evaluate(predictions, ("energy", "forces"))
    for atoms, result in zip(predictions, results, strict=True):
        expected = atoms.calc.results
        assert abs(result["energy"] - expected["energy"]) / len(atoms) < ENERGY
        assert np.abs(result["forces"] - expected["forces"]).max() < FORCES


@pytest.mark.parametrize(("name", "file", "direct"), CASES)
def test_stress_of_the_authors(name, file, direct, calculator, predictions):
    crystals = [atoms for atoms in predictions if atoms.pbc.all()]
    results = calculator.evaluate(crystals, ("stress",))
    for atoms, result in zip(crystals, results, strict=True):
        assert np.abs(result["stress"] - atoms.get_stress()).max() < STRESS


@pytest.mark.parametrize("file", [file for _, file, _ in CASES])
def test_the_predictions_are_complete(file, predictions):
    assert len(predictions) in (9, 12)
    assert all({"energy", "forces"} <= atoms.calc.results.keys() for atoms in predictions)
