"""Signs and units of labels against a calculator at hand."""

import warnings

import ase.io
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from typer.testing import CliRunner

import argon
from ase_pet import PETCalculator, cli
from ase_pet.train import label_signs, summary, train
from ase_pet.train.schema import Keys
from ase_pet.train.unit_conversion import Factors

MISTAKES = {  # {what is wrong: (factor of forces, factor of stresses, what is said)}
    "nothing": (1, 1, []),
    "gradients": (-1, 1, ['eV/A, gradients; see `units.forces` = "-eV/A"']),
    "pressure": (1, -1, ['eV/A^3, positive under compression; see `units.stress` = "-eV/A^3"']),
    "VASP": (1, -10 / units.GPa, ["kbar, positive under compression; see `units.stress`"]),
    "GPa": (1, 1 / units.GPa, ['in GPa; see `units.stress` = "GPa"']),
    "atomic units": (units.Bohr / units.Hartree, 1, ["Hartree/Bohr; see `units.forces`"]),
}


def another_method():
    """A calculator similar to that of the labels."""
    return LennardJones(sigma=3.4, epsilon=0.0095, rc=5.0, smooth=True)


def labelled(forces, stress):
    frames = []
    for atoms in argon.structures(8):
        copy = atoms.copy()
        results = {"energy": atoms.get_potential_energy(), "forces": forces * atoms.get_forces()}
        copy.calc = SinglePointCalculator(copy, stress=stress * atoms.get_stress(), **results)
        frames.append(copy)
    return frames


@pytest.mark.parametrize("name", MISTAKES)
def test_signs_and_units_are_found_by_finite_strain(name, tmp_path):
    *factors, expected = MISTAKES[name]
    path = tmp_path / "data.extxyz"
    ase.io.write(path, labelled(*factors))
    samples = summary.read_files([str(path)], Keys(), Factors(), 5.0, None)[str(path)]
    found = label_signs.of_calculator(another_method(), samples, "a reference")
    assert len(found) == len(expected)
    assert all(text in line for text, line in zip(expected, found, strict=True))


def test_a_start_shows_the_sign_of_new_labels(recipe, tmp_path):
    """New labels are those of the start, with the other sign."""
    path = recipe(epochs=1)
    ase.io.write(tmp_path / "argon.extxyz", argon.structures(15))
    train(path, tmp_path / "first")
    new = tmp_path / "new"
    new.mkdir()
    # the others have distances that the start has not seen
    read = ase.io.read(tmp_path / "argon.extxyz", ":")
    frames = [atoms for atoms in read if atoms.info["split"] != "test"]
    rows = PETCalculator(tmp_path / "first").evaluate(frames, ("forces",))
    for atoms, row in zip(frames, rows, strict=True):
        atoms.calc.results["forces"] = -row["forces"]
    ase.io.write(new / "argon.extxyz", frames)
    text = 'name = "a"\nstart = "../first"\n[data]\nfiles = ["argon.extxyz"]\n'
    text += "[optimiser]\nepochs = 1\n"
    (new / "recipe.toml").write_text(text)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(new / "recipe.toml", new / "run")
    texts = [str(each.message) for each in caught]
    assert any("`forces` of the data are -1 times those of `start`" in each for each in texts)


def test_the_command_takes_a_calculator(tmp_path):
    path = tmp_path / "copper.extxyz"
    frames = []
    for seed in range(4):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.1, seed=seed)
        atoms.calc = EMT()
        results = {"energy": atoms.get_potential_energy(), "forces": -atoms.get_forces()}
        copy = atoms.copy()
        copy.calc = SinglePointCalculator(copy, **results)
        frames.append(copy)
    ase.io.write(path, frames)
    arguments = ["data", str(path), "--calculator", "ase.calculators.emt:EMT"]
    done = CliRunner().invoke(cli.app, arguments)
    assert done.exit_code == 0, done.output
    output = " ".join(done.output.split())
    assert "`forces` of the data are -1 times those of `ase.calculators.emt:EMT`" in output
