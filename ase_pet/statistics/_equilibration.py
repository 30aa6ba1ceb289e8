"""End of the equilibration of a series."""

from __future__ import annotations

import numpy as np

from ._correlation import checked, density_at_zero, in_blocks, inefficiency, is_constant
from ._lines import is_significant

FEWEST_ROWS = 20  # of a series with a standard error
NEARLY_BEST = 0.7  # fraction of the largest number of independent samples
LARGEST_SHIFT = 0.25  # of a mean by the rest of a relaxation, in standard errors
RELAXATION_TIMES = np.geomspace(0.005, 3, 14)  # in lengths of the series
STARTS = 20  # candidates for the end of equilibration
LATEST_START = 0.7  # fraction of the series


def equilibration(values: np.ndarray) -> int | None:
    """Index from which a series is equilibrated, None if it still drifts at its end.

    It is the index with the most independent samples after it, or a later one: if a + b exp(-t / T)
    fits the series with a significant b, what is left of the exponential shifts the mean by less
    than a quarter of its standard error. An index after seven tenths of the series does not count.

    Parameters
    ----------
    values:
        (m,) series.
    """
    values = checked(values)
    if is_constant(values) or len(values) < FEWEST_ROWS:
        return 0
    blocks, length = in_blocks(values)
    # candidates are dense at the start, where most series end their equilibration
    latest = LATEST_START * len(blocks)
    fractions = np.linspace(0, 1, STARTS) ** 2
    candidates = latest * fractions
    starts = np.unique(candidates.astype(int))
    samples = _samples_after(blocks, starts)
    # the number of samples is noisy: the first start that is nearly the best is enough
    enough = NEARLY_BEST * samples.max()
    nearly_best = samples >= enough
    first = int(np.argmax(nearly_best))
    negligible = _is_relaxed_after(blocks, starts, samples)
    allowed = starts[first:][negligible[first:]]
    if len(allowed) == 0:
        return None
    earliest = int(allowed[0])
    return earliest * length


def _samples_after(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """(k,) numbers of independent samples in a series after each of `starts`."""
    # Parts shorter than half of the series are noisy: they have the inefficiency of that half.
    latest = len(values) // 2
    own = [inefficiency(values[min(start, latest) :]) for start in starts]
    # The inefficiency of an equilibrated series is the same from each start, but for noise: a later
    # start needs a lower one for all starts after it.
    largest = np.maximum.accumulate(own[::-1])
    return np.asarray((len(values) - starts) / largest[::-1])


def _is_relaxed_after(values: np.ndarray, starts: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """(k,) whether a relaxation hardly shifts the mean after each of `starts`.

    A relaxation that is not significant counts as none. samples: (k,) numbers of independent
    samples after `starts`.
    """
    relaxation = _relaxation(values)
    if relaxation is None:
        return np.ones(len(starts), dtype=bool)
    shifts = [abs(relaxation[start:].mean()) for start in starts]
    deviations = np.array([values[start:].std() for start in starts])
    return np.asarray(shifts <= LARGEST_SHIFT * deviations / np.sqrt(samples))


def _relaxation(values: np.ndarray) -> np.ndarray | None:
    """(m,) b exp(-t / T) of the fit with the best of several times T, None if not significant."""
    decay, amplitude, residuals = _best_fit(values)
    error = np.sqrt(density_at_zero(residuals) / (len(values) * decay.var()))
    degrees = len(values) / inefficiency(residuals) - 2
    # at least one is left, as in `_fit_line`
    if not is_significant(amplitude, error, max(degrees, 1.0)):
        return None
    return np.asarray(amplitude * decay)


def _best_fit(values: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """(m,) exp(-t / T), b and (m,) residuals of the fit a + b exp(-t / T) with the best T."""
    times = np.arange(len(values)) / len(values)
    decays = [np.exp(-times / time) for time in RELAXATION_TIMES]
    fits = [_fit(decay, values) for decay in decays]
    return min(fits, key=lambda fit: fit[2].var())


def _fit(decay: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """(m,) decay, b and (m,) residuals of the fit a + b decay."""
    shape = decay - decay.mean()
    centred = values - values.mean()
    amplitude = float(shape @ centred / (shape @ shape))
    return decay, amplitude, centred - amplitude * shape
