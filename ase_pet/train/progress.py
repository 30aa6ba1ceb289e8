"""What a training shows while it runs: errors on its own structures, speed, and time left."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ..evaluation import Evaluation
from .data import Batch
from .distributed import ALONE, Ranks
from .label_statistics import SMALLEST_RMS
from .loss import Diverged, frame_variance, heads_of
from .recipe import Loss, Recipe

EXPLODED = 1e6  # loss of a batch in units of the usual one: no training comes back from there
LOST = 100.0  # mean loss of an epoch in the same units
MINUTE = 60
HOUR = 3600


@dataclass(frozen=True)
class Update:
    """An update of the weights that has been made.

    Attributes
    ----------
    epoch:
        Number of the epoch, from 1.
    epochs:
        Number of epochs.
    step:
        Number of updates so far, of all epochs.
    steps:
        Number of updates of the whole training.
    loss:
        Loss of the batch.
    atoms:
        Number of atoms of the batch, of all processes.
    seconds:
        Time that the update took.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    atoms: int
    seconds: float


OnUpdate = Callable[[Update], Any]


class RunningErrors:
    """Errors of an epoch on the training structures, each before the update that it leads to.

    Of forces, stresses and dipoles; energies have none, as their constant is fitted later. And the
    variance over frames, if the loss contains it.

    Parameters
    ----------
    weights:
        Weights of the loss.
    """

    def __init__(self, weights: Loss) -> None:
        # {kind: (4,)}: number of labels, sums of |error|, error^2 and label^2
        self.sums: dict[str, torch.Tensor] = {}
        self.has_variance = bool(heads_of(weights))
        self.variance = torch.zeros(2, dtype=torch.float64)  # number of atoms, sum in eV^2

    def add(self, results: Evaluation, batch: Batch) -> None:
        """Add the errors on a batch, without a synchronisation of the device.

        Parameters
        ----------
        results:
            Evaluation of the model on the graph of the batch.
        batch:
            Batch with the labels.
        """
        volume = batch.graph.volume[:, None, None]
        predicted_stress = results.virial / volume
        stress = batch.virial / volume
        pairs = {
            "forces": (results.forces, batch.forces),
            "stress": (predicted_stress, stress),
        }
        if "dipole" in results.heads.wanted:
            pairs["dipole"] = (results.heads.total("dipole"), batch.dipole)
        for kind, (predicted, label) in pairs.items():
            row = _sums(predicted.detach(), label)
            before = self.sums.get(kind)
            self.sums[kind] = row if before is None else before + row
        if self.has_variance:
            variances = frame_variance(results).detach()
            row = torch.stack([torch.ones_like(variances), variances]).sum(1)
            self.variance = self.variance.to(row.device) + row

    def frame_deviation(self, ranks: Ranks = ALONE) -> dict[str, float]:
        """{"frame_deviation": RMS in eV of an atom's energy over its frames}, or empty.

        Parameters
        ----------
        ranks:
            Processes, each of which has added its batches.
        """
        if not self.has_variance:
            return {}
        count, total = torch.stack(ranks.objects(self.variance.cpu())).sum(0).tolist()
        return {"frame_deviation": math.sqrt(max(total, 0) / count)}

    def metrics(self, ranks: Ranks = ALONE) -> dict[str, dict[str, float]]:
        """Errors by kind, {kind: {"rmse", "mae", "rms"}} in eV, A and e.

        Parameters
        ----------
        ranks:
            Processes, each of which has added its batches.
        """
        tables = ranks.objects({kind: row.cpu() for kind, row in self.sums.items()})
        errors = {}
        for kind in self.sums:
            rows = [table[kind] for table in tables if kind in table]
            count, absolute, squares, labels = torch.stack(rows).sum(0).tolist()
            if count:
                errors[kind] = {
                    "rmse": (squares / count) ** 0.5,
                    "mae": absolute / count,
                    "rms": (labels / count) ** 0.5,
                }
        return errors


def _sums(predicted: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Number of known labels, and sums of |error|, error^2 and label^2, (4,)."""
    known = torch.isfinite(label)
    reference = torch.where(known, label, 0).double()
    error = torch.where(known, predicted - label, 0).double()
    absolute = error.abs().sum()
    squares = error.square().sum()
    labels = reference.square().sum()
    return torch.stack([known.sum(), absolute, squares, labels])


class Pace:
    """Speed of a training in this process, and the time that it will take."""

    def __init__(self) -> None:
        self.begin = time.monotonic()
        self.first = 0  # updates before those of this process
        self.atoms = 0
        self.seconds = 0.0  # of updates only: validations are in the time left, not in the speed

    def text(self, update: Update) -> str:
        """Speed and time left after a further update, such as "2140 atoms/s, 3 min left".

        Parameters
        ----------
        update:
            The update.
        """
        if not self.atoms:
            self.first = update.step - 1
        self.atoms += update.atoms
        self.seconds += update.seconds
        done = update.step - self.first
        passed = time.monotonic() - self.begin
        remaining = update.steps - update.step
        left = passed / done * remaining
        spent = max(self.seconds, 1e-9)
        speed = self.atoms / spent
        return f"{speed:.3g} atoms/s, {duration(left)} left"


def duration(seconds: float) -> str:
    """A time in words, such as "45 s", "12 min" or "3.5 h".

    Parameters
    ----------
    seconds:
        Time in s.
    """
    if seconds < 2 * MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * HOUR:
        return f"{seconds / MINUTE:.0f} min"
    return f"{seconds / HOUR:.3g} h"


def check_loss(loss: float, limit: float, first: float, place: str, recipe: Recipe) -> None:
    """Raise Diverged for a loss that is not finite, or far above the usual one.

    The usual one is the first, or that of a model that predicts the mean, if that is larger.

    Parameters
    ----------
    loss:
        Loss of a batch, or its mean over an epoch.
    limit:
        Largest loss in units of the usual one.
    first:
        Loss of the first batch of the training.
    place:
        Where in the training, for the message.
    recipe:
        Recipe.
    """
    weights = recipe.loss
    usual = max(first, weights.energy + weights.forces + weights.stress)
    if not math.isfinite(loss) or loss > limit * usual:
        raise Diverged(
            f"the loss is {loss:.3g} {place}, at first {first:.3g}: the training diverged. Lower"
            f" `optimiser.learning_rate`, which is {recipe.optimiser.learning_rate}, or look for"
            " wrong labels"
        )


def score(errors: Mapping[str, Mapping[str, float]], weights: Loss) -> float:
    """Squares of errors relative to the labels, weighted as in the loss: small is good.

    Parameters
    ----------
    errors:
        Errors by kind, {kind: {"rmse", "rms"}}.
    weights:
        Weights of the loss.
    """
    weight = dataclasses.asdict(weights)
    total = 0.0
    for kind, values in errors.items():
        unit = values["rms"] if values["rms"] > SMALLEST_RMS else 1.0
        relative = values["rmse"] / unit
        total += weight[kind] * relative**2
    return total
