"""Correlation of a series: the number of values for each independent sample."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

MOST_BLOCKS = 4096  # longer series are reduced to means over blocks, which leaves the errors exact
MORE_ORDERS = 8  # of an autoregressive model, tried after the best one so far
FEWEST_BLOCKS = 50  # to which a model of the correlation is fitted
ROUNDING = 1e-12  # relative width of a constant series
SMOOTH = 3.0  # values between two crossings of the mean; two for independent values
STRONG = 8.0  # spectral density of an oscillation, in that at zero; noise exceeds it in 1 of 3000


def statistical_inefficiency(values: np.ndarray) -> float:
    """Number of values for each independent sample, 1 or more.

    1 + 2 sum over t of C(t), with the normalised autocorrelation C: about twice the correlation
    time in units of the distance between the values.

    Parameters
    ----------
    values:
        (m,) series without its equilibration.
    """
    values = checked(values)
    if is_constant(values):
        return 1.0
    blocks, length = in_blocks(values)
    density = length * density_at_zero(blocks)
    # at least one sample, at most as many as values
    return float(np.clip(density / values.var(), 1.0, len(values)))


def oscillations(values: np.ndarray) -> float:
    """Number of periods of the slowest strong oscillation in a series, infinite without one.

    The correlation of an oscillation integrates to nearly nothing, so that the inefficiency tells
    nothing of how many periods were seen. Two crossings of the mean are a period of a smooth
    series. An oscillation below fast noise is a Fourier component that is much stronger than the
    spectral density at zero.

    Parameters
    ----------
    values:
        (m,) series without its equilibration.
    """
    values = checked(values)
    if is_constant(values):
        return np.inf
    centred = values - values.mean()
    above = centred > 0
    crossings = np.count_nonzero(above[1:] != above[:-1])
    smooth = len(values) >= SMOOTH * (crossings + 1)
    slowest = crossings / 2 if smooth else np.inf
    # mean of the powers: the variance
    powers = np.abs(np.fft.rfft(centred)) ** 2 / len(values)
    limit = STRONG * statistical_inefficiency(values) * values.var()
    strong = np.flatnonzero(powers > limit)
    return float(min(slowest, strong[0] if len(strong) else np.inf))


def checked(values: np.ndarray) -> np.ndarray:
    """(m,) array of floats; ValueError if there are none or one is not finite."""
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"`values` has the shape {values.shape}: expected a series (m,)")
    if not np.isfinite(values).all():
        first = int(np.argmin(np.isfinite(values)))
        raise ValueError(f"`values` holds {values[first]} at index {first}: expected numbers")
    return values


def is_constant(values: np.ndarray) -> bool:
    """Whether a series varies by no more than rounding."""
    return bool(np.ptp(values) <= ROUNDING * np.abs(values).max())


def in_blocks(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Means over blocks, at most MOST_BLOCKS of them, and the length of a block."""
    length = -(-len(values) // MOST_BLOCKS)
    count = len(values) // length
    # the remainder is dropped at the start, which is the least equilibrated part
    last = values[len(values) - count * length :]
    return last.reshape(count, length).mean(axis=1), length


def inefficiency(values: np.ndarray) -> float:
    """Number of values for each independent sample: at least one, at most all of them."""
    if is_constant(values):
        return 1.0
    return float(np.clip(density_at_zero(values) / values.var(), 1.0, len(values)))


def density_at_zero(values: np.ndarray) -> float:
    """Spectral density at frequency zero: the variance of the mean times the number of values."""
    density = 0.0
    length = 1
    # at least one estimate, however short the series is
    while length == 1 or len(values) >= FEWEST_BLOCKS:
        density = max(density, length * _autoregressive_density(values))
        length *= 2
        pairs = values[len(values) % 2 :].reshape(-1, 2)
        values = pairs.mean(axis=1)
    return density


def _autoregressive_density(values: np.ndarray) -> float:
    """Spectral density at frequency zero of an autoregressive model of (m,) values.

    Its order minimises Akaike's criterion, m log(error) + 2 order.
    """
    count = len(values)
    variance = np.var(values)
    if variance == 0:
        return 0.0
    highest = min(count // 3, int(10 * np.log10(count)))
    best = 0
    density = variance
    criterion = count * np.log(variance)
    for order, (error, coefficients) in enumerate(_burg(values, highest), start=1):
        new = count * np.log(error) + 2 * order
        if new < criterion:
            criterion = new
            best = order
            density = error / coefficients.sum() ** 2
        # orders that are much too high do not become better
        if order > best + MORE_ORDERS:
            break
    return float(density)


def _burg(values: np.ndarray, highest: int) -> Iterator[tuple[float, np.ndarray]]:
    """Errors of prediction and coefficients (order + 1,) of the orders 1, 2, ... by Burg's method.

    Each order adds a coefficient that minimises the sum of the squared errors of prediction,
    forwards and backwards in time.
    """
    forward = values - values.mean()
    backward = forward
    error = float(np.mean(forward**2))
    smallest = ROUNDING**2 * error  # the series is a sum of sines, known exactly
    coefficients = np.ones(1)
    for _ in range(highest):
        ahead = forward[1:]
        behind = backward[:-1]
        squares = ahead @ ahead + behind @ behind
        if squares == 0:
            return
        reflection = -2 * (ahead @ behind) / squares
        forward = ahead + reflection * behind
        backward = behind + reflection * ahead
        padded = np.append(coefficients, 0.0)
        coefficients = padded + reflection * padded[::-1]
        error = error * (1 - reflection**2)
        if not error > smallest:
            return
        yield error, coefficients
