"""Events of a training for TensorBoard."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from ..extras import how_to_install
from .error_metrics import UNITS
from .progress import Update

FOLDER = "tensorboard"  # in the folder of the training


class Events:
    """Writes loss, speed and errors to files that `tensorboard --logdir` shows.

    A training that is resumed adds a file; TensorBoard joins them.

    Parameters
    ----------
    folder:
        Folder of the training.

    Raises
    ------
    ValueError
        TensorBoard is missing; says how to install it.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ValueError(
                "--tensorboard needs TensorBoard, of the extra `tensorboard`"
                f" ({how_to_install('tensorboard')}): {error}"
            ) from None
        self.writer_class: Any = SummaryWriter
        self.folder = folder / FOLDER
        self.step = 0

    @functools.cached_property
    def writer(self) -> Any:
        """Writer, opened when there is something to write: a refused training leaves nothing."""
        return self.writer_class(str(self.folder))

    def update(self, update: Update) -> None:
        """Write the loss of an update of the weights, and the speed.

        Parameters
        ----------
        update:
            The update.
        """
        self.step = update.step
        self.writer.add_scalar("train/loss", update.loss, update.step)
        speed = update.atoms / max(update.seconds, 1e-9)
        self.writer.add_scalar("train/atoms per second", speed, update.step)

    def record(self, record: dict[str, Any]) -> None:
        """Write the errors of a validation.

        Parameters
        ----------
        record:
            Record of the validation.
        """
        self.writer.add_scalar("val/score", record["score"], self.step)
        self.writer.add_scalar("train/rate", record["rate"], self.step)
        for split in ("train", "val"):
            for kind, errors in record.get(split, {}).items():
                self._error(split, kind, errors["rmse"])
        if "frame_deviation" in record:
            deviation = 1e3 * record["frame_deviation"]
            self.writer.add_scalar("train/deviation over frames (meV)", deviation, self.step)
        self.writer.flush()

    def _error(self, split: str, kind: str, rmse: float) -> None:
        """Write an RMSE in eV, A and e, in the unit that is shown."""
        unit, factor = UNITS[kind]
        # a slash would begin another group
        shown = unit.replace("/", " per ")
        self.writer.add_scalar(f"{split}/{kind} RMSE ({shown})", factor * rmse, self.step)
