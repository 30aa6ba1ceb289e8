"""Error metrics, used by training and by `ase-pet eval`."""

from __future__ import annotations

import math

import numpy as np


def error_metrics(reference: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Root mean square and mean absolute error, {"rmse", "mae", "rms"}, in units of the values.

    rms is the root mean square of the reference, to which the errors compare.

    Parameters
    ----------
    reference:
        Reference values, (n,).
    predicted:
        Predicted values, (n,).
    """
    sums = ErrorSums()
    sums.add(reference, predicted)
    return sums.metrics()


class ErrorSums:
    """Sums over values from which errors follow: bounded memory for any number of values."""

    def __init__(self) -> None:
        # number of values, sums of |error|, of error^2 and of reference^2
        self.sums = np.zeros(4)

    def __len__(self) -> int:
        return int(self.sums[0])

    def add(self, reference: np.ndarray, predicted: np.ndarray) -> None:
        """Add values.

        Parameters
        ----------
        reference:
            Reference values, any shape.
        predicted:
            Predicted values.
        """
        difference = np.abs(predicted - reference)
        squares = (difference**2).sum()
        self.sums += [reference.size, difference.sum(), squares, (reference**2).sum()]

    def merge(self, others: ErrorSums) -> None:
        """Add the sums over other values.

        Parameters
        ----------
        others:
            Sums over them.
        """
        self.sums += others.sums

    def metrics(self) -> dict[str, float]:
        """Errors, see `error_metrics`, of one value at least."""
        count, absolute, squares, reference = self.sums.tolist()
        return {
            "rmse": math.sqrt(squares / count),
            "mae": absolute / count,
            "rms": math.sqrt(reference / count),
        }
