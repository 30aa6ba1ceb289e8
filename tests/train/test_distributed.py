"""Training on several processes: the result of one, and an end of all where one fails."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import argon
import processes
from argon import structures
from ase_pet.train import distributed, loop, read, run, train
from ase_pet.train.loss import weighted_loss
from ase_pet.train.prediction import evaluation
from paths import ROOT

pytestmark = pytest.mark.filterwarnings("ignore:.*is the weight of the structure")
BATCH = 7  # structures: neither 2 nor 3 divide it


class Stop(Exception):
    """End of a training after its first validation."""


@pytest.fixture
def path(recipe, tmp_path):
    """Recipe in float64 whose labels are not all known, and have different weights."""
    written = recipe(7, dtype="float64")
    frames = structures()
    for index, atoms in enumerate(frames):
        atoms.info["config_weight"] = 1.0 + index % 3
    for index in (0, 5, 6):
        del frames[index].calc.results["forces"]
    for index in (1, 5, 7, 10):
        del frames[index].calc.results["stress"]
    ase.io.write(tmp_path / "argon.extxyz", frames)
    return written


def gradient(path, parts, naive):
    """Loss and gradient of a batch; naive: mean of those of the ranks."""
    with distributed.connected() as ranks:
        recipe = read(path)
        object.__setattr__(recipe.optimiser, "accumulate", parts)
        trainer = run.prepare(recipe, Path(path).parent, "cpu", ranks)
        rotation = loop.rotations.random_orthogonal(BATCH, torch.Generator().manual_seed(1))
        pieces = trainer._parts(range(BATCH), rotation)
        if naive:
            (piece,) = pieces
            results = evaluation(trainer.model, piece.batch, training=True)
            loss = weighted_loss(results, piece.batch, trainer.label_rms, recipe.loss)
            loss.backward()
            value = loop.sum_gradients(trainer.model, loss.detach(), ranks) / ranks.size
            scale = ranks.size
        else:
            value = trainer._backward(pieces, BATCH, torch.Generator())
            scale = 1
        flat = torch.cat([weight.grad.flatten() for weight in trainer.model.parameters()])
        return float(value), (flat / scale).numpy()


def deviation(values, exact):
    return np.linalg.norm(values - exact) / np.linalg.norm(exact)


def test_the_gradient_is_that_of_one_process(path):
    """Also in parts; the mean of the gradients of ranks is another one."""
    loss, exact = gradient(path, 1, False)
    for size, parts in ((1, 3), (2, 1), (3, 2)):
        for (of_rank, values), _ in processes.results(gradient, size, path, parts, False):
            assert of_rank == pytest.approx(loss, rel=1e-12)
            assert deviation(values, exact) < 1e-12
    for (_, values), _ in processes.results(gradient, 2, path, 1, True):
        assert deviation(values, exact) > 1e-3


def trained(path, folder, resume, end):
    """Metrics of a training, None if it was stopped after epoch `end`."""
    argon.without_pictures()

    def stop(record):
        if record["epoch"] == end:
            raise Stop

    return train(path, folder, resume=resume, on_record=stop)


def weights(folder, uncertain):
    """Those of the uncertainties, or all others, in one vector."""
    values = load_file(folder / "weights.safetensors")
    names = [name for name in sorted(values) if name.startswith("uncertainties.") == uncertain]
    return torch.cat([values[name].flatten() for name in names])


def difference(folder, other, uncertain=False):
    """Relative difference of the weights of two folders."""
    exact = weights(other, uncertain)
    return float((weights(folder, uncertain) - exact).norm() / exact.norm())


def test_two_processes_train_as_one(path, tmp_path):
    """Over 21 steps: weights, their average, validations, scales and errors."""
    without = trained(path, tmp_path / "one", False, None)
    for metrics, _ in processes.results(trained, 2, path, tmp_path / "two", False, None):
        for split, errors in without.items():
            for kind in ("energy", "forces", "stress"):
                assert metrics[split][kind] == pytest.approx(errors[kind], rel=1e-7)
    assert difference(tmp_path / "one", tmp_path / "two") < 1e-9
    # the covariance of few structures is nearly singular, which enlarges rounding
    assert difference(tmp_path / "one", tmp_path / "two", uncertain=True) < 1e-4
    histories = [
        [json.loads(line) for line in (tmp_path / name / "history.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    losses, others = ([record["loss"] for record in history] for history in histories)
    assert others == pytest.approx(losses, rel=1e-9)


def framed_gradient(path, parts):
    """Gradient of a batch in drawn frames, and composition energies fitted in others."""
    with distributed.connected() as ranks:
        recipe = read(path)
        object.__setattr__(recipe.optimiser, "accumulate", parts)
        trainer = run.prepare(recipe, Path(path).parent, "cpu", ranks)
        generator = torch.Generator().manual_seed(2)
        trainer._backward(trainer._parts(range(BATCH), None), BATCH, generator)
        flat = torch.cat([weight.grad.flatten() for weight in trainer.model.parameters()])
        fitted = trainer.fitted_composition(trainer.averaged_model())
        return flat.numpy(), fitted[18]


def test_frames_are_drawn_for_each_structure(path):
    """Whatever process or part evaluates it."""
    path.write_text('symmetrise = "ecse"\naugmentation = "frames"\n' + path.read_text())
    exact, energy = framed_gradient(path, 1)
    for size, parts in ((1, 3), (2, 1), (3, 2)):
        for (values, fitted), _ in processes.results(framed_gradient, size, path, parts):
            assert deviation(values, exact) < 1e-12
            assert fitted == pytest.approx(energy, rel=1e-12)


def test_a_stopped_training_continues_bit_for_bit(path, tmp_path):
    """With another number of processes up to rounding, which a note says."""
    processes.results(trained, 2, path, tmp_path / "whole", False, None)
    for name in ("same", "other"):
        ends = processes.together(trained, 2, path, tmp_path / name, False, 3)
        assert isinstance(ends[0][1][0], Stop)
    ends = processes.results(trained, 2, path, tmp_path / "same", True, None)
    notes = [note for _, each in ends for note in each]
    assert not [note for note in notes if "process" in note]
    first, second = (tmp_path / name / "weights.safetensors" for name in ("whole", "same"))
    assert first.read_bytes() == second.read_bytes()
    with pytest.warns(UserWarning, match="begun with 2 process.* continues with 1: .*rounding"):
        trained(path, tmp_path / "other", True, None)
    assert difference(tmp_path / "whole", tmp_path / "other") < 1e-9


def failing(path, folder, how):
    """A training in which rank 1 fails in the first validation of epoch 2."""
    argon.without_pictures()
    original = loop.Trainer._validate

    def validate(trainer, loss):
        if trainer.epoch == 2 and trainer.ranks.rank == 1:
            how()
        return original(trainer, loss)

    loop.Trainer._validate = validate
    return train(path, folder)


def raise_error():
    raise ValueError("no memory left")


def be_killed():
    os.kill(os.getpid(), signal.SIGKILL)


def test_an_error_of_one_process_ends_all(path, tmp_path):
    """It is raised where it happened; the other processes end without a word."""
    first, second = processes.together(failing, 2, path, tmp_path / "run", raise_error)
    assert first == (distributed.STOPPED, None)
    assert str(second[1][0]) == "no memory left"
    assert (tmp_path / "run" / "state.pt").exists()
    assert not (tmp_path / "run" / "train.lock").exists()


def test_an_error_of_all_is_raised_once(path, tmp_path):
    (tmp_path / "argon.extxyz").write_text("")
    ends = processes.together(trained, 2, path, tmp_path / "run", False, None)
    assert sorted(status for status, _ in ends) == [0, distributed.STOPPED]


def test_a_killed_process_ends_all(path, tmp_path):
    """One of the others says so."""
    first, second, third = processes.together(failing, 3, path, tmp_path / "run", be_killed)
    assert second == (-signal.SIGKILL, None)
    silent, told = sorted((first, third), key=lambda end: end[1] is not None)
    assert silent == (distributed.STOPPED, None)
    assert isinstance(told[1][0], distributed.RankLost)
    assert "--resume continues" in str(told[1][0])


def test_the_command_trains_under_torchrun(path, tmp_path):
    """As a user starts it, with weights in drawn frames; the folder is that of one process."""
    ase.io.write(tmp_path / "argon.extxyz", structures(5))
    path.write_text('symmetrise = "ecse"\naugmentation = "frames"\n' + path.read_text())
    quick = path.read_text().replace("epochs = 7", "epochs = 1")
    path.write_text(quick.replace("batch_size = 4", "batch_size = 3"))
    trained(path, tmp_path / "one", False, None)
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"),
        *("-m", "ase_pet", "train", path, "--output", tmp_path / "two"),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 1") <= 1  # the first process alone reports
    assert difference(tmp_path / "one", tmp_path / "two") < 1e-9
