"""Continued trainings: replaced files, damaged files, a second training; and those that diverge."""

import json
import os
import shutil
import subprocess
import sys

import ase.io
import numpy as np
import pytest
import torch

from argon import structures
from ase_pet import PETCalculator, store
from ase_pet.cli import main
from ase_pet.train import Diverged, continuation, loop, train
from ase_pet.train.loss import weighted_loss


class Stop(Exception):
    """End of a training after its first validation."""


def stopped(recipe, folder):
    """Folder of a training that was stopped after its first epoch."""

    def stop(record):
        raise Stop

    with pytest.raises(Stop):
        train(recipe, folder, on_record=stop)
    return folder


def weights(folder):
    return (folder / "weights.safetensors").read_bytes()


def test_replaced_data_are_noticed(recipe, tmp_path):
    path = recipe()
    stopped(path, tmp_path / "run")
    frames = structures()
    frames[0].calc.results["energy"] += 0.1
    ase.io.write(tmp_path / "argon.extxyz", frames)
    with pytest.raises(ValueError, match="was begun: data file `argon.extxyz`. Restore them"):
        train(path, tmp_path / "run", resume=True)
    ase.io.write(tmp_path / "argon.extxyz", structures())
    train(path, tmp_path / "run", resume=True)


def test_an_edited_recipe_is_noticed(recipe, tmp_path):
    """Also where the run is continued with the recipe in its own folder."""
    recipe().rename(tmp_path / "r.toml")
    stopped(tmp_path / "r.toml", tmp_path)
    copy = tmp_path / "recipe.toml"
    copy.write_text(copy.read_text().replace("epochs = 3", "epochs = 9"))
    with pytest.raises(ValueError, match="was begun: recipe. Restore them"):
        train(copy, tmp_path, resume=True)
    copy.unlink()
    (tmp_path / "r.toml").write_text((tmp_path / "r.toml").read_text() + "# a remark\n")
    with pytest.raises(ValueError, match="was begun: recipe. Restore them"):
        train(tmp_path / "r.toml", tmp_path, resume=True)
    assert not copy.exists()


def test_replaced_start_weights_are_noticed(recipe, tmp_path):
    first = recipe(1)
    train(first, tmp_path / "first")
    second = tmp_path / "second.toml"
    second.write_text('start = "first"\n' + recipe().read_text())
    stopped(second, tmp_path / "run")
    model, info = store.load(tmp_path / "first")
    model.scales = {"energy": 0.123}
    store.save(tmp_path / "first", model, info)
    with pytest.raises(ValueError, match="was begun: calculator of `start`"):
        train(second, tmp_path / "run", resume=True)


@pytest.mark.filterwarnings("ignore:.*was damaged")
def test_a_damaged_history_is_written_anew(recipe, tmp_path):
    """Half a line, no line, a record of an epoch after the state, and binary data."""
    path = recipe(2)
    train(path, tmp_path / "uninterrupted")
    text = (stopped(path, tmp_path / "run") / "history.jsonl").read_text()
    later = text.replace('"epoch": 1', '"epoch": 2')
    for damaged in (text[:-20], "", text + later, text + "\x00\x01"):
        shutil.copytree(tmp_path / "run", tmp_path / "copy")
        history = tmp_path / "copy" / "history.jsonl"
        history.write_text(damaged)
        train(path, tmp_path / "copy", resume=True)
        assert weights(tmp_path / "copy") == weights(tmp_path / "uninterrupted")
        records = [json.loads(line) for line in history.read_text().splitlines()]
        assert [record["epoch"] for record in records] == [1, 2]
        assert records[0] == json.loads(text)
        shutil.rmtree(tmp_path / "copy")


def test_damage_is_said(recipe, tmp_path):
    path = recipe(1)
    train(path, tmp_path / "run")
    history = tmp_path / "run" / "history.jsonl"
    history.write_text(history.read_text()[:-20])
    with pytest.warns(UserWarning, match=r"was damaged \(1 bad lines, 1 missing\): written anew"):
        train(path, tmp_path / "run", resume=True)
    state = tmp_path / "run" / "state.pt"
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(ValueError, match="`.*state.pt` is damaged .*, the run cannot be continued"):
        train(path, tmp_path / "run", resume=True)


def test_a_state_of_an_earlier_version_is_continued(recipe, tmp_path):
    path = recipe(2)
    train(path, tmp_path / "uninterrupted")
    state_path = stopped(path, tmp_path / "run") / "state.pt"
    state = torch.load(state_path, weights_only=True)
    for key in ("fingerprint", "history", "first_loss"):
        del state[key]
    torch.save(state, state_path)
    with pytest.warns(UserWarning, match="of an earlier version, which kept no checksums"):
        train(path, tmp_path / "run", resume=True)
    assert weights(tmp_path / "run") == weights(tmp_path / "uninterrupted")


def test_a_second_training_in_a_folder_is_refused(recipe, tmp_path):
    """While the first one runs, not after it ended or its process was killed."""
    path = recipe(1)

    def second(trainer):
        message = f"in use by a training \\(process {os.getpid()} on"
        for resume in (False, True):
            with pytest.raises(ValueError, match=message):
                train(path, tmp_path / "run", resume=resume)

    train(path, tmp_path / "run", on_start=second)
    assert not (tmp_path / "run" / continuation.LOCK).exists()
    code = (
        "import os, sys; from ase_pet.train import train\n"
        "train(sys.argv[1], sys.argv[2], on_start=lambda trainer: os.kill(os.getpid(), 9))"
    )
    subprocess.run([sys.executable, "-c", code, path, tmp_path / "killed"], timeout=600)
    assert (tmp_path / "killed" / continuation.LOCK).read_text().startswith("process ")
    train(path, tmp_path / "killed")


def losses(monkeypatch, change):
    """Make the loss of each batch change(loss, number of the batch)."""
    numbers = iter(range(1000))

    def changed(*arguments):
        return change(weighted_loss(*arguments), next(numbers))

    monkeypatch.setattr(loop, "weighted_loss", changed)


@pytest.mark.parametrize("factor", [np.nan, np.inf, 1e9])
def test_a_loss_that_explodes_stops_with_the_best_weights(recipe, tmp_path, monkeypatch, factor):
    """Three batches in an epoch: the fifth one is in the second."""
    path = recipe(3)
    stopped(path, tmp_path / "first")
    losses(monkeypatch, lambda loss, number: loss * (1, factor)[number >= 4])
    with pytest.raises(
        Diverged, match=r"in step 5 \(epoch 2\), .*holds the best weights .* epoch 1"
    ):
        train(path, tmp_path / "run")
    calculator = PETCalculator(tmp_path / "run")
    assert "diverged" in calculator.card.provenance["stopped"]
    (good,) = structures(1)
    good.calc = calculator
    assert np.isfinite(good.get_potential_energy())


def test_a_loss_that_is_bad_at_once_leaves_no_calculator(recipe, tmp_path, monkeypatch):
    losses(monkeypatch, lambda loss, number: loss * np.nan)
    with pytest.raises(Diverged, match=r"in step 1 .* No weights are kept"):
        train(recipe(), tmp_path / "run")
    assert not (tmp_path / "run" / "calculator.toml").exists()


def test_a_training_that_is_refused_leaves_nothing(recipe, tmp_path):
    path = recipe()
    (tmp_path / "argon.extxyz").write_text("")
    with pytest.raises(ValueError, match="is empty"):
        train(path, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_weights_that_are_not_finite_are_never_validated(recipe, tmp_path):
    """A prediction that is NaN is no label that is missing."""

    def spoil(trainer):
        with torch.no_grad():
            next(iter(trainer.model.parameters())).fill_(np.nan)

    with pytest.raises(Diverged, match="the loss is nan in step 1"):
        train(recipe(), tmp_path / "run", on_start=spoil)


def test_the_command_ends_in_one_line(recipe, tmp_path, monkeypatch, capsys):
    losses(monkeypatch, lambda loss, number: loss * np.nan)
    words = ["ase-pet", "train", str(recipe()), "--output", str(tmp_path / "run")]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "diverged" in line]
    assert line.startswith("ase-pet: the loss is nan in step 1 (epoch 1)")
