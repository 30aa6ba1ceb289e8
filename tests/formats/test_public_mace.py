"""Real MACE files in the folder MACE_MODELS: read, evaluated, converted, compared with mace-torch.

    MACE_MODELS=/folder/of/files [MACE_PYTHON=/python/with/mace-torch] pytest THIS FILE

Without MACE_MODELS all tests are skipped: the weights are not part of the repository.
"""

import json
import os
import subprocess
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from ase_pet import MLIPCalculator, checks, published_mace, store
from tolerances import worst

FOLDER = os.environ.get("MACE_MODELS", "")
PEER = os.environ.get("MACE_PYTHON", "")
FILES = sorted(Path(FOLDER).glob("*.model")) if FOLDER else []
CHECKS = ["rotation", "inversion", "permutation", "gradients", "supercell", "net_force"]
needs_peer = pytest.mark.skipif(not PEER, reason="MACE_PYTHON names no python with mace-torch")
every_file = pytest.mark.parametrize("path", FILES or [None], ids=str)
pytestmark = pytest.mark.skipif(not FILES, reason="MACE_MODELS names no folder of `.model` files")
# relative to mace-torch in float64, where the file may have constants in float32
AGREEMENT = 1e-8
SCRIPT = """
import json, sys
import ase.io
from mace.calculators import MACECalculator
head = {"head": sys.argv[4]} if sys.argv[4] else {}
calculator = MACECalculator(
    model_paths=sys.argv[1], device="cpu", default_dtype="float64", **head
)
answers = []
for atoms in ase.io.read(sys.argv[2], ":"):
    atoms.calc = calculator
    forces = atoms.get_forces().tolist()
    answers.append({"energy": float(atoms.get_potential_energy()), "forces": forces})
with open(sys.argv[3], "w") as file:
    json.dump(answers, file)
"""


def structures(species):
    """A crystal, a cluster and an atom alone, of elements of the model."""
    first = species[len(species) // 2]
    last = species[-1]
    crystal = bulk("Si", cubic=True)
    crystal.numbers[:] = first
    crystal.rattle(0.05, seed=1)
    cluster = Atoms([first, last, first], [[0, 0, 0], [2.3, 0.1, 0], [0.2, 2.4, 0.5]])
    return [crystal, cluster, Atoms([last])]


def loaded(path, **options):
    """Calculator of a file; one head of several, the first."""
    heads = list(store.load(path)[0].head_sizes)
    variant = heads[0].partition("/")[2] or None
    return MLIPCalculator(path, variant=variant, dtype="float64", **options)


@every_file
def test_it_is_evaluated(path):
    calculator = loaded(path)
    for atoms in structures(calculator.species):
        assert np.isfinite(calculator.get_potential_energy(atoms))
        assert np.isfinite(calculator.get_forces(atoms)).all()


@every_file
def test_it_is_converted(path, tmp_path):
    folder = store.convert(path, tmp_path / "converted")
    calculator = loaded(path)
    atoms = structures(calculator.species)[0]
    copy = loaded(folder)
    assert (copy.get_forces(atoms) == calculator.get_forces(atoms)).all()
    assert copy.get_potential_energy(atoms) == calculator.get_potential_energy(atoms)


@every_file
def test_its_laws(path):
    calculator = loaded(path)
    results = checks.run(calculator, [structures(calculator.species)[0]], only=CHECKS)
    assert [result.check for result in results if result.status == "fail"] == []


@every_file
def test_single_precision(path):
    calculator = loaded(path)
    low = MLIPCalculator(path, dtype="float32", variant=calculator.parameters["variant"])
    atoms = structures(calculator.species)[0]
    assert worst(low.get_forces(atoms), calculator.get_forces(atoms)) < 1e-3


@every_file
def test_the_sha256_of_a_published_file(path):
    """A file with the name of a published one is that file."""
    named = [
        name
        for name, file in published_mace.FILES.items()
        if path.name in (f"{name}.model", file.url.rpartition("/")[2])
    ]
    assert [name for name in named if published_mace.name_of(path) != name] == []


@needs_peer
@every_file
def test_against_mace_torch(path, tmp_path):
    calculator = loaded(path)
    atoms = structures(calculator.species)
    ase.io.write(tmp_path / "structures.extxyz", atoms)
    (tmp_path / "script.py").write_text(SCRIPT)
    head = calculator.parameters["variant"] or ""
    names = ("script.py", path.absolute(), "structures.extxyz", "answer.json", head)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run([PEER, *map(str, names)], cwd=tmp_path, check=True, env=environment)
    answers = json.loads((tmp_path / "answer.json").read_text())
    for structure, answer in zip(atoms, answers, strict=True):
        energy = calculator.get_potential_energy(structure)
        assert energy == pytest.approx(answer["energy"], rel=AGREEMENT)
        forces = np.array(answer["forces"])
        assert np.abs(calculator.get_forces(structure) - forces).max() < AGREEMENT * max(
            1, np.abs(forces).max()
        )
