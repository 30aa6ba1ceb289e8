"""A MACE in everything that takes a calculator, with no special case."""

import json

import ase.io
import numpy as np
import pytest
import torch
import typer.testing
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator
from ase.calculators.singlepoint import SinglePointCalculator

from ase_pet import MLIPCalculator, checks, cli, phonons
from ase_pet.phonons.force_constants import forces
from tolerances import TOLERANCES, worst

EXACT = TOLERANCES[torch.float64]
LAWS = ["rotation", "gradients", "net_force"]


@pytest.fixture
def path(reference_file):
    """Path of a model with random weights."""
    return reference_file("mace/organic.model")


@pytest.fixture
def calculator(path):
    return MLIPCalculator(path, dtype="float64")


def silicon():
    """Crystal, distorted."""
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.05, seed=1)
    return atoms


def ethanol():
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=2)
    return atoms


def run(*arguments):
    """Output of a command, run in this process."""
    result = typer.testing.CliRunner().invoke(
        cli.app, list(map(str, arguments)), catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return result.stdout


def test_laws(calculator):
    results = checks.run(calculator, ethanol(), only=LAWS)
    assert {result.check for result in results} == set(LAWS)
    assert [result for result in results if result.status == "fail"] == []


@pytest.mark.parametrize("name", ["none", "group:O"])
def test_symmetrisers_change_nothing(path, calculator, name):
    symmetrised = MLIPCalculator(path, dtype="float64", symmetrise=name)
    expected = calculator.get_forces(ethanol())
    assert worst(symmetrised.get_forces(ethanol()), expected) < EXACT["derived"]


def test_hessian_is_that_of_finite_differences(calculator):
    atoms = ethanol()
    step = 1e-4
    rows = []
    for shift in (step, -step):
        moved = atoms.copy()
        moved.positions[1, 2] += shift
        rows.append(calculator.get_forces(moved).ravel())
    row = -(rows[0] - rows[1]) / (2 * step)  # (3n,)
    assert worst(calculator.hessian(atoms, [1])[2], row) < EXACT["derivative"]


def test_displaced_forces_are_those_one_by_one(calculator):
    atoms = silicon()
    moves = [(0, (0.01, 0.0, 0.0)), (5, (0.0, -0.01, 0.0))]
    for (index, shift), found in zip(moves, calculator.displaced_forces(atoms, moves), strict=True):
        moved = atoms.copy()
        moved.positions[index] += shift
        assert worst(found, calculator.get_forces(moved)) < EXACT["derived"]


def test_batches_are_those_one_by_one(calculator):
    structures = [silicon(), ethanol(), silicon().repeat((2, 1, 1))]
    together = calculator.evaluate(structures, ("energy", "forces"))
    for atoms, results in zip(structures, together, strict=True):
        energy = calculator.get_potential_energy(atoms)
        assert results["energy"] == pytest.approx(energy, rel=EXACT["same"])
        assert worst(results["forces"], calculator.get_forces(atoms)) < EXACT["derived"]


REFUSED = {
    "uncertainty": ({"uncertainty": "stop"}, "this model has no uncertainties"),
    "direct forces": ({"non_conservative": True}, "no head for direct forces"),
    "orientations": ({"orientations": 12}, "this model has none"),
    "head": ({"variant": "pbe"}, "`variant` is 'pbe': valid choices"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_it_has_not_is_refused(path, case):
    options, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        MLIPCalculator(path, **options)


def test_info_has_units(path, tmp_path):
    ase.io.write(tmp_path / "ethanol.xyz", ethanol())
    content = json.loads(run("info", path, tmp_path / "ethanol.xyz", "--json"))
    assert content["model"] == "mace"
    assert content["cutoff"] == 4.5
    assert content["receptive_field"] == 9.0
    assert content["units"]["forces"] == "eV/A"
    assert content["species"] == ["H", "C", "O", "Si"]
    assert np.isfinite(content["structure"]["energy"])


def test_dynamics_and_labels(path, calculator, tmp_path):
    ase.io.write(tmp_path / "start.extxyz", silicon())
    run(
        *("md", path, tmp_path / "start.extxyz", "--ensemble", "nve", "--temperature", 300),
        *("--time", 0.004, "--timestep", 1, "--seed", 0, "--output", tmp_path / "run"),
    )
    assert len(ase.io.read(tmp_path / "run" / "trajectory.traj", ":")) >= 1
    atoms = ethanol()
    energy = calculator.get_potential_energy(atoms)
    forces = calculator.get_forces(atoms)
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    ase.io.write(tmp_path / "labels.extxyz", atoms)
    table = json.loads(run("eval", path, tmp_path / "labels.extxyz", "--json"))
    assert "forces" in json.dumps(table)


class OneByOne(Calculator):
    """Forces of a calculator, without batches."""

    implemented_properties = ("energy", "forces")

    def __init__(self, calculator):
        super().__init__()
        self.inner = calculator

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        for name in self.implemented_properties:
            self.results[name] = self.inner.get_property(name, atoms)


def test_phonons_in_batches_are_those_one_by_one(calculator):
    constants = []
    for one in (calculator, OneByOne(calculator)):
        crystal = phonons.Crystal(bulk("Si"), (2, 2, 2))
        structures = crystal.displaced()
        crystal.from_forces(forces(one, structures, crystal.moves))
        constants.append(crystal.phonopy.force_constants)
    assert worst(*constants) < EXACT["derived"]
