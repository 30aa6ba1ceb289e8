"""What `ase-pet train` shows: data at the start, then progress with errors, speed and time left."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from . import screen

if TYPE_CHECKING:
    from ..train.loop import Trainer
    from ..train.progress import Update


class TrainingScreen:
    """Progress of a training.

    Parameters
    ----------
    report:
        Function that shows progress, see `screen.progress`.
    """

    def __init__(self, report: screen.Report) -> None:
        from ..train.progress import Pace

        self.report = report
        self.pace = Pace()
        self.update: Update | None = None  # the last one
        self.validation = ""

    def on_start(self, trainer: Trainer) -> None:
        """Show what is trained on.

        Parameters
        ----------
        trainer:
            Trainer before its first epoch.
        """
        from ..train.summary import line

        steps = trainer.recipe.optimiser.epochs * trainer.steps_per_epoch
        self.report("training", trainer.step, steps)
        start = trainer.start
        if start:
            screen.note(f"training of {start.given}: {start.method}")
            for change in start.changes:
                warnings.warn(f"`start`: {change}", stacklevel=2)
        if screen.verbosity.quiet:
            return
        # weights of the loss are chosen by these
        screen.note(_label_units(trainer))
        for split, samples in trainer.splits.items():
            # data that are read piece by piece are not read once more for this
            if samples and isinstance(samples, list):
                screen.note(line(split, samples))

    def on_update(self, update: Update) -> None:
        """Show an update of the weights.

        Parameters
        ----------
        update:
            The update.
        """
        self.update = update
        speed = self.pace.text(update)
        self._show(f"loss {update.loss:.3g}{self.validation}, {speed}")

    def on_record(self, record: dict[str, Any]) -> None:
        """Show the errors of a validation, from now on.

        Parameters
        ----------
        record:
            Its record.
        """
        old = f", old {_validation(record['old'])}" if "old" in record else ""
        self.validation = f", {_validation(record['val'])}{old}{_of_frames(record)}"
        self._show(f"loss {record['loss']:.3g}{self.validation}")

    def _show(self, text: str) -> None:
        """Show a text and how many updates are made."""
        if self.update is not None:
            number = f"epoch {self.update.epoch}/{self.update.epochs}"
            self.report(f"{number}: {text}, update", self.update.step, self.update.steps)


def _label_units(trainer: Trainer) -> str:
    """Line on the labels and on the units of their weights in the loss."""
    rms = trainer.label_rms
    forces = trainer.known["forces"]
    stresses = trainer.known["stress"]
    count = len(trainer.splits["train"])
    share = f" in {trainer.ranks.size} processes" if trainer.ranks.size > 1 else ""
    return (
        f"{count} structures to train on{share}, {forces} with forces, {stresses} with stress; RMS"
        f" of the labels, the units of the loss: energy {rms['energy']:.3g} eV/atom, forces"
        f" {rms['forces']:.3g} eV/A, virial {rms['stress']:.3g} eV/atom"
    )


def _validation(errors: dict[str, dict[str, float]]) -> str:
    """Line of the RMSE of a validation, {kind: {"rmse"}} in eV, A and e."""
    from ..train.report import UNITS

    parts = []
    for name, (unit, factor) in UNITS.items():
        if name in errors:
            parts.append(f"{name} {factor * errors[name]['rmse']:.3g} {unit}")
    return "val " + ", ".join(parts)


def _of_frames(record: dict[str, Any]) -> str:
    """Deviation of energies over frames, where the loss contains it."""
    if "frame_deviation" not in record:
        return ""
    return f", energies of frames +- {1e3 * record['frame_deviation']:.3g} meV"
