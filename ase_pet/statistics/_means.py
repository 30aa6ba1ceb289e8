"""Means and their standard errors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ._correlation import checked, is_constant, oscillations, statistical_inefficiency
from ._equilibration import FEWEST_ROWS, LATEST_START, equilibration
from ._lines import drifts

PLAIN = (1e-3, 1e4)  # smallest number and largest error without a power of ten
FEWEST_SAMPLES = 10  # independent ones, and periods, of a series with a standard error
CONSTANT = "constant"
DRIFTING = "not equilibrated: still drifting"
RAMP = "temperature ramp"
NO_MEAN = (DRIFTING, RAMP)  # notes of means that are no result
FEW_ROWS = f"no error bar: fewer than {FEWEST_ROWS} values"


class Mean(NamedTuple):
    """Mean of a series, after its equilibration."""

    value: float  # in the unit of the series
    error: float | None  # standard error, None where there is no meaningful one
    start: int  # index of the first value that was used
    samples: float  # number of independent samples, at most that of periods of an oscillation
    inefficiency: float  # values for each independent sample
    note: str  # why there is no error: constant, drifting, too few samples, ramp; "" otherwise

    def __str__(self) -> str:
        if self.note in NO_MEAN:
            return self.note
        if self.error is None:
            return f"{self.value:.5g} ({self.note})"
        return with_error(self.value, self.error)


def with_error(value: float, error: float) -> str:
    """Text such as "301.5 ± 3.2": a value with the digits that its standard error allows.

    Parameters
    ----------
    value:
        Value.
    error:
        Its standard error.
    """
    if error == 0:
        return f"{value:.5g} ± 0"
    size = max(error, abs(value))
    # the error has two digits
    last = math.floor(math.log10(error)) - 1
    if PLAIN[0] <= size and error < PLAIN[1]:
        digits = max(-last, 0)
        number = f".{digits}f"
        return f"{value:{number}} ± {error:{number}}"
    first = math.floor(math.log10(size))
    digits = first - last
    return f"{value:.{digits}e} ± {error:.1e}"


def mean(values: np.ndarray, start: int | None = None) -> Mean:
    """Mean of a series and its standard error, without the equilibration.

    A constant series has no error. Neither has one that still drifts, has less than ten
    independent samples or shows less than ten periods of an oscillation; the note says so.

    Parameters
    ----------
    values:
        (m,) series.
    start:
        Index of the first value to use; None for that of `equilibration`.
    """
    values = checked(values)
    if is_constant(values):
        return Mean(float(values.mean()), None, 0, float(len(values)), 1.0, CONSTANT)
    if start is None:
        start = equilibration(values)
    if start is None:
        # the mean of the end, for those who want to see it
        start = int(LATEST_START * len(values))
        late = values[start:]
        inefficiency = statistical_inefficiency(late)
        samples = len(late) / inefficiency
        average = float(late.mean())
        return Mean(average, None, start, samples, inefficiency, DRIFTING)
    return _mean_after(values, start)


def means(series: Mapping[str, np.ndarray]) -> dict[str, Mean]:
    """{name: mean} of series of one run, all from the latest end of their equilibrations.

    Series that still drift, or are constant, do not count for that end.

    Parameters
    ----------
    series:
        {name: (m,) values} at the same times.

    Raises
    ------
    ValueError
        A value is not a number; the message names the series.
    """
    own = {}
    for name, values in series.items():
        try:
            own[name] = mean(values)
        except ValueError as error:
            raise ValueError(f"`{name}`: {error}") from None
    starts = [result.start for result in own.values() if result.note not in (CONSTANT, DRIFTING)]
    common = max(starts, default=0)
    # those with another start are computed again
    for name, result in own.items():
        if result.note not in (CONSTANT, DRIFTING):
            own[name] = mean(series[name], common)
    return own


def _mean_after(values: np.ndarray, start: int) -> Mean:
    """Mean of a series that is equilibrated after `start`, if that can be."""
    late = values[start:]
    average = float(late.mean())
    count = len(late)
    if count < FEWEST_ROWS:
        return Mean(average, None, start, 1.0, float(count), FEW_ROWS)
    inefficiency = statistical_inefficiency(late)
    samples = count / inefficiency
    periods = oscillations(late)
    seen = min(samples, periods)
    result = Mean(average, None, start, seen, inefficiency, "")
    if drifts(late):
        return result._replace(note=DRIFTING)
    if periods < min(samples, FEWEST_SAMPLES):
        return result._replace(note=f"no error bar: {periods:.1f} oscillations")
    if samples < FEWEST_SAMPLES:
        few = f"no error bar: {samples:.1f} independent samples"
        return result._replace(note=few)
    # one degree of freedom is that of the mean
    degrees = samples - 1
    error = np.sqrt(late.var() / degrees)
    return result._replace(error=float(error))
