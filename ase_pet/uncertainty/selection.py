"""Structures worth labelling: farthest points in features, weighted by uncertainty.

The features of a structure are the mean over its atoms of those of the last layer, divided by their
standard deviation over all candidates. Greedy: with d_k the distance of candidate k from the
closest structure that is known or was chosen before, and u_k its weight,

    the next one is argmax_k u_k d_k

where u_k is the largest uncertainty of an atomic energy in it divided by the mean over the
candidates, or 1 for a model without uncertainties. Without known structures the first one is that
of the largest u_k, of equal ones the one farthest from the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

UNCERTAINTY = "energies_uncertainty"
SAME = 1e-6  # distance in units of the standard deviation, below which structures are the same


@dataclass(frozen=True)
class Choice:
    """A structure that was selected.

    Attributes
    ----------
    index:
        Its number among the candidates.
    distance:
        Distance in features from the closest structure that was known or chosen before; NaN of a
        first one that has none to compare with.
    uncertainty:
        Largest uncertainty of an atomic energy in eV, NaN for a model without uncertainties.
    """

    index: int
    distance: float
    uncertainty: float

    @property
    def reason(self) -> str:
        """Why it was selected, in words."""
        parts = []
        if self.distance == self.distance:
            parts.append(f"distance {self.distance:.3g} from known and selected structures")
        else:
            parts.append("first one: nothing to compare with")
        if self.uncertainty == self.uncertainty:
            parts.append(f"uncertainty of an atom up to {self.uncertainty:.3g} eV")
        return ", ".join(parts)


def select(
    calculator: Any,
    candidates: Sequence[Atoms],
    n: int,
    known: Sequence[Atoms] = (),
    layer: str = "last",
) -> list[Choice]:
    """Structures worth labelling, the most informative first: at most `n`, none like another.

    Parameters
    ----------
    calculator:
        PETCalculator, with `features`, and uncertainties if it has them.
    candidates:
        Structures to select from.
    n:
        Largest number of structures.
    known:
        Structures that are labelled already.
    layer:
        Layer of the features, see `PETCalculator.features`.

    Raises
    ------
    ValueError
        `n` is not a whole number above 0, or there are no candidates.
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(f"`n` is {n!r}: expected a whole number above 0")
    if not len(candidates):
        raise ValueError("no candidates: expected at least one structure")
    # one call, so that known and new structures are rounded alike
    structures = [*candidates, *known]
    every = calculator.features(structures, layer=layer, of="structure")
    points = np.array(every)  # (candidates + known, d)
    count = len(candidates)
    features = points[:count]
    labelled = points[count:]
    uncertainties = _uncertainties(calculator, candidates)
    weights = _weights(uncertainties)
    choices = []
    for index, distance in farthest_points(features, n, labelled, weights):
        uncertainty = float(uncertainties[index])
        choices.append(Choice(index, distance, uncertainty))
    return choices


def _uncertainties(calculator: Any, candidates: Sequence[Atoms]) -> np.ndarray:
    """Largest uncertainty of an atomic energy in eV of each candidate, NaN without any."""
    if UNCERTAINTY not in calculator.implemented_properties:
        return np.full(len(candidates), np.nan)
    rows = calculator.evaluate(candidates, (UNCERTAINTY,))
    return np.array([row[UNCERTAINTY].max() for row in rows])


def farthest_points(
    features: np.ndarray, n: int, known: np.ndarray, weights: np.ndarray
) -> list[tuple[int, float]]:
    """(index, distance from the closest one before) of at most n points, greedily chosen.

    Points at the same place as a known or chosen one are left out.

    Parameters
    ----------
    features:
        Points (m, d).
    n:
        Number to choose.
    known:
        Points (k, d) that are chosen already.
    weights:
        Factors (m,) on the distances.
    """
    every = np.concatenate([features, known])
    scale = every.std(0)
    scale[scale == 0] = 1.0
    # distances do not grow with the number of features
    scale *= np.sqrt(features.shape[1])
    points = features / scale
    before = known / scale
    distances = np.full(len(points), np.inf)
    for point in before:
        distances = np.minimum(distances, _from(points, point))
    chosen: list[tuple[int, float]] = []
    # bounded by n, and by the number of points that differ
    for _ in range(min(n, len(points))):
        if np.isinf(distances).all():
            # nothing is known: the most uncertain one, or the farthest from the mean
            spread = _from(points, points.mean(0))
            index = int(np.lexsort((spread, weights))[-1])
            chosen.append((index, np.nan))
        else:
            index = int(np.argmax(weights * distances))
            if distances[index] < SAME:
                break
            chosen.append((index, float(distances[index])))
        distances = np.minimum(distances, _from(points, points[index]))
    return chosen


def _from(points: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Distances (m,) of points (m, d) from one."""
    return np.asarray(np.linalg.norm(points - point, axis=1))


def _weights(uncertainties: np.ndarray) -> np.ndarray:
    """Uncertainties (m,) over their mean; 1 where a model has none."""
    if np.isnan(uncertainties).any():
        return np.ones(len(uncertainties))
    mean = uncertainties.mean()
    return uncertainties / mean if mean > 0 else np.ones(len(uncertainties))
