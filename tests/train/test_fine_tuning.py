"""What a training keeps of the calculator that it starts from: a test for each quantity."""

import dataclasses
import tomllib

import ase.io
import numpy as np
import pytest
import torch

import argon
from ase_pet import PETCalculator, store
from ase_pet.models import pet
from ase_pet.train import continuation, data, read, run, train
from ase_pet.train.parts import parts_of
from ase_pet.train.recipe import model_settings
from paths import DATA

BEFORE = {18: -7.0, 54: -3.25, 10: -2.5}  # eV, of Ar, Xe and Ne


@pytest.fixture
def start(recipe, tmp_path):
    """Function that writes the calculator `first` of three elements, and a recipe on argon."""

    def write(extra="", settings="", loss="", **info):
        path = recipe(1)
        text = path.read_text().replace('["Ar"]', '["Ar", "Xe", "Ne"]')
        path.write_text(text.replace("d_head = 8", "d_head = 8\n" + settings) + loss)
        torch.manual_seed(3)
        model = pet.Model(model_settings(read(path)))
        model.compositions = {head: dict(BEFORE) for head in ["energy"]}
        model.scales = {"energy": 0.37}
        store.save(tmp_path / "first", model, store.CalculatorInfo("three", **info))
        lines = text.splitlines()
        kept = lines[lines.index("[data]") :]
        second = tmp_path / "second.toml"
        second.write_text('name = "second"\nstart = "first"\n' + extra + "\n".join(kept) + "\n")
        return second

    return write


@pytest.mark.filterwarnings("ignore:no training structure has")
def test_what_a_recipe_does_not_say_is_that_of_the_start(start):
    second = read(start(dtype="float64", symmetrise="ecse", provenance={"augmentation": "frames"}))
    assert (second.model, second.dtype, second.symmetrise) == ("pet", "float64", "ecse:compact")
    assert second.augmentation == "frames"
    assert second.settings["species"] == [18, 54, 10]
    assert second.settings["cutoff"] == 5.0


def test_energies_of_the_elements(start, tmp_path):
    """Of absent elements kept; of the others the network's error is fitted, or nothing."""
    path = start()
    with pytest.warns(UserWarning, match="energies with Xe, Ne will be those of `start`"):
        trainer = run.prepare(read(path), tmp_path, "cpu")
    assert {z: trainer.composition[z] for z in (54, 10)} == {54: -3.25, 10: -2.5}
    errors = trainer.fitted_composition(trainer.averaged_model())
    assert errors == pytest.approx(dict.fromkeys(BEFORE, 0.0), abs=1e-5)
    assert trainer.start.changes[0].endswith("kept, as no training structure has them: Xe, Ne")

    path = start('E0s = "start"\n')
    with pytest.warns(UserWarning, match="energies with Xe, Ne"):
        train(path, tmp_path / "kept")
    content = tomllib.loads((tmp_path / "kept/calculator.toml").read_text())
    assert content["composition_energies"]["energy"] == {"Ar": -7.0, "Xe": -3.25, "Ne": -2.5}


@pytest.mark.filterwarnings("ignore:no training structure has")
def test_elements_that_the_data_cannot_tell_apart_keep_their_difference(start, tmp_path):
    path = start()
    frames = argon.structures()
    for atoms in frames:
        atoms.numbers[:2] = 54
    ase.io.write(tmp_path / "argon.extxyz", frames)
    trainer = run.prepare(read(path), tmp_path, "cpu")
    energies = trainer.composition
    assert energies[18] - energies[54] == pytest.approx(BEFORE[18] - BEFORE[54], abs=1e-4)
    errors = trainer.fitted_composition(trainer.averaged_model())
    assert errors == pytest.approx(dict.fromkeys(BEFORE, 0.0), abs=1e-4)


@pytest.mark.filterwarnings("ignore:no training structure has")
@pytest.mark.parametrize("energies", ['"fit"', '"start"', "{Ar = -6.5}"])
def test_in_memory_and_from_a_cache(start, tmp_path, energies):
    path = start(f"E0s = {energies}\n")
    one = run.prepare(read(path), tmp_path, "cpu")
    path.write_text(path.read_text().replace("[data]", '[data]\ncache = "cache"'))
    other = run.prepare(read(path), tmp_path, "cpu")
    assert one.composition == other.composition
    assert one.label_rms == other.label_rms
    for split in ("train", "val", "test"):
        labels = [[each.energy for each in t.splits[split]] for t in (one, other)]
        assert labels[0] == pytest.approx(labels[1], abs=1e-9)


@pytest.mark.filterwarnings("ignore:no training structure has")
def test_scales_and_distances(start, tmp_path):
    path = start(shortest_distances={(18, 18): 3.0, (54, 54): 2.1})
    train(path, tmp_path / "run")
    model, info = store.load(tmp_path / "run")
    assert model.scales == {"energy": 0.37}
    assert info.shortest_distances == {(18, 18): 3.0, (54, 54): 2.1}
    assert info.provenance["start"]["name"] == "three"
    assert "Fine-tuned from `three`" in (tmp_path / "run/README.md").read_text()


@pytest.mark.filterwarnings("ignore:no training structure has")
@pytest.mark.parametrize(
    ("extra", "line"),
    [
        ('dtype = "float32"\n', "`dtype`: float64 before, float32 now"),
        ('symmetrise = "ecse"\n', "`symmetrise`: none before, ecse:published now"),
        ("settings.cutoff = 4.5\n", "settings: `cutoff` 5.0 before, 4.5 now"),
        ("settings.zbl = true\n", "settings: `zbl` False before, True now"),
    ],
)
def test_what_differs_is_said(start, tmp_path, extra, line):
    trainer = run.prepare(read(start(extra, dtype="float64")), tmp_path, "cpu")
    assert trainer.start.changes[1:] == [line]


@pytest.mark.filterwarnings("ignore:no training structure has")
def test_heads_without_labels_are_kept_and_said(start, tmp_path):
    path = start(settings="heads = {energy = 1, dipole = 3}", loss="[loss]\ndipole = 1.0")
    train(path, tmp_path / "run")
    model, info = store.load(tmp_path / "run")
    assert set(model.head_sizes) == {"energy", "dipole"}
    assert info.provenance["start"]["changes"][1].startswith("heads dipole: kept, but")


@pytest.mark.filterwarnings("ignore:no training structure has", "ignore:.*is read as energy in meV")
def test_labels_in_other_units_give_the_same_energies(start, tmp_path):
    path = start()
    in_ev = run.prepare(read(path), tmp_path, "cpu").composition
    frames = argon.structures()
    for atoms in frames:
        atoms.calc.results["energy"] *= 1000
    ase.io.write(tmp_path / "argon.extxyz", frames)
    units = '[units]\nenergy = "meV"\nforces = "eV/A"\nstress = "eV/A^3"\n[data]'
    path.write_text(path.read_text().replace("[data]", units))
    assert run.prepare(read(path), tmp_path, "cpu").composition == pytest.approx(in_ev, abs=1e-6)


@pytest.mark.filterwarnings("ignore:no training structure has")
def test_absent_elements_keep_their_energies_after_a_training(start, tmp_path):
    """Six structures of one element must not change the others by electronvolts."""
    path = start(dtype="float64")
    path.write_text(path.read_text().replace("learning_rate = 0.01", "learning_rate = 1e-4"))
    train(path, tmp_path / "run")
    atoms = argon.structures(1)[0]
    atoms.numbers[:] = [54, 54, 10, 10]
    energies = [PETCalculator(tmp_path / name).evaluate([atoms]) for name in ("first", "run")]
    before, after = (one[0]["energy"] for one in energies)
    assert after == pytest.approx(before, abs=0.1)


def test_a_checkpoint_is_a_start(tmp_path):
    """Of another program, with heads that energies and forces do not train."""
    path = tmp_path / "recipe.toml"
    frames = argon.structures(5)
    for atoms in frames:
        atoms.numbers[:] = 14
    ase.io.write(tmp_path / "silicon.extxyz", frames)
    checkpoint = str(DATA / "pet_direct_heads.ckpt")
    path.write_text(f'name = "tuned"\nstart = "{checkpoint}"\n[data]\nfiles = ["silicon.extxyz"]\n')
    with pytest.warns(UserWarning, match="energies with H, C, O, Mg will be those of `start`"):
        trainer = run.prepare(read(path), tmp_path, "cpu")
    first, info = store.load(checkpoint)
    assert trainer.model.settings == first.settings
    assert trainer.recipe.dtype == info.dtype
    assert trainer.model.scales == first.scales
    for name, value in first.state_dict().items():
        assert torch.equal(trainer.model.state_dict()[name], value)


def test_files_of_a_start(start, tmp_path):
    """A run of the original PET is a folder; the folder of a start is not for its results."""
    path = start()
    recipe = dataclasses.replace(read(path), start=str(DATA / "original_pet"))
    digests = continuation.fingerprint(recipe, path)["calculator of `start`"].split()
    assert len(digests) == len(list((DATA / "original_pet").iterdir()))
    with pytest.raises(ValueError, match=r"first holds calculator.toml, weights.safetensors"):
        train(path, tmp_path / "first")
    kept = tmp_path / "recipe.toml"
    kept.write_text("of the user")
    with pytest.raises(ValueError, match=r"holds recipe.toml, which the training would replace"):
        train(path, tmp_path)
    assert kept.read_text() == "of the user"


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ('settings.species = ["Ar"]\n', "`species`: Ar, Xe, Ne and Ar"),
        ("settings.d_head = 6\n", "`d_head` 8 before, 6 now"),
    ],
)
def test_other_weights_are_refused_with_what_differs(start, tmp_path, extra, message):
    with pytest.raises(ValueError, match=message):
        run.prepare(read(start(extra)), tmp_path, "cpu")


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("start = 3\n", "`start` is 3: expected the name or path of one calculator"),
        ('start = ""\n', "`start` is ''"),
        ('start = "first"\nmodel = "mace"\n', "`model` is 'mace', but that of `start` is 'pet'"),
        (
            'start = "first"\nfine_tuning.new_species = true\n',
            "`new_species` is True: expected a table or a list of strings",
        ),
    ],
)
def test_bad_keys_of_a_start_are_refused(start, extra, message):
    path = start()
    path.write_text(path.read_text().replace('start = "first"\n', extra))
    with pytest.raises(ValueError, match=message):
        read(path)


def test_energies_of_a_start_that_is_not_there(recipe):
    path = recipe()
    path.write_text('E0s = "start"\n' + path.read_text())
    with pytest.raises(ValueError, match="`E0s` is 'start', but the recipe has no `start`"):
        read(path)


@pytest.mark.filterwarnings("ignore:no training structure has")
def test_a_loss_with_kept_energies_sees_a_shift_of_all(start, tmp_path):
    trainer = run.prepare(read(start('E0s = "start"\n')), tmp_path, "cpu")
    assert trainer.keeps_energies
    batch = parts_of(trainer, [0, 1], None)
    first = trainer._backward(batch, 2, torch.Generator())
    for part in batch:
        part.batch.energy.add_(5.0 * part.batch.n_atoms)
    assert trainer._backward(batch, 2, torch.Generator()) > first + 1e-3


def test_uncertainties_of_the_weights_before_are_left_out(tmp_path):
    """They would say nothing about the new weights; another energy head keeps its energies."""
    path = tmp_path / "recipe.toml"
    frames = argon.structures(5)
    for atoms in frames:
        atoms.numbers[:] = 14
    ase.io.write(tmp_path / "silicon.extxyz", frames)
    checkpoint = str(DATA / "pet_llpr.ckpt")
    lines = ['name = "tuned"', f'start = "{checkpoint}"', "[data]", 'files = ["silicon.extxyz"]']
    path.write_text("\n".join([*lines, "[optimiser]", "epochs = 1"]))
    with pytest.warns(UserWarning, match="energies with H, C, O will be those of `start`"):
        train(path, tmp_path / "run")
    model, info = store.load(tmp_path / "run")
    assert not model.settings.uncertainties
    changes = info.provenance["start"]["changes"]
    assert changes[1].startswith("uncertainties: left out")
    assert changes[2].startswith("heads energy/pbe: kept")
    first, _ = store.load(checkpoint)
    assert model.compositions.get("energy/pbe") == first.compositions.get("energy/pbe")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("cutoff = 5.0", "cutoff = 0.5", "no atom of the training structures has a neighbour"),
        ('["Ar"]', '["Ar", "X"]', "`species` holds X, which is no element"),
    ],
)
def test_a_model_that_nothing_can_train_is_refused(recipe, tmp_path, before, after, message):
    path = recipe()
    path.write_text(path.read_text().replace(before, after))
    with pytest.raises(ValueError, match=message):
        run.prepare(read(path), tmp_path, "cpu")


def test_a_robust_fit_takes_the_smallest_energies_that_the_counts_determine():
    """One compound determines the energy of a formula unit, not those of its elements."""
    counts = np.array([[1, 1, 0], [2, 2, 0], [4, 4, 0], [3, 3, 0]])
    energies = -4.0 * counts[:, 0] + [0.01, -0.02, 0.5, 0.0]
    fitted = data.fit_counts(counts, energies, (12, 8, 14), robust=True)
    assert fitted[12] == pytest.approx(-2.0, abs=0.05)
    assert fitted[12] == pytest.approx(fitted[8], abs=1e-9)
    assert fitted[14] == pytest.approx(0.0, abs=1e-9)
