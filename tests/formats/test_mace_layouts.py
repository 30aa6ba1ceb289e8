"""MACE files of other layouts than the oracles: of early versions, several heads, float32."""

import subprocess
import sys

import numpy as np
import pytest
from ase.build import molecule

from ase_pet import MLIPCalculator, store
from paths import DATA

FOLDER = DATA / "mace"  # of tests/data/make_mace.py
CASES = {  # key of the values -> file and head
    "early_repulsion": ("early_repulsion", None),
    "two_heads_float32/pbe": ("two_heads_float32", "pbe"),
    "two_heads_float32/r2scan": ("two_heads_float32", "r2scan"),
    "three_layers": ("three_layers", None),
}
# the import of torch's compiler takes longer than to read a file
READ = """
import sys
from ase_pet.formats import mace
mace.read(sys.argv[1])
assert "torch._dynamo" not in sys.modules
assert "sympy" not in sys.modules
"""


def distorted():
    """The structure of the values."""
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=2)
    return atoms


@pytest.mark.parametrize("key", CASES)
def test_numbers_are_those_of_mace_torch(key):
    file, head = CASES[key]
    values = np.load(FOLDER / "values.npz")
    calculator = MLIPCalculator(FOLDER / f"{file}.model", variant=head, dtype="float64")
    atoms = distorted()
    energy = values[f"{key}/energy"]
    forces = values[f"{key}/forces"]
    assert abs(calculator.get_potential_energy(atoms) - energy) < 1e-12 * abs(energy)
    assert np.abs(calculator.get_forces(atoms) - forces).max() < 1e-9 * np.abs(forces).max()


@pytest.mark.parametrize("key", CASES)
def test_a_converted_model_gives_the_same(key, tmp_path):
    file, head = CASES[key]
    path = FOLDER / f"{file}.model"
    store.convert(path, tmp_path / "folder")
    one, two = (MLIPCalculator(source, variant=head) for source in (path, tmp_path / "folder"))
    assert one.get_potential_energy(distorted()) == two.get_potential_energy(distorted())
    assert (one.get_forces(distorted()) == two.get_forces(distorted())).all()


def test_a_head_must_be_chosen():
    path = FOLDER / "two_heads_float32.model"
    with pytest.raises(ValueError, match="`variant` is needed, .* 'pbe', 'r2scan'"):
        MLIPCalculator(path)
    with pytest.raises(ValueError, match="`variant` is 'pbr': valid choices are 'pbe', 'r2scan'"):
        MLIPCalculator(path, variant="pbr")


def test_precision_is_that_of_the_weights():
    dtypes = {file: store.load(FOLDER / f"{file}.model")[1].dtype for file, _ in CASES.values()}
    assert dtypes == {
        "early_repulsion": "float64",
        "two_heads_float32": "float32",
        "three_layers": "float64",
    }


def test_the_reach_is_that_of_the_layers():
    model, _ = store.load(FOLDER / "three_layers.model")
    assert model.message_passing_depth == 2


def test_reading_imports_no_compiler():
    path = FOLDER / "early_repulsion.model"
    subprocess.run([sys.executable, "-c", READ, str(path)], check=True, timeout=300)


@pytest.mark.parametrize("kept", [0.3, 0.99])
def test_a_file_that_was_cut_off_is_called_incomplete(tmp_path, kept):
    whole = (FOLDER / "three_layers.model").read_bytes()
    path = tmp_path / "cut.model"
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(ValueError, match="damaged or incomplete"):
        store.load(path)
