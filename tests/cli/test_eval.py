"""`ase-pet eval`: errors of predictions against labels."""

import json

import ase.io
import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from typer.testing import CliRunner

import toys
from ase_pet import PETCalculator
from ase_pet.cli import app
from ase_pet.cli.eval import compare


@pytest.fixture
def calculator():
    return PETCalculator(toys.tiny_pet("residual", heads={"energy": 1, "dipole": 3}))


def labelled(calculator, energy=0.0, dipole=0.0):
    """Two molecules labelled by the calculator, with these shifts per atom and component."""
    frames = []
    for seed in (1, 2):
        atoms = toys.ethanol()
        atoms.rattle(0.05, seed=seed)
        (results,) = calculator.evaluate([atoms], ("energy", "forces", "dipole"))
        atoms.calc = SinglePointCalculator(
            atoms,
            energy=results["energy"] - energy * len(atoms),
            forces=results["forces"],
            dipole=results["dipole"] - dipole,
        )
        frames.append(atoms)
    return frames


def test_errors_are_differences_from_the_labels(calculator):
    errors = compare(calculator, labelled(calculator, energy=0.25, dipole=0.5))
    assert errors["energy"]["mae"] == pytest.approx(250.0)
    assert errors["dipole"]["mae"] == errors["dipole"]["rmse"] == pytest.approx(0.5)
    assert errors["dipole"]["unit"] == "e A"
    assert errors["forces"]["rmse"] == pytest.approx(0.0, abs=1e-9)


def test_a_constant_shift_is_taken_out(calculator):
    frames = labelled(calculator, energy=0.25)
    assert compare(calculator, frames, shift=True)["energy"]["mae"] == pytest.approx(0.0, abs=1e-9)
    frames[0].calc.results["energy"] -= 0.09
    assert compare(calculator, frames, shift=True)["energy"]["mae"] == pytest.approx(
        90 / len(frames[0]) / 2
    )


def test_labels_that_a_calculator_cannot_predict_are_left_out(calculator):
    frames = labelled(calculator)
    for atoms in frames:
        atoms.numbers[:] = 13
        atoms.positions *= 3
    assert set(compare(EMT(), frames)) == {"energy", "forces"}


def test_the_command_line_takes_out_the_shift(tmp_path):
    atoms = toys.silicon()
    atoms.calc = PETCalculator("silicon")
    results = {"energy": atoms.get_potential_energy() + 80.0, "forces": atoms.get_forces()}
    atoms.calc = SinglePointCalculator(atoms, **results)
    ase.io.write(tmp_path / "data.extxyz", atoms)
    outputs = [
        CliRunner().invoke(
            app, ["eval", "silicon", str(tmp_path / "data.extxyz"), "--json", *words]
        )
        for words in ([], ["--shift"])
    ]
    energies = [float(np.round(json.loads(one.stdout)["energy"]["mae"], 3)) for one in outputs]
    assert energies == [pytest.approx(1e4, rel=1e-3), pytest.approx(0.0, abs=1e-3)]
