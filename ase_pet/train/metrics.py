"""Error metrics, used by training and by `ase-pet eval`."""

from __future__ import annotations

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
    difference = predicted - reference
    return {
        "rmse": root_mean_square(difference),
        "mae": float(np.mean(np.abs(difference))),
        "rms": root_mean_square(reference),
    }


def root_mean_square(values: np.ndarray) -> float:
    """Square root of the mean of squared values, in their unit.

    Parameters
    ----------
    values:
        Values, any shape.
    """
    return float(np.sqrt(np.mean(values**2)))
