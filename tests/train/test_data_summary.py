"""What is said about data: tables, structures to look at, recipes that fit to them."""

import json

import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from typer.testing import CliRunner

from ase_pet.cli import app
from ase_pet.train import (
    agreement,
    data,
    force_scales,
    initial_recipe,
    inspection,
    presets,
    read,
    summary,
)
from ase_pet.train.label_options import parse, parse_units
from ase_pet.train.recipe import factors_of


def copper(count=14, energy=1.0, forces=1.0, stress=1.0, shift=0.0):
    """Strained and rattled copper with labels of EMT times factors."""
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(count):
        atoms = bulk("Cu", cubic=True)
        strain = rng.uniform(-0.02, 0.02, (3, 3))
        atoms.set_cell(atoms.cell @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
        atoms.positions += rng.normal(0, 0.03, (4, 3))
        atoms.calc = EMT()
        results = {
            "energy": energy * atoms.get_potential_energy() + shift * len(atoms),
            "forces": forces * atoms.get_forces(),
            "stress": stress * atoms.get_stress(),
        }
        atoms.calc = SinglePointCalculator(atoms, **results)
        frames.append(atoms)
    return frames


def samples(frames, file="a"):
    return [
        data.sample(atoms, (1, 8, 29), 5.0, f"`{file}`, structure {k}", energy=False)
        for k, atoms in enumerate(frames)
    ]


def test_good_labels_are_derivatives_of_each_other():
    found = agreement.factors(samples(copper()))
    assert found["forces"] == pytest.approx(1, abs=0.2)
    assert found["stresses"] == pytest.approx(1, abs=0.2)
    assert agreement.disagreements(samples(copper())) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"forces": -1.0}, "times what the forces let expect: the sign is wrong?"),
        ({"stress": -1.0}, "times what the stresses let expect: the sign is wrong?"),
        ({"stress": 1 / units.GPa}, "stresses let expect: in GPa rather than eV/A^3?"),
        ({"stress": -10 / units.GPa}, "in kbar and positive under compression?"),
        ({"energy": 1 / units.Hartree}, "energies in Hartree, the others with eV?"),
    ],
)
def test_wrong_signs_and_units_are_found_by_differences(wrong, message):
    lines = agreement.disagreements(samples(copper(**wrong)))
    assert any(message in line and line.startswith("`a`: ") for line in lines)


def test_another_zero_of_energy_in_another_file():
    first = samples(copper(6))
    assert agreement.other_zeros(first + samples(copper(6), "b")) == []
    (line,) = agreement.other_zeros(first + samples(copper(6, shift=100.0), "b"))
    assert "`b`: energies of structures of a composition are 100 eV/atom from those in `a`" in line


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (
            units.Bohr / units.Hartree,
            "times those of `a`, by pair potentials: in Hartree/Bohr rather than in eV/A?",
        ),
        (1 / (units.kcal / units.mol), "in kcal/mol/A rather than in eV/A?"),
        (-1.0, "gradients rather than forces?"),
    ],
)
def test_another_unit_of_forces_in_another_file(factor, message):
    """Of structures that no others of their file resemble, and the other file the larger one."""
    first = samples(copper(14))
    other = samples(copper(8, forces=factor), "b")
    (text,) = force_scales.disagreements([*first, *other])
    assert text.startswith("`b`: forces are")
    assert message in text
    assert text in inspection.notes({"a": first, "b": other}, (29,))


def test_files_with_other_structures_have_the_same_unit_of_forces():
    rng = np.random.default_rng(1)
    frames = copper(10)
    for atoms in frames:
        atoms.set_cell(1.06 * atoms.cell, scale_atoms=True)
        atoms.positions += rng.normal(0, 0.2, (4, 3))
        atoms.calc = EMT()
        results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        atoms.calc = SinglePointCalculator(atoms, **results)
    assert force_scales.disagreements(samples(copper()) + samples(frames, "b")) == []
    # one file, and files of other elements, say nothing
    assert force_scales.disagreements(samples(copper())) == []


def test_suspicious_structures():
    frames = copper(8)
    frames[3].calc.results["forces"][0, 0] = 60.0
    frames[4].calc.results["energy"] += 40.0
    frames[5].pbc = (True, True, False)
    lines = summary.suspicious({"a": samples(frames)})
    texts = "\n".join(lines)
    assert "`a`, structure 3 (60 eV/A): a force above 50 eV/A" in texts
    assert "`a`, structure 4 (+10 eV/atom): an energy far from those of the same" in texts
    assert "`a`, structure 5: periodic in a, b, most of the file in a, b, c" in texts


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.mark.pictures
def test_the_command_describes_files(tmp_path):
    water = molecule("H2O")
    water.calc = SinglePointCalculator(water, energy=-1.0)
    ase.io.write(tmp_path / "cu.extxyz", copper(6))
    ase.io.write(tmp_path / "water.extxyz", water)
    page = tmp_path / "data.html"
    files = (tmp_path / "cu.extxyz", tmp_path / "water.extxyz")
    result = run("data", *files, "--json", "--html", page)
    groups = list(json.loads(result.stdout)["groups"].values())
    assert [group["structures"] for group in groups] == [6, 1]
    assert [group["forces"] for group in groups] == [6, 0]
    assert groups[1]["elements"] == ["H", "O"]
    assert groups[1]["shortest distance (A)"] == pytest.approx([0.9688] * 2, abs=1e-3)
    assert "data:image/png;base64," in page.read_text()
    assert "cu.extxyz" in run("data", *files).stdout.replace("\n", "")


def test_the_command_describes_a_recipe_by_split(recipe, tmp_path):
    result = run("data", recipe(), "--json")
    groups = json.loads(result.stdout)["groups"]
    assert {split: group["structures"] for split, group in groups.items()} == {
        "train": 9,
        "val": 3,
        "test": 2,
    }
    assert "is a recipe: expected no other file" in str(run("data", recipe(), "x").exception)


def test_names_and_units_of_the_command(tmp_path):
    frames = copper(2)
    for atoms in frames:
        atoms.info["E"] = atoms.get_potential_energy() / units.Hartree
        atoms.calc = None
    ase.io.write(tmp_path / "a.extxyz", frames)
    groups = summary.read_files(
        [str(tmp_path / "a.extxyz")],
        parse("energy=E"),
        factors_of(parse_units("energy=Hartree")),
        5.0,
    )
    (found,) = groups.values()
    assert found[0].energy == pytest.approx(copper(1)[0].get_potential_energy())
    message = f"`{tmp_path / 'a.extxyz'}`, structure 0: no `energy`, but `E`"
    assert message in str(run("data", tmp_path / "a.extxyz").exception)


COST = presets.Cost(parameters=1000, evaluation=0.5, update=2.0)


@pytest.fixture
def quick(monkeypatch):
    """Without the measurement, whose time is that of the largest model."""
    monkeypatch.setattr(presets, "measured", lambda settings, samples: COST)


def test_a_recipe_that_fits_to_data(quick, tmp_path):
    frames = copper(60)
    for atoms in frames:
        atoms.info["REF_energy"] = atoms.get_potential_energy()
        atoms.arrays["REF_forces"] = atoms.get_forces()
        atoms.calc = None
    ase.io.write(tmp_path / "cu.extxyz", frames)
    with pytest.warns(UserWarning, match="`REF_(energy|forces)` is read as"):
        result = run("init", tmp_path / "cu.extxyz", "--output", tmp_path / "recipe.toml")
    assert "next, ase-pet train" in result.stdout
    recipe = read(tmp_path / "recipe.toml")
    assert recipe.name == "cu"
    assert recipe.settings["species"] == ["Cu"]
    assert recipe.settings["cutoff"] == 4.5
    assert (recipe.keys.energy, recipe.keys.forces) == ("REF_energy", "REF_forces")
    assert (recipe.data.files, recipe.data.val_fraction) == (("cu.extxyz",), 0.1)
    assert (recipe.loss.forces, recipe.loss.stress) == (1.0, 0.0)
    assert (recipe.optimiser.batch_atoms, recipe.optimiser.updates) == (32, 2000)
    assert recipe.E0s == "fit"
    with pytest.warns(UserWarning, match="split by fractions"):
        splits = data.read(recipe, (29,), 4.5)
    assert len(splits["train"]) == 48


def test_init_takes_names_and_units(quick, tmp_path):
    frames = copper(4)
    for atoms in frames:
        atoms.info["E_tot"] = atoms.get_potential_energy() / units.Hartree
        atoms.arrays["grad"] = -atoms.get_forces()
        atoms.calc = None
    ase.io.write(tmp_path / "cu.extxyz", frames)
    files = ("init", tmp_path / "cu.extxyz", "--output", tmp_path / "r.toml")
    assert "on the command line by --keys energy=E_tot" in str(run(*files).exception)
    names = ("--keys", "energy=E_tot,forces=grad")
    result = run(*files, *names, "--units", "energy=Hartree,forces=-eV/A")
    assert result.exception is None
    recipe = read(tmp_path / "r.toml")
    assert (recipe.keys.energy, recipe.keys.forces) == ("E_tot", "grad")
    assert (recipe.units.energy, recipe.units.forces) == ("Hartree", "-eV/A")
    (tmp_path / "r.toml").unlink()
    assert "no structure has `U`" in str(run(*files, "--keys", "energy=E_tot,forces=U").exception)
    assert "expected files as well" in str(run("init", "--units", "energy=Hartree").exception)


def test_isolated_atoms_and_splits_are_recognised(quick, tmp_path):
    frames = copper(3)
    atom = Atoms("Cu")
    atom.calc = SinglePointCalculator(atom, energy=-1.0)
    for split, atoms in zip(("train", "val", "test", "train"), [*frames, atom], strict=True):
        atoms.info["split"] = split
    ase.io.write(tmp_path / "cu.extxyz", [*frames, atom])
    result = run("init", tmp_path / "cu.extxyz", "--output", tmp_path / "r.toml", "--json")
    assert json.loads(result.stdout)["small"]["parameters"] == 1000
    recipe = read(tmp_path / "r.toml")
    assert (recipe.E0s, recipe.data.val_fraction) == ("isolated", 0.0)
    assert recipe.loss.stress == 0.1


def test_init_without_data_and_with_bad_arguments(tmp_path):
    assert "wrote" in run("init", "--output", tmp_path / "r.toml").stdout
    assert read(tmp_path / "r.toml").name == "silicon"
    assert "exists: remove it" in str(run("init", "--output", tmp_path / "r.toml").exception)
    result = run("init", "--preset", "huge", "--output", tmp_path / "q.toml")
    assert "valid choices are small, medium, large" in str(result.exception)


def test_the_cost_of_a_model_is_measured():
    settings = initial_recipe.pet.Settings(species=(29,), cutoff=4.0, **presets.PRESETS["small"])
    cost = presets.measured(settings, samples(copper(1))[:1])
    assert cost.parameters > 10_000
    assert cost.evaluation > 0
    assert cost.update > 0
    assert cost.hours(3.6e6, 0.0) == pytest.approx(cost.update)


def test_cutoffs_follow_the_density():
    assert presets.cutoff(samples([molecule("H2O")])) == 5.0
    dense = [data.sample(bulk("Cu", cubic=True), (29,), 6.0, "", energy=False)]
    sparse = [data.sample(bulk("Ar", cubic=True), (18,), 6.0, "", energy=False)]
    assert 4.0 <= presets.cutoff(dense) < presets.cutoff(sparse) <= 6.0
