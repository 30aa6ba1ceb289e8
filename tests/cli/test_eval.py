"""`ase-pet eval`: errors of predictions against labels."""

import json

import ase.io
import numpy as np
import pytest
from ase import units
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixCartesian, FixSymmetry
from typer.testing import CliRunner

import argon
import toys
from ase_pet import PETCalculator
from ase_pet.cli import app
from ase_pet.cli import eval as evaluation_of_files
from ase_pet.cli.eval import compare
from ase_pet.train import train
from ase_pet.train.error_metrics import UNITS


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
    assert errors["dipole"]["mae"] == pytest.approx(0.5)
    assert errors["dipole"]["rmse"] == pytest.approx(0.5)
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
    with pytest.warns(UserWarning, match="does not compute dipole: labels left out"):
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


def copper(constraint=None, seed=1):
    """A rattled slab with raw labels of EMT, and a constraint."""
    atoms = fcc111("Cu", (2, 2, 3), vacuum=6, periodic=True)
    atoms.info.clear()
    atoms.rattle(0.1, seed=seed)
    atoms.calc = EMT()
    results = {
        "energy": atoms.get_potential_energy(),
        "forces": atoms.get_forces(),
        "stress": atoms.get_stress(),
    }
    atoms.calc = SinglePointCalculator(atoms, **results)
    atoms.set_constraint(constraint)
    return atoms


@pytest.mark.parametrize(
    "constraint", [FixAtoms([0, 1, 5]), FixCartesian([2, 3], (True, False, True))]
)
def test_constraints_are_ignored(constraint, tmp_path):
    """Labels and predictions are raw: nothing differs from the calculator that made them."""
    ase.io.write(tmp_path / "slab.traj", [copper(), copper(constraint, 2)])
    with pytest.warns(UserWarning, match="structure 1: constraints are ignored"):
        errors = compare(EMT(), ase.io.read(tmp_path / "slab.traj", ":"))
    for kind in ("energy", "forces", "stress"):
        assert errors[kind]["rmse"] < 1e-9
        assert errors[kind]["rms"] > 0.01


def test_constraints_on_symmetry_are_ignored():
    """FixSymmetry would project forces and stress."""
    atoms = bulk("Cu", cubic=True)
    constraint = FixSymmetry(atoms)
    atoms.positions[0, 0] += 0.2
    atoms.calc = EMT()
    results = {"forces": atoms.get_forces(), "stress": atoms.get_stress()}
    atoms.calc = SinglePointCalculator(atoms, **results)
    atoms.set_constraint(constraint)
    with pytest.warns(UserWarning, match="constraints are ignored"):
        errors = compare(EMT(), [atoms])
    assert errors["forces"]["rmse"] == pytest.approx(0, abs=1e-9)
    assert errors["stress"]["rmse"] == pytest.approx(0, abs=1e-9)


def test_forces_that_constraints_have_set_to_0_are_no_labels():
    atoms = copper(FixAtoms([0, 1, 5]))
    atoms.calc.results["forces"][[0, 1, 5]] = 0
    with pytest.warns(UserWarning, match="constraints|fixed") as caught:
        errors = compare(EMT(), [atoms])
    assert any("fixed atoms are exactly 0" in str(one.message) for one in caught)
    assert errors["forces"]["rmse"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("kind", "value"), [("energy", np.nan), ("forces", np.inf)])
def test_a_label_that_is_not_finite_is_refused(kind, value):
    frames = [copper(), copper(seed=2)]
    frames[1].calc.results[kind] = frames[1].calc.results[kind] * value
    with pytest.raises(ValueError, match=f"structure 1: `{kind}` is not finite"):
        compare(EMT(), frames)


def test_a_prediction_that_is_not_finite_is_refused():
    class Broken(EMT):
        def calculate(self, *arguments, **named):
            super().calculate(*arguments, **named)
            self.results["forces"][0] = np.nan

    with pytest.raises(ValueError, match="gives forces that are not finite for structure 0"):
        compare(Broken(), [copper()])


def eval_emt(tmp_path, frames, *words):
    """Result of `ase-pet eval` of EMT on a file of these structures."""
    ase.io.write(tmp_path / "data.extxyz", frames)
    words = ["eval", "--calculator", "ase.calculators.emt:EMT", *words, "--json"]
    return CliRunner().invoke(app, [*words, str(tmp_path / "data.extxyz")])


def test_nothing_to_compare_with_is_an_error(tmp_path):
    atoms = bulk("Cu")
    result = eval_emt(tmp_path, [atoms, atoms])
    assert isinstance(result.exception, ValueError)
    assert "no energy, forces, stress or dipole to compare with" in str(result.exception)


def test_labels_under_other_names(tmp_path):
    """Refused without their names, read with them."""
    atoms = copper()
    results = atoms.calc.results
    atoms.calc = None
    atoms.info["my_energy"] = results["energy"]
    atoms.arrays["my_forces"] = results["forces"]
    result = eval_emt(tmp_path, [atoms])
    assert "no `energy`, but `my_energy`" in str(result.exception)
    assert "--keys energy=my_energy,forces=my_forces" in str(result.exception)
    result = eval_emt(tmp_path, [atoms], "--keys", "energy=my_energy,forces=my_forces")
    errors = json.loads(result.stdout)
    assert set(errors) == {"energy", "forces"}
    assert errors["forces"]["rmse"] < 1e-4  # of 8 digits
    result = eval_emt(tmp_path, [atoms], "--keys", "energy=my_energy,forces=")
    assert set(json.loads(result.stdout)) == {"energy"}
    result = eval_emt(tmp_path, [atoms], "--keys", "energy=my_energy,forces=f")
    assert "no structure has `f`" in str(result.exception)
    result = eval_emt(tmp_path, [atoms], "--keys", "energies=my_energy")
    assert "there is no key `energies`, did you mean `energy`? expected" in str(result.exception)
    result = eval_emt(tmp_path, [atoms], "--keys", "my_energy")
    assert "'my_energy' has no `=`; expected such as energy=REF_energy" in str(result.exception)


def test_help_of_keys_is_whole(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    words = " ".join(CliRunner().invoke(app, ["eval", "--help"]).stdout.replace("│", " ").split())
    assert "virial (eV, -stress times volume), dipole (e A); an empty name: not used." in words


def test_units_of_a_file(tmp_path):
    atoms = copper()
    results = atoms.calc.results
    scaled = atoms.copy()
    scaled.set_cell(atoms.cell / units.Bohr)
    scaled.positions /= units.Bohr
    scaled.calc = SinglePointCalculator(scaled, energy=results["energy"] / units.Hartree)
    words = ("--units", "energy=Hartree,length=Bohr")
    with pytest.warns(UserWarning, match="`energy` is read as energy in Hartree"):
        result = eval_emt(tmp_path, [scaled], *words)
    assert json.loads(result.stdout)["energy"]["rmse"] < 1e-3
    result = eval_emt(tmp_path, [scaled], "--units", "energy=calories")
    assert "`units.energy` is 'calories': expected one of eV" in str(result.exception)
    result = eval_emt(tmp_path, [scaled], "--units", "mass=kg")
    assert "expected such as energy=Hartree,length=Bohr" in str(result.exception)


def test_the_error_of_a_stress_does_not_depend_on_the_orientation():
    """All nine components count, as in the card of a calculator."""
    atoms = copper()
    atoms.calc.results["stress"] = atoms.calc.results["stress"] + [0.0, 0.01, 0.0, 0.02, 0.0, 0.0]
    turned = atoms.copy()
    turned.rotate(37.0, (1, 2, 3), rotate_cell=True)
    axes = np.linalg.solve(atoms.cell.array, turned.cell.array)
    stress = axes.T @ atoms.get_stress(voigt=False) @ axes
    results = {"energy": 0.0, "stress": stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]}
    turned.calc = SinglePointCalculator(turned, **results)
    expected = np.sqrt((0.01**2 + 2 * 0.02**2) / 9) / units.GPa
    for each in (atoms, turned):
        assert compare(EMT(), [each])["stress"]["rmse"] == pytest.approx(expected)


def test_the_errors_of_a_card_are_those_of_eval(recipe, tmp_path):
    metrics = train(recipe(epochs=1, dtype="float64"), tmp_path / "run")
    frames = [each for each in argon.structures() if each.info["split"] == "test"]
    errors = compare(PETCalculator(tmp_path / "run"), frames)
    for kind, (_, factor) in UNITS.items():
        for expected in [metrics["test"][each] for each in errors if each == kind]:
            assert errors[kind]["rmse"] == pytest.approx(factor * expected["rmse"], rel=1e-6)
            assert errors[kind]["mae"] == pytest.approx(factor * expected["mae"], rel=1e-6)


def test_batches_give_the_results_of_single_structures(calculator, monkeypatch):
    frames = labelled(calculator, energy=0.25)
    frames[1].calc.results.pop("dipole")
    together = compare(calculator, frames)
    monkeypatch.setattr(evaluation_of_files, "CHUNK_ATOMS", 1)
    alone = compare(calculator, frames)
    assert alone.keys() == together.keys()
    for kind in ("energy", "forces", "dipole"):
        assert alone[kind]["mae"] == pytest.approx(together[kind]["mae"], abs=1e-9)
