"""Straight lines through correlated series."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.stats

from ._correlation import checked, is_constant, statistical_inefficiency

# Probability to see a drift or a relaxation in a series without one: three standard errors of a
# normal distribution
SIGNIFICANCE = 0.0027


class Line(NamedTuple):
    """Straight line through values over time."""

    slope: float  # unit of the values per unit of time
    error: float  # standard error of the slope
    rms: float  # root mean square of the distances from the line, in the unit of the values


def fit_line(times: np.ndarray, values: np.ndarray) -> Line:
    """Least-squares slope of values over time, its standard error, and the rms about the line.

    The error takes the correlation of the residuals into account.

    Parameters
    ----------
    times:
        (m,) times.
    values:
        (m,) values, such as the conserved energy.

    Raises
    ------
    ValueError
        There are less than two different times, or a number is not finite.
    """
    return _fit_line(times, values)[0]


def drifts(values: np.ndarray) -> bool:
    """Whether the slope of a line through a series is significant, at three standard errors.

    For few independent samples the limit is higher, by Student's distribution.

    Parameters
    ----------
    values:
        (m,) series.
    """
    values = checked(values)
    if is_constant(values):
        return False
    line, degrees = _fit_line(np.arange(len(values), dtype=float), values)
    return is_significant(line.slope, line.error, degrees)


def _fit_line(times: np.ndarray, values: np.ndarray) -> tuple[Line, float]:
    """Line, and the number of degrees of freedom of its error."""
    values = checked(values)
    times = checked(times)
    _check_times(times, values)
    slope, offset = np.polyfit(times, values, 1)
    residuals = values - slope * times - offset
    rms = np.sqrt(np.mean(residuals**2))
    # Two degrees of freedom are those of the line. At least one is left: the error is then about
    # that of a random walk.
    samples = len(values) / statistical_inefficiency(residuals)
    degrees = max(samples - 2, 1.0)
    error = rms / np.std(times) / np.sqrt(degrees)
    return Line(float(slope), float(error), float(rms)), degrees


def _check_times(times: np.ndarray, values: np.ndarray) -> None:
    """Raise ValueError if no line goes through the values."""
    if len(times) != len(values) or is_constant(times):
        raise ValueError(
            f"`times` ({len(times)}) and `values` ({len(values)}): expected as many of each, and"
            " two different times"
        )


def is_significant(value: float, error: float, degrees: float) -> bool:
    """Whether a value differs from zero; degrees: number of degrees of freedom of its error."""
    limit = scipy.stats.t.isf(SIGNIFICANCE / 2, degrees)
    return bool(abs(value) > limit * error)
