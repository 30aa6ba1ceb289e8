"""Temperatures and strains of the quasi-harmonic approximation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FEWEST = 5  # volumes; phonopy fits polynomials of degree 4
SAME = 1e-6  # K
STEP = 5.0  # K, of the central differences with respect to temperature


def checked_temperatures(temperatures: Sequence[float] | np.ndarray) -> np.ndarray:
    """(T,) temperatures in K; ValueError if they are not in ascending order or below 0.

    Parameters
    ----------
    temperatures:
        Temperatures in K.
    """
    kelvin = np.atleast_1d(np.asarray(temperatures, dtype=float))
    if kelvin.ndim != 1 or not len(kelvin) or not np.isfinite(kelvin).all():
        raise ValueError("`temperatures`: expected a list of finite numbers in K")
    # phonopy differentiates with respect to them
    if kelvin[0] < 0 or not (np.diff(kelvin) > SAME).all():
        raise ValueError(
            f"`temperatures` go from {kelvin[0]:g} to {kelvin[-1]:g} K: expected numbers in"
            " ascending order, none below 0"
        )
    return kelvin


def checked_strains(strains: Sequence[float] | np.ndarray) -> np.ndarray:
    """(volumes,) strains; ValueError unless there are enough, small and in ascending order.

    Parameters
    ----------
    strains:
        Relative changes of the cell lengths.
    """
    changes = np.asarray(strains, dtype=float)
    if changes.ndim != 1 or len(changes) < FEWEST or not (np.abs(changes) < 0.3).all():
        raise ValueError(
            f"`strains` are {np.round(changes, 6).tolist()}: expected {FEWEST} or more relative"
            " changes of length, such as -0.01, 0, 0.01, 0.02, 0.03, each within 0.3"
        )
    if not (np.diff(changes) > 0).all():
        raise ValueError("`strains`: expected numbers in ascending order")
    return changes


def grid_of(kelvin: np.ndarray) -> np.ndarray:
    """Temperatures and their neighbours, for central differences at each of them.

    Phonopy leaves zeros at the first temperature, which is right at 0 K only: no other is first.

    Parameters
    ----------
    kelvin:
        (T,) temperatures in K, in ascending order.
    """
    warm = kelvin[kelvin > 0]
    steps = np.minimum(STEP, warm / 2)
    # 0 K alone would be too few for phonopy
    grid = [*kelvin, *(warm - steps), *(warm + steps), kelvin[-1] + STEP, kelvin[-1] + 2 * STEP]
    # a neighbour that is another temperature, but for rounding, is left out
    distinct = list(kelvin)
    for temperature in grid:
        if np.abs(np.array(distinct) - temperature).min() > SAME:
            distinct.append(temperature)
    return np.array(sorted(distinct))
