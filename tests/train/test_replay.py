"""Old structures that a fine-tuned model trains on, what it forgets, and bad tables of a recipe."""

import json
import math
import shutil

import ase.io
import numpy as np
import pytest
import torch

import argon
from ase_pet import PETCalculator, store
from ase_pet.models import pet
from ase_pet.train import forgetting, from_start, parts, read, run, train
from ase_pet.train.loss import whole_batch

KNOWN = {18: -7.0, 54: -3.25}  # eV, of Ar and Xe
RECIPE = """
name = "second"
start = "first"
{extra}
[data]
files = ["new.extxyz"]
[optimiser]
epochs = {epochs}
batch_size = 4
learning_rate = 1e-3
[fine_tuning]
{options}
"""
pytestmark = pytest.mark.filterwarnings("ignore:no training structure has")


@pytest.fixture
def start(tmp_path):
    """Function that writes the calculator `first`, old and new data, and a recipe."""

    def write(options, extra="", epochs=2):
        torch.manual_seed(4)
        sizes = {"d_pet": 8, "d_node": 8, "d_head": 8, "d_feedforward": 8, "num_heads": 2}
        settings = pet.Settings(species=tuple(KNOWN), cutoff=5.0, num_gnn_layers=1, **sizes)
        model = pet.Model(settings)
        model.compositions = {"energy": dict(KNOWN)}
        model.scales = {"energy": 0.02}
        store.save(tmp_path / "first", model, store.CalculatorInfo("first"))
        old = argon.structures(20)
        for atoms in old:
            atoms.numbers[0] = 54
            atoms.calc.results["energy"] += 7.0 - 3.25
        ase.io.write(tmp_path / "old.extxyz", old)
        ase.io.write(tmp_path / "new.extxyz", argon.structures(10))
        path = tmp_path / "recipe.toml"
        path.write_text(RECIPE.format(options=options, extra=extra, epochs=epochs))
        return path

    return write


def trainer_of(path):
    return run.prepare(read(path), path.parent, "cpu")


def test_the_share_of_old_structures(start):
    trainer = trainer_of(start('replay = ["old.extxyz"]\nreplay_share = 0.75'))
    n_new = len(trainer.splits["train"])
    replay = trainer.replay
    assert (n_new, len(replay.train), len(replay.val)) == (6, 12, 4)
    assert trainer.steps_per_epoch == math.ceil(24 / 4)
    order = replay.mixed(list(range(6)), torch.Generator().manual_seed(0))
    # each old structure is drawn once before any is drawn again
    counts = np.bincount(order, minlength=18)
    assert counts[:6].tolist() == [1] * 6
    assert counts[6:].sum() == 18
    assert set(counts[6:].tolist()) == {1, 2}
    assert order != sorted(order)
    (part,) = parts.parts_of(trainer, [0, 6, 17, 5], None)
    first = [trainer.splits["train"][0], replay.train[0], replay.train[11]]
    assert part.batch.energy[:3].tolist() == [each.energy for each in first]


def test_labels_of_the_start_are_what_it_predicts(start, tmp_path):
    options = 'replay = ["old.extxyz"]\nreplay_labels = "start"\nold_data = ["old.extxyz"]'
    path = start(options)
    frames = ase.io.read(tmp_path / "old.extxyz", ":")
    for atoms in frames:
        atoms.calc = None
    ase.io.write(tmp_path / "unlabelled.extxyz", frames)
    path.write_text(path.read_text().replace('replay = ["old', 'replay = ["unlabelled'))
    trainer = trainer_of(path)
    each = trainer.replay.train[0]
    atoms = frames[0]
    atoms.calc = PETCalculator(tmp_path / "first", device="cpu", dtype="float64")
    energies = sum(KNOWN[z] for z in atoms.numbers.tolist())
    assert each.energy == pytest.approx(atoms.get_potential_energy() - energies, abs=1e-9)
    np.testing.assert_allclose(each.forces, atoms.get_forces(), atol=1e-9)
    stress = each.virial / atoms.get_volume()
    np.testing.assert_allclose(stress, atoms.get_stress(voigt=False), atol=1e-9)
    # the errors before are those of the start, in float32, on the labels of the file
    frames = ase.io.read(tmp_path / "old.extxyz", ":")
    held_out = [atoms for atoms in frames if atoms.info["split"] != "test"]
    found = PETCalculator(tmp_path / "first", device="cpu").evaluate(frames, ("forces",))
    squares = [
        (each["forces"] - atoms.get_forces()) ** 2
        for each, atoms in zip(found, frames, strict=True)
    ]
    rmse = float(np.sqrt(np.mean(squares)))
    assert len(held_out) == 16
    assert trainer.replay.before["forces"]["rmse"] == pytest.approx(rmse, rel=1e-4)


def test_forgetting_is_measured_and_written(start, tmp_path):
    """With the trained calculator itself; its line is in the card, its rows in the table."""
    path = start('replay = ["old.extxyz"]')
    metrics = train(path, tmp_path / "run")
    frames = ase.io.read(tmp_path / "old.extxyz", ":")
    val = [atoms for atoms in frames if atoms.info["split"] == "val"]
    calculator = PETCalculator(tmp_path / "run", device="cpu")
    found = calculator.evaluate(val, ("energy", "forces"))
    errors = [
        (each["energy"] - atoms.get_potential_energy()) / len(atoms)
        for each, atoms in zip(found, val, strict=True)
    ]
    after = metrics["old, after"]
    assert after["structures"] == len(val) == 4
    assert after["energy"]["rmse"] == pytest.approx(np.sqrt(np.mean(np.square(errors))), abs=1e-5)
    assert after["energy, elements fitted"]["rmse"] <= after["energy"]["rmse"] + 1e-6
    assert json.loads((tmp_path / "run/metrics.json").read_text())["old, before"]["energy"]
    card = (tmp_path / "run/README.md").read_text()
    assert "| old, before | 4 |" in card
    assert "RMSE on 4 old structures: energy" in card
    assert "old structures: 12 of old.extxyz with labels of the files" in card
    record = json.loads((tmp_path / "run/history.jsonl").read_text().splitlines()[-1])
    assert set(record["old"]) == {"energy", "forces", "stress"}


def test_errors_of_symmetrised_models(start):
    trainer = trainer_of(start('replay = ["old.extxyz"]', 'symmetrise = "group:I"'))
    plain = trainer.replay.before["forces"]["rmse"]
    trainer.start.info.symmetrise = "group:I"
    place = (trainer.dtype, trainer.device)
    before = forgetting.errors_before(trainer.replay, trainer.start, *place)
    after = from_start.errors_on_old(trainer, trainer.average, trainer.composition)
    assert before["forces"]["rmse"] != plain
    assert after["old, after"]["forces"]["rmse"] == pytest.approx(before["forces"]["rmse"])
    assert trainer._validate(1.0)["old"]["forces"]["rmse"] == pytest.approx(plain)


def test_without_old_data_the_card_says_that_nothing_was_measured(start, tmp_path):
    train(start("", epochs=1), tmp_path / "run")
    card = (tmp_path / "run/README.md").read_text()
    assert "all weights, " in card
    assert "what it has forgotten was not measured" in card


def test_structures_that_are_made(start):
    """Of elements of the start, with atoms apart, and the same for the same seed."""
    trainers = [trainer_of(start("replay_generated = 12")) for _ in range(2)]
    made = [each for t in trainers[:1] for each in [*t.replay.train, *t.replay.val]]
    again = [each for t in trainers[1:] for each in [*t.replay.train, *t.replay.val]]
    assert len(made) == 12
    assert [each.energy for each in made] == [each.energy for each in again]
    elements = {z for each in made for z in each.structure.numbers.tolist()}
    assert elements == set(KNOWN)
    assert all(np.isfinite(each.forces).all() for each in made)
    assert all(np.isfinite(each.virial).all() for each in made)


def test_old_structures_train_the_old_head_beside_a_new_one(start, tmp_path):
    """Their parts of a batch are evaluated with it; the order of structures does not matter."""
    path = start('new_head = "new"\nreplay = ["old.extxyz"]')
    trainer = trainer_of(path)
    found = parts.parts_of(trainer, [7, 0, 8, 1], None)
    assert {part.head: part.places.tolist() for part in found} == {
        "energy": [0, 2],
        "energy/new": [1, 3],
    }
    errors = torch.arange(4.0, dtype=torch.float64)  # in the order of the parts
    whole = whole_batch(errors, found, 4, trainer.ranks)
    assert whole.energy_errors.tolist() == [0.0, 2.0, 1.0, 3.0]
    before = {name: x.clone() for name, x in trainer.model.state_dict().items()}
    trainer._train_epoch()
    after = trainer.model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(".energy." in name for name in moved)
    assert any(".energy/new." in name for name in moved)
    train(path, tmp_path / "run")
    model, info = store.load(tmp_path / "run")
    assert model.compositions["energy"] == KNOWN
    assert "head energy: trained on the replayed structures" in info.provenance["start"]["changes"]


@pytest.mark.parametrize(
    "options",
    [
        'weights = "lora"\nrank = 2\nreplay = ["old.extxyz"]\nreplay_generated = 3',
        pytest.param('weights = "heads"\nlayer_rate = 1.0', marks=pytest.mark.slow),
        pytest.param(
            'new_head = "new"\nreplay = ["old.extxyz"]\nlayer_rate = 0.5', marks=pytest.mark.slow
        ),
    ],
)
def test_a_run_that_was_stopped_continues_to_the_same_weights(start, tmp_path, options):
    path = start(options, epochs=3)
    train(path, tmp_path / "whole")

    def stop(record):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(path, tmp_path / "stopped", on_record=stop)
    train(path, tmp_path / "stopped", resume=True)
    states = [
        torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("whole", "stopped")
    ]
    for key in ("model", "average", "best_weights"):
        for name, value in states[0][key].items():
            assert torch.equal(value, states[1][key][name])


def test_other_old_data_are_another_run(start, tmp_path):
    path = start('replay = ["old.extxyz"]', epochs=1)
    train(path, tmp_path / "run")
    shutil.copy(tmp_path / "new.extxyz", tmp_path / "old.extxyz")
    with pytest.raises(ValueError, match=r"data file `old\.extxyz`"):
        train(path, tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("rank = 4", "`rank` means nothing without `weights` 'lora'"),
        ('weights = "lora"\nrank = 400', r"`fine_tuning\.rank` is 400: expected less than 16"),
        ('weights = "lora"\nrank = 0', "expected a whole number above 0"),
        ('weights = "head"', "valid choices are full, heads, lora"),
        ('weights = "heads"\nlayer_rate = 0.5', "`layer_rate` means nothing"),
        ("layer_rate = 2.0", "expected a number above 0, at most 1"),
        ('variant = "pbe"', r"`fine_tuning\.variant` of the recipe: `variant` is 'pbe': valid"),
        ('new_head = ""', "`new_head` is ''"),
        ('new_head = "a.b"', "without a dot"),
        ('new_species = ["Ar"]', "the start has Ar already"),
        ('new_species = ["Kr"]', "has Kr, which no training structure has"),
        ('new_species = ["Xx"]', "'Xx' is no element"),
        ('new_species = {Kr = "Si"}', r"`fine_tuning\.new_species\.Kr`"),
        ("replay_share = 0.3", "replay_share without `replay`"),
        ('replay_labels = "start"\nreplay_generated = 2', "give some"),
        ('replay = ["none.extxyz"]', "there is no data file"),
        ('replay = ["bare.extxyz"]', '`replay_labels = "start"` needs no labels'),
        ('replay = ["krypton.extxyz"]', "unsupported element Kr"),
        ('new_head = "x"\nweights = "heads"\nreplay = ["old.extxyz"]', "leave `replay` out"),
        ('rnak = 3\nweights = "lora"', "did you mean"),
    ],
)
def test_bad_tables_are_refused_with_a_reason(start, tmp_path, options, message):
    path = start(options)
    frames = argon.structures(2)
    for atoms in frames:
        atoms.calc = None
    ase.io.write(tmp_path / "bare.extxyz", frames)
    frames = argon.structures(2)
    for atoms in frames:
        atoms.numbers[:] = 36
    ase.io.write(tmp_path / "krypton.extxyz", frames)
    with pytest.raises(ValueError, match=message):
        trainer_of(path)


def test_without_a_start_the_table_means_nothing(recipe):
    path = recipe(extra='[fine_tuning]\nweights = "heads"\n')
    with pytest.raises(ValueError, match="the recipe has no `start`"):
        read(path)


def test_data_with_elements_that_the_start_lacks_say_what_to_do(start, tmp_path):
    path = start("")
    frames = argon.structures(5)
    frames[1].numbers[0] = 36
    ase.io.write(tmp_path / "new.extxyz", frames)
    with pytest.raises(ValueError, match=r"`fine_tuning\.new_species` adds elements"):
        trainer_of(path)
