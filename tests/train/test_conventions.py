"""The same structures as other programs write them give the same weights, or a sentence."""

import dataclasses
import re
import warnings

import ase.db
import ase.io
import numpy as np
import pytest
import torch
from ase import units
from ase.calculators.singlepoint import SinglePointCalculator

import argon
from ase_pet.train import data, read, run
from ase_pet.train.loss import weighted_loss
from ase_pet.train.prediction import evaluation

KCAL = units.kcal / units.mol
RECIPE = argon.RECIPE.format(epochs=1, method="adam", rate=0.01, dtype="float64")


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """Structures as a file of extended XYZ holds them, with eight decimals."""
    path = tmp_path_factory.mktemp("clean") / "argon.extxyz"
    ase.io.write(path, argon.structures())
    return ase.io.read(path, ":")


@pytest.fixture(scope="module")
def expected(clean, tmp_path_factory):
    """Weights after an epoch of training on the file with ASE's names and units."""
    folder = tmp_path_factory.mktemp("expected")
    ase.io.write(folder / "argon.extxyz", clean)
    return weights(folder)


def weights(folder, extra="", files='["argon.extxyz"]'):
    """All weights in one array after an epoch of training on the files of a folder."""
    path = folder / "recipe.toml"
    path.write_text(RECIPE.replace('["argon.extxyz"]', files) + extra)
    trainer = run.prepare(read(path), folder, "cpu")
    list(trainer.run())
    return torch.cat([each.detach().ravel() for each in trainer.model.parameters()]).numpy()


def renamed(energy, forces, stress, factor=1.0, virial=False, length=1.0):
    """Function that writes the labels of a structure under other names and in other units."""

    def change(atoms):
        copy = atoms.copy()
        tensor = atoms.get_stress(voigt=False) / factor * length**3
        if virial:
            tensor = -atoms.get_stress(voigt=False) * atoms.get_volume() / factor
        copy.info[energy] = atoms.get_potential_energy() / factor
        copy.arrays[forces] = atoms.get_forces() / factor * length
        copy.info[stress] = tensor
        copy.set_cell(copy.cell / length)
        copy.positions /= length
        return copy

    return change


def nine_components(atoms):
    """The stress as nine numbers."""
    copy = atoms.copy()
    tensor = atoms.get_stress(voigt=False).ravel()
    results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
    copy.calc = SinglePointCalculator(copy, **results)
    copy.info["stress"] = tensor
    return copy


def gradients(atoms):
    """Gradients, and a stress in GPa that is positive under compression."""
    copy = renamed("energy", "gradient", "dft_stress")(atoms)
    copy.arrays["gradient"] = -copy.arrays["gradient"]
    copy.info["dft_stress"] = -copy.info["dft_stress"] / units.GPa
    return copy


NAMES = '[keys]\nenergy = "E"\nforces = "F"\nstress = "S"\n'
HARTREE = '[units]\nenergy = "Hartree"\nlength = "Bohr"\n'
MINUS = '[keys]\nforces = "gradient"\n[units]\nforces = "-eV/A"\nstress = "-GPa"\n'
SAID = "is read as (energy|forces|stress) in "
# {convention: (function of a structure, lines of the recipe, what notes say)}
CONVENTIONS = {
    "MACE": (renamed("REF_energy", "REF_forces", "REF_stress"), "", SAID),
    "MACE with virials": (
        renamed("REF_energy", "REF_forces", "REF_virials", virial=True),
        "",
        SAID,
    ),
    "GAP": (renamed("dft_energy", "dft_force", "dft_virial", virial=True), "", SAID),
    "GPUMD": (renamed("energy", "force", "virial", virial=True), "", SAID),
    "method at the end": (renamed("energy_pbe", "forces_pbe", "stress_pbe"), "", SAID),
    "ColabFit": (renamed("potential_energy", "atomic_forces", "cauchy_stress"), "", SAID),
    "NequIP": (renamed("total_energy", "forces", "stress"), "", SAID),
    "nine components": (nine_components, "", None),
    "own names": (renamed("E", "F", "S"), NAMES, None),
    "Hartree and Bohr": (
        renamed("energy", "forces", "stress", units.Hartree, length=units.Bohr),
        HARTREE,
        "is read as .* in Hartree",
    ),
    "kcal/mol": (
        renamed("energy", "forces", "virial", KCAL, virial=True),
        '[units]\nenergy = "kcal/mol"\n',
        "is read as .* in kcal/mol",
    ),
    "gradients": (gradients, MINUS, "is read as stress in -GPa"),
}


@pytest.mark.parametrize("name", CONVENTIONS)
def test_other_names_and_units_give_the_same_weights(clean, expected, tmp_path, name):
    change, extra, note = CONVENTIONS[name]
    ase.io.write(tmp_path / "argon.extxyz", [change(atoms) for atoms in clean])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = weights(tmp_path, extra)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    texts = [str(each.message) for each in caught]
    # what is not ASE's is said, and nothing else
    assert bool(texts) == bool(note)
    assert all(re.search(note, text) for text in texts)


@pytest.mark.parametrize("suffix", ["traj", "json", "db", "extxyz.gz"])
def test_other_formats_give_the_same_weights(clean, expected, tmp_path, suffix):
    path = tmp_path / f"argon.{suffix}"
    writers = {"json": write_database, "db": write_database}
    writers.get(suffix, ase.io.write)(path, clean)
    found = weights(tmp_path, files=f'["argon.{suffix}"]')
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def write_database(path, frames):
    """Structures in a database of ASE, their splits as key-value pairs."""
    with ase.db.connect(path) as database:
        for atoms in frames:
            database.write(atoms, key_value_pairs={"split": atoms.info["split"]})


def test_a_folder_gives_the_same_weights(clean, expected, tmp_path):
    for number, atoms in enumerate(clean):
        (tmp_path / "runs" / f"{number:02}").mkdir(parents=True)
        ase.io.write(tmp_path / "runs" / f"{number:02}" / "frame.extxyz", atoms)
    with pytest.warns(UserWarning, match="`runs`: 14 files of the folder are read"):
        found = weights(tmp_path, files='["runs"]')
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def mixed(atoms):
    """Energies of a model beside the reference."""
    copy = renamed("REF_energy", "REF_forces", "REF_stress")(atoms)
    copy.info["energy"] = 1.0
    return copy


def bad(**changes):
    """Function that gives a structure these labels."""

    def change(atoms):
        copy = renamed("energy", "forces", "stress")(atoms)
        copy.info.update(changes)
        return copy

    return change


REFUSED = {
    "two energies": (mixed, "", "would be read with `energy`, but there is `REF_energy` as well"),
    "unusual names": (renamed("E_tot", "frc", "S"), "", "no `energy`, but `E_tot`"),
    "no number": (bad(energy=np.nan), "", "structure 0: `energy` is not finite"),
    "a weight": (bad(config_weight=-1.0), "", "`config_weight`, the weight of the structure, is"),
    "no stress": (
        lambda atoms: nine_components(atoms),
        '[keys]\nstress = ""\n[loss]\nstress = 0.1\n',
        "`loss.stress` is 0.1, but no training structure has stress",
    ),
    "a unit": (bad(), '[units]\nenergy = "calories"\n', "`units.energy` is 'calories': expected"),
    "a name twice": (
        bad(),
        '[keys]\nenergy = "energy"\n',
        "`data.energy_key` and `keys.energy` are both given",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore")
def test_what_has_no_clear_meaning_is_refused(clean, tmp_path, name):
    change, extra, message = REFUSED[name]
    ase.io.write(tmp_path / "argon.extxyz", [change(atoms) for atoms in clean])
    key = {"a name twice": '["argon.extxyz"]\nenergy_key = "E"'}.get(name, '["argon.extxyz"]')
    with pytest.raises(ValueError, match=message):
        weights(tmp_path, extra, key)


def test_keys_as_other_programs_write_them(tmp_path):
    text = RECIPE.replace('["argon.extxyz"]', '["argon.extxyz"]\nvirial_key = "V"')
    (tmp_path / "recipe.toml").write_text(text)
    assert read(tmp_path / "recipe.toml").keys.virial == "V"


def test_files_with_units_of_their_own(clean, tmp_path):
    half = len(clean) // 2
    ase.io.write(tmp_path / "argon.extxyz", clean[:half])
    change = renamed("energy", "forces", "stress", units.Hartree, length=units.Bohr)
    ase.io.write(tmp_path / "old.extxyz", [change(atoms) for atoms in clean[half:]])
    ase.io.write(tmp_path / "all.extxyz", clean)
    files = '["argon.extxyz", "old.extxyz"]'
    extra = '[units.files."old.extxyz"]\nenergy = "Hartree"\nlength = "Bohr"\n'
    with pytest.warns(UserWarning, match="`old.extxyz`, .* is read as (energy|forces|stress) in H"):
        found = weights(tmp_path, extra, files)
    expected = weights(tmp_path, files='["all.extxyz"]')
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_a_structure_that_weighs_twice_counts_as_two(clean, tmp_path):
    """Two copies of a structure in a batch give the gradient of one with the weight 2."""
    ase.io.write(tmp_path / "argon.extxyz", clean)
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    trainer = run.prepare(read(path), tmp_path, "cpu")
    first, second = trainer.splits["train"][:2]
    rms = trainer.label_rms
    weights = dataclasses.replace(trainer.recipe.loss, energy=0.0)

    def loss(*samples):
        batch = data.collate(samples, trainer.dtype, "cpu")
        return weighted_loss(evaluation(trainer.model, batch), batch, rms, weights) * len(samples)

    heavy = dataclasses.replace(first, weight=2.0)
    assert float(loss(heavy, second)) == pytest.approx(float(loss(first, first, second)))
    nothing = dataclasses.replace(first, weight=0.0)
    assert float(loss(nothing, second)) == pytest.approx(float(loss(second)))
