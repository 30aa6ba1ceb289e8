"""Half neighbour lists by matscipy, and their reuse between the steps of a run.

A half list holds each pair of atoms once: i < j, or i = j with a lexicographically positive shift S
(self-images come in pairs +S, -S). The edge vector is v = x_j - x_i + S @ cell.
"""

from dataclasses import dataclass

import numpy as np
from matscipy.neighbours import neighbour_list

from .structure import check_density

# search bins along a non-periodic direction: sparse clusters would otherwise fill the memory with
# bins
MOST_BINS = 50


@dataclass(frozen=True)
class HalfList:
    """Pairs of one structure: centres, neighbours (P,) int64, vectors (P, 3) A float64."""

    centres: np.ndarray
    neighbours: np.ndarray
    vectors: np.ndarray

    def distances(self):
        """(P,) lengths of the pairs in A."""
        return np.sqrt(np.einsum("pk,pk->p", self.vectors, self.vectors))


def pairs(structure, cutoff):
    """Centres, neighbours (P,) and integer shifts (P, 3) of all pairs within `cutoff` (A), each
    pair once.

    Raises InvalidStructure where atoms or cell are so dense that the search would not end.
    """
    check_density(structure, cutoff)
    periods, pbc = _periods(structure, cutoff)
    wrapped = structure.positions - periods @ structure.cell
    cell, origin = _search_box(structure.cell, pbc, wrapped, cutoff)
    i, j, shifts = neighbour_list(
        "ijS",
        cutoff=float(cutoff),
        positions=wrapped,
        cell=cell,
        cell_origin=origin,
        pbc=pbc,
        numbers=structure.numbers.astype(np.int32),
    )
    i, j, shifts = i.astype(np.int64), j.astype(np.int64), shifts.astype(np.int64)
    first = (shifts != 0).argmax(axis=1)
    positive = shifts[np.arange(len(shifts)), first] > 0
    half = (i < j) | ((i == j) & positive)
    i, j, shifts = i[half], j[half], shifts[half]
    return i, j, shifts + periods[i] - periods[j]


def half_list(structure, cutoff):
    """HalfList of all pairs within `cutoff` (A); the structure must have passed `check`."""
    i, j, shifts = pairs(structure, cutoff)
    return _within(i, j, structure.positions, shifts @ structure.cell, cutoff)


class VerletList:
    """Half lists of one moving structure, searched again only when an atom may have entered.

    Pairs within cutoff + skin are kept. As long as no atom has moved by more than skin / 2 since
    the search, modulo the lattice, every pair within the cutoff is among them. A change of cell,
    pbc, species or number of atoms searches anew.
    """

    def __init__(self, cutoff, skin):
        self.cutoff = float(cutoff)
        self.skin = float(skin)
        self.searches = 0
        self._reference = None

    def __call__(self, structure):
        """HalfList of the structure within the cutoff."""
        positions = self._unwrapped(structure)
        if positions is None:
            i, j, shifts = pairs(structure, self.cutoff + self.skin)
            self._reference, positions = structure, structure.positions
            self._pairs = i, j, shifts @ structure.cell
            self.searches += 1
        i, j, translations = self._pairs
        return _within(i, j, positions, translations, self.cutoff)

    def forget(self):
        """Search anew at the next call.

        What it gives then depends on that structure alone, to the last bit.
        """
        self._reference = None

    def _unwrapped(self, structure):
        """Positions moved by lattice vectors next to the reference.

        None where the list does not hold for them.
        """
        old = self._reference
        if old is None or self.skin <= 0 or not _same_system(old, structure):
            return None
        moved = structure.positions - old.positions
        if structure.pbc.any() and self._too_far(moved):
            cell = structure.cell[structure.pbc]
            moved = moved - np.rint(moved @ np.linalg.pinv(cell)) @ cell
        return None if self._too_far(moved) else old.positions + moved

    def _too_far(self, moved):
        return 2 * np.sqrt(np.einsum("ik,ik->i", moved, moved).max()) > self.skin


def _same_system(old, new):
    return (
        np.array_equal(old.numbers, new.numbers)
        and np.array_equal(old.pbc, new.pbc)
        and np.array_equal(old.cell, new.cell)
    )


def _within(i, j, positions, translations, cutoff):
    vectors = positions.take(j, axis=0)  # three times as fast as positions[j]
    vectors -= positions.take(i, axis=0)
    vectors += translations
    keep = np.flatnonzero(np.einsum("pk,pk->p", vectors, vectors) <= cutoff * cutoff)
    return HalfList(i.take(keep), j.take(keep), vectors.take(keep, axis=0))


def _periods(structure, cutoff):
    """Periods (n, 3) by which atoms lie outside the cell, and the directions (3,) to be searched as
    periodic ones.

    Along a vector of very many search bins whose vacuum is wider than the cutoff no pair crosses
    the vacuum: the cell is cut open there, in the middle of the vacuum, and the direction is
    searched as if it were not periodic.
    """
    periods, pbc = np.zeros(structure.positions.shape, dtype=np.int64), structure.pbc.copy()
    if not pbc.any():
        return periods, pbc
    dual = np.linalg.pinv(structure.cell[structure.pbc])
    heights = 1 / np.linalg.norm(dual, axis=0)  # distances between lattice planes
    fractional = (structure.positions @ dual).T
    for row, fractions, height in zip(
        np.flatnonzero(structure.pbc), fractional, heights, strict=True
    ):
        start = 0.0
        if height > MOST_BINS * cutoff:
            gap, middle = _widest_gap(fractions)
            if gap * height > cutoff:
                start, pbc[row] = middle, False
        periods[:, row] = np.floor(fractions - start)
    return periods, pbc


def _widest_gap(fractions):
    """Width and middle of the widest gap between fractional coordinates of one direction.

    Modulo 1.
    """
    ordered = np.sort(fractions % 1)
    gaps = np.diff(ordered, append=ordered[0] + 1)
    widest = gaps.argmax()
    return gaps[widest], ordered[widest] + gaps[widest] / 2


def _search_box(cell, pbc, positions, cutoff):
    """Cell (3, 3) and origin (3,) for the search of atoms that lie inside the cell.

    Directions that are not periodic get a vector orthogonal to the periodic ones that spans the
    atoms: what the cell says there has no meaning, and a vacuum would cost search bins.
    """
    box, origin, free = np.array(cell), np.zeros(3), np.eye(3)
    if pbc.any():
        _, _, axes = np.linalg.svd(cell[pbc])
        free = axes[pbc.sum() :]  # orthonormal complement of the periodic vectors
    for row, axis in zip(np.flatnonzero(~pbc), free, strict=True):
        along = positions @ axis
        span = min(float(np.ptp(along)) + 1.0, MOST_BINS * cutoff)
        box[row] = span * axis
        origin = origin + (along.min() - 0.5) * axis
    return box, origin
