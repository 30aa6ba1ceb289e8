"""Paths of bands in reciprocal space: the usual one, or one that a user names."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..choices import closest

GAMMA = ("G", "Γ", "GAMMA", "Gamma")
GREEK = ("GAMMA", "SIGMA", "DELTA", "LAMBDA")  # names of seekpath for Greek letters


@dataclass(frozen=True)
class BandPath:
    """Lines in reciprocal space.

    Attributes
    ----------
    lines:
        q-points (k, 3) of each line, in units of the reciprocal vectors of the primitive cell.
    labels:
        Names at the ends of the lines; one name where a line begins at the end of the one before.
    joined:
        Whether each line ends where the next one begins.
    """

    lines: list[np.ndarray]
    labels: list[str]
    joined: list[bool]


def band_path(
    cell: np.ndarray,
    positions: np.ndarray,
    numbers: Sequence[int],
    *,
    text: str | None = None,
    points: int = 51,
    tolerance: float = 1e-5,
    vacuum: int | None = None,
) -> BandPath:
    """Path of bands through the points of high symmetry, in the vectors of the given cell.

    Source of the default path: Y. Hinuma et al., Comp. Mat. Sci. 128, 140 (2017),
    doi:10.1016/j.commatsci.2016.10.015, as implemented in seekpath.

    Parameters
    ----------
    cell:
        (3, 3) vectors of the primitive cell in A.
    positions:
        (n, 3) fractional coordinates.
    numbers:
        (n,) numbers that equivalent atoms share.
    text:
        Path of the user: names or three fractional coordinates, separated by commas, such as
        "G,X,L" or "0 0 0, 0.5 0 0"; "|" separates parts that are not joined. None: the usual path.
    points:
        Number of q-points on the longest line.
    tolerance:
        Tolerance of the symmetry in A.
    vacuum:
        Index of the cell vector that is not periodic; None for a crystal.

    Raises
    ------
    ValueError
        The text names no path.
    """
    with warnings.catch_warnings():
        # that a cell is nearly of higher symmetry changes names of points only
        warnings.simplefilter("ignore")
        found = _seekpath(cell, positions, numbers, tolerance)
    special = {}
    for name, point in found["point_coords"].items():
        if vacuum is None or abs(point[vacuum]) < 1e-8:
            special[name] = np.array(point)
    if text is None:
        segments = []
        for start, end in found["path"]:
            if start in special and end in special:
                segments.append((start, end, special[start], special[end]))
    else:
        segments = _segments(text, special)
        if vacuum is not None and not all(_in_plane(line[2:], vacuum) for line in segments):
            raise ValueError(f"`path` is {text!r}: a layer has bands in its plane only")
    return _sampled(segments, np.linalg.inv(cell), points)


def _seekpath(cell: Any, positions: Any, numbers: Any, tolerance: float) -> dict[str, Any]:
    """Points of high symmetry and the usual path of seekpath, in the vectors of this cell."""
    import seekpath

    structure = (cell, positions, numbers)
    found: dict[str, Any] = seekpath.get_path_orig_cell(structure, symprec=tolerance)
    return found


def _in_plane(ends: Sequence[np.ndarray], vacuum: int) -> bool:
    """Whether both ends of a line have no component along the vacuum."""
    return all(abs(end[vacuum]) < 1e-8 for end in ends)


def check(text: str) -> None:
    """Raise ValueError for the text of a path that is wrong for every crystal.

    Parameters
    ----------
    text:
        Path of the user, see `band_path`.
    """
    _segments(text, None)


def _segments(text: str, special: dict[str, np.ndarray] | None) -> list[Any]:
    """(name, name, q-point, q-point) of each line; special None: names are not looked up."""
    segments = []
    for part in text.split("|"):
        names = [name.strip() for name in part.split(",")]
        if len(names) < 2 or not all(names):
            raise ValueError(
                f"`path` is {text!r}: expected two points or more, separated by commas, such as"
                ' "G,X,L", and "|" between parts that are not joined'
            )
        ends = [_point(name, special) for name in names]
        for start, end in zip(ends, ends[1:], strict=False):
            same = start[0] == end[0] if special is None else np.allclose(start[1], end[1])
            if same:
                raise ValueError(f"`path` is {text!r}: a line from {start[0]} to itself")
            segments.append((start[0], end[0], start[1], end[1]))
    return segments


def _point(text: str, special: dict[str, np.ndarray] | None) -> tuple[str, np.ndarray]:
    """Name and q-point of one point of the path of a user."""
    numbers = text.split()
    if len(numbers) == 3:
        return text, q_points(text)[0]
    name = "GAMMA" if text in GAMMA else text
    if special is None:
        return name, np.zeros(3)
    if name not in special:
        valid = ", ".join("G" if key == "GAMMA" else key for key in special)
        raise ValueError(
            f"`path` has the point {text!r}{closest(name, special)}: valid names of this crystal"
            f" are {valid}; or give three fractional coordinates"
        )
    return name, special[name]


def q_points(text: str) -> np.ndarray:
    """(k, 3) q-points of a text such as "0 0 0, 0.5 0 0.5".

    Parameters
    ----------
    text:
        Fractional coordinates of the points, which are separated by commas.

    Raises
    ------
    ValueError
        The text holds something else.
    """
    rows = [part.split() for part in text.split(",")]
    try:
        # fractions such as 1/3 are exact
        values = [[_fraction(number) for number in row] for row in rows]
        points = np.array(values)
    except (ValueError, ZeroDivisionError):
        points = np.empty(0)
    if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
        raise ValueError(
            f"q-points are {text!r}: expected three numbers for each, and commas between points,"
            ' such as "0 0 0, 1/2 0 1/2"'
        )
    return points


def _fraction(text: str) -> float:
    """Value of a number such as "0.25" or "1/3"."""
    numerator, slash, denominator = text.partition("/")
    return float(numerator) / float(denominator) if slash else float(numerator)


def _sampled(segments: list[Any], reciprocal: np.ndarray, points: int) -> BandPath:
    """Path with q-points at about the same distance everywhere."""
    lengths = [np.linalg.norm(reciprocal @ (end - start)) for *_, start, end in segments]
    longest = max(lengths)
    lines = []
    labels: list[str] = []
    joined: list[bool] = []
    for index, (first, last, start, end) in enumerate(segments):
        number = max(2, round(points * float(lengths[index] / longest)))
        lines.append(np.linspace(start, end, number))
        if index == 0 or not joined[-1]:
            labels.append(_label(first))
        labels.append(_label(last))
        following = segments[index + 1] if index + 1 < len(segments) else None
        joined.append(following is not None and np.allclose(following[2], end))
    return BandPath(lines, labels, joined)


def _label(name: str) -> str:
    """Name of a point for matplotlib: a Greek letter, or upright letters, with an index."""
    if " " in name:  # coordinates
        return f"({name})"
    letters, _, index = name.partition("_")
    shown = rf"\{letters.capitalize()}" if letters in GREEK else rf"\mathrm{{{letters}}}"
    return f"${shown}_{{{index}}}$" if index else f"${shown}$"
