"""What a training shows while it runs, and what it leaves: errors by element, notes, events."""

import builtins
import errno
import json
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from argon import structures
from ase_pet import PETCalculator
from ase_pet.cli import main, screen
from ase_pet.train import Diverged, error_profile, loop, progress, report, train
from ase_pet.train.label_statistics import LabelStatistics
from ase_pet.train.loop import STATE
from ase_pet.train.loss import weighted_loss
from ase_pet.train.schema import Loss
from ase_pet.train.tensorboard import Events
from paths import ROOT


def run_command(monkeypatch, *words):
    """Exit status of `ase-pet train` in this process."""
    monkeypatch.setattr(sys, "argv", ["ase-pet", "train", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def test_errors_on_training_structures_are_those_of_the_weights(recipe, tmp_path):
    """At a learning rate of 1e-30 the weights stay; only the rotations of an epoch are others."""
    metrics = train(recipe(1, rate=1e-30), tmp_path / "run")
    record = json.loads((tmp_path / "run" / "history.jsonl").read_text())
    assert record["train"].keys() == record["val"].keys() - {"energy"}
    for kind, errors in record["train"].items():
        final = metrics["train"][kind]
        assert errors == pytest.approx(final, rel=0.15)
        assert errors["rms"] == pytest.approx(final["rms"], rel=1e-5)


def test_updates_are_counted_and_timed(recipe, tmp_path):
    updates = []
    train(recipe(2), tmp_path / "run", on_update=updates.append)
    assert [update.step for update in updates] == list(range(1, updates[-1].steps + 1))
    n_structures = sum(atoms.info["split"] == "train" for atoms in structures())
    assert sum(update.atoms for update in updates) == 2 * 4 * n_structures
    assert {update.epoch for update in updates} == {1, 2}
    assert all(update.seconds > 0 for update in updates)


def test_time_left_is_that_of_the_updates_of_this_process(monkeypatch):
    """Resumed at update 50 of 100: 10 updates in 20 s, so 40 more take 80 s."""
    clock = iter([0.0, *np.arange(2.0, 22.0, 2.0)])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    pace = progress.Pace()
    for step in range(51, 61):
        update = progress.Update(1, 1, step, 100, 0.1, atoms=300, seconds=1.5)
        text = pace.text(update)
    assert text == "200 atoms/s, 80 s left"
    assert [progress.duration(s) for s in (7.4, 750, 12600)] == ["7 s", "12 min", "3.5 h"]


@pytest.mark.pictures
def test_errors_by_element_and_by_size_are_parts_of_the_whole(recipe, tmp_path):
    metrics = train(recipe(), tmp_path / "run")
    for split in ("train", "val", "test"):
        errors = metrics[split]
        assert errors["forces_by_element"].keys() == {"Ar"}
        assert errors["forces_by_element"]["Ar"]["rmse"] == pytest.approx(errors["forces"]["rmse"])
        rows = errors["forces_by_size"]
        squares = sum(row["components"] * row["rmse"] ** 2 for row in rows)
        count = sum(row["components"] for row in rows)
        assert count == 3 * 4 * errors["structures"]
        assert np.sqrt(squares / count) == pytest.approx(errors["forces"]["rmse"])
    for name in ("learning_curve", "parity", "parity_elements", "force_errors"):
        assert (tmp_path / "run" / f"{name}.png").stat().st_size > 5000
    text = (tmp_path / "run" / "calculator.toml").read_text()
    assert "forces_by" not in text


def test_errors_by_element_and_size_of_known_numbers():
    """Two atoms of hydrogen with an error of 0.1, one of oxygen with 0.5 in one component."""
    reference = np.array([0.05, 0, 0, 0, 0.2, 0, 0, 0, 4.0])
    predicted = reference + np.array([0.1] * 6 + [0, 0, 0.5])
    atoms = np.array([[1] * 6 + [8] * 3, [0.05] * 3 + [0.2] * 3 + [4.0] * 3])
    forces = np.stack([reference, predicted])
    table = error_profile.by_element(forces, atoms)
    assert table["H"]["rmse"] == pytest.approx(0.1)
    assert table["O"]["mae"] == pytest.approx(0.5 / 3)
    rows = error_profile.by_size(forces, atoms)
    assert [(row["from"], row["to"], row["components"]) for row in rows] == [
        (0.0, 0.1, 3),
        (0.1, 0.3, 3),
        (3.0, 10.0, 3),
    ]


def test_a_log_file_shows_epoch_loss_errors_speed_and_time_left(
    recipe, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(screen, "SECONDS_BETWEEN_LINES", 0.0)
    assert run_command(monkeypatch, recipe(2), "--output", tmp_path / "run") == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "atoms/s" in line]
    assert len(lines) >= 4
    first = r"epoch 1/2: loss \S+, \S+ atoms/s, \S+ s left, update: 1/\d+"
    last = r"epoch 2/2: loss .*, val energy .* meV/atom, .* atoms/s, 0 s left, update: (\d+)/\1"
    assert re.match(first, lines[0])
    assert re.match(last, lines[-1])


def test_a_full_disk_loses_nothing(recipe, tmp_path, monkeypatch):
    """The state of epoch 1 stays while those of epochs 2 and 3 cannot be written."""
    path = recipe(4)
    whole = train(path, tmp_path / "whole")
    save = torch.save
    full = [None, OSError(errno.ENOSPC, "No space left"), RuntimeError("writer failed"), None]
    outcomes = iter(full)

    def save_or_fail(state, target):
        error = next(outcomes)
        save(state, target)
        if error:
            target.write_bytes(b"half a file")
            raise error

    monkeypatch.setattr(torch, "save", save_or_fail)
    epochs = []

    def look(record):
        state = torch.load(tmp_path / "run" / STATE, weights_only=True)
        epochs.append(state["epoch"])

    with pytest.warns(UserWarning, match=r"state.pt` could not be written .*the training goes on"):
        metrics = train(path, tmp_path / "run", on_record=look)
    assert epochs == [1, 1, 1, 4]
    assert metrics == whole
    assert not list((tmp_path / "run").glob("*.part"))


def test_an_epoch_that_is_lost_stops_the_training(recipe, tmp_path, monkeypatch):
    """No batch of the second epoch explodes, but all are far worse than no forces at all."""
    numbers = iter(range(100))

    def worse(*arguments):
        return weighted_loss(*arguments) * (1 if next(numbers) < 3 else 1e5)

    monkeypatch.setattr(loop, "weighted_loss", worse)
    with pytest.raises(Diverged, match=r"average over epoch 2, .*holds the best weights .* 1$"):
        train(recipe(9), tmp_path / "run")
    assert "diverged" in PETCalculator(tmp_path / "run").card.provenance["stopped"]


def test_an_interrupted_training_says_how_to_go_on(recipe, tmp_path):
    """Ctrl-C after the first epoch; the command that is printed goes on from there."""
    path = recipe(400)
    code = (
        "import sys; from ase_pet.cli import _training as t; from ase_pet.cli import main, screen\n"
        "shown = t.TrainingScreen.on_update\n"
        "def update(self, u):\n"
        "    if u.epoch == 2: raise KeyboardInterrupt\n"
        "    shown(self, u)\n"
        "t.TrainingScreen.on_update = update; main()"
    )
    words = ["train", str(path), "--output", str(tmp_path / "run")]
    ended = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=ROOT
    )
    assert ended.returncode == 128 + signal.SIGINT
    command = f"ase-pet train {path} --output {tmp_path / 'run'} --resume"
    assert f"holds the last complete epoch; to go on from there: {command}" in ended.stderr


def test_tensorboard_is_optional_and_said(recipe, tmp_path, monkeypatch, capsys):
    real = builtins.__import__

    def without(name, *arguments):
        if name == "torch.utils.tensorboard":
            raise ImportError("no tensorboard")
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    words = (recipe(), "--output", tmp_path / "run", "--tensorboard")
    assert run_command(monkeypatch, *words) == 2
    assert r"pip install '.[tensorboard]'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_events_are_those_of_the_training(recipe, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = Events(tmp_path / "run")
    train(recipe(2), tmp_path / "run", on_record=events.record, on_update=events.update)
    events.writer.close()
    read = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert len(read.Scalars("train/loss")) == 6
    records = map(json.loads, (tmp_path / "run" / "history.jsonl").read_text().splitlines())
    rmse = [1e3 * record["val"]["forces"]["rmse"] for record in records]
    values = [event.value for event in read.Scalars("val/forces RMSE (meV per A)")]
    assert values == pytest.approx(rmse, rel=1e-5)


def test_labels_that_are_zero_but_for_rounding_are_no_unit():
    """Perfect crystals have no forces: errors in units of 1e-17 eV/A would be all of the loss."""
    sums = {name: np.array([6, 1e-33]) for name in ("forces", "stress", "dipole")}
    counts = np.array([[2], [1]])
    known = {"forces": 2, "stress": 2}
    statistics = LabelStatistics(counts, np.array([-2.0, -1.0]), sums, known, pairs=3)
    assert set(statistics.label_rms({42: -1.0}).values()) == {1.0}
    errors = {"forces": {"rmse": 0.5, "mae": 0.5, "rms": 0.0}}
    assert progress.score(errors, Loss(forces=2.0)) == 0.5
    assert "500 / 500 | - |" in report.errors_table({"val": {"structures": 1, **errors}})
