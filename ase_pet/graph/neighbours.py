"""Half neighbour lists, and their reuse between the steps of a run.

Matscipy searches by bins; a k-d tree takes its place where atoms are sparse.

A half list holds each pair of atoms once: i < j, or i = j with a lexicographically positive shift S
(self-images come in pairs +S, -S). The edge vector is v = x_j - x_i + S @ cell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matscipy.neighbours import neighbour_list

from ._sparse import compact, tree_pairs
from .structure import Structure, check_density

# Search bins along a non-periodic direction: those of a sparse cluster would fill the memory.
MOST_BINS = 50
MOST_COMPARISONS = 500  # of each atom with others in its bin, about; a search by bins is fast below
FEW_COMPARISONS = 10**6  # of all atoms together, always fast


@dataclass(frozen=True)
class HalfList:
    """The P pairs of one structure, each pair once.

    Attributes
    ----------
    centres:
        Index i of the first atom of each pair (P,), int64.
    neighbours:
        Index j of the second atom of each pair (P,), int64.
    vectors:
        Vectors r_j - r_i (P, 3) in A, float64.
    """

    centres: np.ndarray
    neighbours: np.ndarray
    vectors: np.ndarray

    def distances(self) -> np.ndarray:
        """(P,) lengths of the pairs in A."""
        return np.asarray(np.sqrt(_squared_lengths(self.vectors)))


def pairs(structure: Structure, cutoff: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres (P,), neighbours (P,) and integer shifts (P, 3) of all pairs, each pair once.

    Parameters
    ----------
    structure:
        Structure to search.
    cutoff:
        Largest distance of a pair in A.

    Raises
    ------
    InvalidStructure
        Atoms or cell are so dense that the search would practically not end.
    """
    structure, operation = compact(structure)
    check_density(structure, cutoff)
    periods, pbc = _periods(structure, cutoff)
    wrapped = structure.positions - periods @ structure.cell
    cell, origin = _search_box(structure.cell, pbc, wrapped, cutoff)
    if _is_sparse(wrapped - origin, cell, cutoff):
        i, j, shifts = tree_pairs(wrapped, cell, pbc, cutoff)
    else:
        i, j, shifts = _by_bins(structure, wrapped, cell, origin, pbc, cutoff)
    # shifts of the vectors of the given cell, whose lattice is the same
    return i, j, (shifts + periods[i] - periods[j]) @ operation


def _by_bins(
    structure: Structure,
    wrapped: np.ndarray,
    cell: np.ndarray,
    origin: np.ndarray,
    pbc: np.ndarray,
    cutoff: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs as of `pairs`, by bins of about the cutoff in the search box `cell` at `origin`."""
    i, j, shifts = neighbour_list(
        "ijS",
        cutoff=float(cutoff),
        positions=wrapped,
        cell=cell,
        cell_origin=origin,
        pbc=pbc,
        numbers=structure.numbers.astype(np.int32),
    )
    i = i.astype(np.int64)
    j = j.astype(np.int64)
    shifts = shifts.astype(np.int64)
    # Matscipy returns both directions of each pair. Of a pair of an atom with its own image the one
    # with the positive shift is kept: the sign of the first component that is not zero decides.
    first_nonzero = (shifts != 0).argmax(axis=1)
    positive = shifts[np.arange(len(shifts)), first_nonzero] > 0
    one_direction = i < j
    own_image = (i == j) & positive
    half = one_direction | own_image
    i = i[half]
    j = j[half]
    return i, j, shifts[half]


def _is_sparse(positions: np.ndarray, box: np.ndarray, cutoff: float) -> bool:
    """Whether bins are far more than atoms, or hold so many that comparing them takes long.

    positions (n, 3) are relative to the origin of the search box (3, 3).
    """
    inverse = np.linalg.inv(box)
    heights = 1 / np.linalg.norm(inverse, axis=0)
    n_bins = np.maximum(1, heights // cutoff)
    n_atoms = len(positions)
    if n_bins.prod() > MOST_BINS**3 + 10 * n_atoms:
        return True
    # atoms beyond the box are compared with all atoms of the bins at its border
    fractional = positions @ inverse
    bins = np.floor(fractional * n_bins)
    bins = np.clip(bins, 0, n_bins - 1)
    strides = np.cumprod([1.0, *n_bins[:2]])
    _, counts = np.unique(bins @ strides, return_counts=True)
    comparisons = np.square(counts.astype(float)).sum()
    most = max(FEW_COMPARISONS, MOST_COMPARISONS * n_atoms)
    return bool(comparisons > most)


def half_list(structure: Structure, cutoff: float) -> HalfList:
    """HalfList of all pairs of a structure.

    Parameters
    ----------
    structure:
        Structure that has passed `check`.
    cutoff:
        Largest distance of a pair in A.
    """
    i, j, shifts = pairs(structure, cutoff)
    return _within_cutoff(i, j, structure.positions, shifts @ structure.cell, cutoff)


class VerletList:
    """Half lists of one moving structure, searched again only when a new pair is possible.

    The search includes pairs up to cutoff + skin. As long as no atom has moved by more than
    skin / 2 since the search, modulo the lattice, every pair within the cutoff is among them. A
    change of cell, pbc, species or number of atoms triggers a new search.

    Parameters
    ----------
    cutoff:
        Largest distance of a pair in A.
    skin:
        Additional search radius in A; 0 searches at each call.

    Attributes
    ----------
    searches:
        Number of searches so far.
    pairs:
        Centres (P',), neighbours (P',) and lattice translations (P', 3) in A of the latest one.
    """

    def __init__(self, cutoff: float, skin: float) -> None:
        self.cutoff = float(cutoff)
        self.skin = float(skin)
        self.searches = 0
        self._reference: Structure | None = None  # structure of the latest search
        self.pairs: tuple[np.ndarray, np.ndarray, np.ndarray]

    def __call__(self, structure: Structure) -> HalfList:
        """HalfList of `structure` within the cutoff."""
        positions = self.unwrapped(structure)
        if positions is None:
            # With the skin, so that the pairs stay valid while atoms move by up to skin / 2.
            radius = self.cutoff + self.skin
            i, j, shifts = pairs(structure, radius)
            translations = shifts @ structure.cell  # (P, 3) A
            self.pairs = i, j, translations
            self._reference = structure
            positions = structure.positions
            self.searches += 1
        i, j, translations = self.pairs
        return _within_cutoff(i, j, positions, translations, self.cutoff)

    def forget(self) -> None:
        """Force a new search at the next call.

        Its result then depends on that structure alone, bit for bit, not on earlier structures.
        """
        self._reference = None

    def unwrapped(self, structure: Structure) -> np.ndarray | None:
        """Positions (n, 3), moved by lattice vectors to be closest to those of the search.

        None if a new search is needed.

        Parameters
        ----------
        structure:
            Structure that may have moved since.
        """
        old = self._reference
        if old is None or self.skin <= 0 or not _same_system(old, structure):
            return None
        displacements = structure.positions - old.positions
        if structure.pbc.any() and self._too_far(displacements):
            # Atoms may have been wrapped into the cell: remove whole lattice vectors.
            cell = structure.cell[structure.pbc]
            fractional = displacements @ np.linalg.pinv(cell)
            periods = np.rint(fractional)
            displacements = displacements - periods @ cell
        if self._too_far(displacements):
            return None
        return np.asarray(old.positions + displacements)

    def _too_far(self, displacements: np.ndarray) -> bool:
        largest = np.sqrt(_squared_lengths(displacements).max())
        return bool(2 * largest > self.skin)


def _squared_lengths(vectors: np.ndarray) -> np.ndarray:
    """(n,) squared lengths of vectors (n, 3)."""
    return np.asarray(np.einsum("ik,ik->i", vectors, vectors))


def _same_system(old: Structure, new: Structure) -> bool:
    return (
        np.array_equal(old.numbers, new.numbers)
        and np.array_equal(old.pbc, new.pbc)
        and np.array_equal(old.cell, new.cell)
    )


def _within_cutoff(
    i: np.ndarray, j: np.ndarray, positions: np.ndarray, translations: np.ndarray, cutoff: float
) -> HalfList:
    """HalfList of the pairs i, j (P',) that are within the cutoff (A).

    translations (P', 3): lattice vectors S @ cell in A that are added to the positions of j.
    """
    vectors = positions.take(j, axis=0)  # three times as fast as positions[j]
    vectors -= positions.take(i, axis=0)
    vectors += translations
    keep = np.flatnonzero(_squared_lengths(vectors) <= cutoff * cutoff)
    return HalfList(i.take(keep), j.take(keep), vectors.take(keep, axis=0))


def _periods(structure: Structure, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
    """Cell periods (n, 3) that wrap the atoms, and periodic directions (3,) of the search.

    If the vacuum along a very long cell vector is wider than the cutoff, no pair crosses it: the
    cell is cut open in the middle of the vacuum, and this direction is searched as a non-periodic
    one, with fewer search bins.
    """
    periods = np.zeros(structure.positions.shape, dtype=np.int64)
    pbc = structure.pbc.copy()
    if not pbc.any():
        return periods, pbc
    cell = structure.cell[structure.pbc]
    dual = np.linalg.pinv(cell)
    heights = 1 / np.linalg.norm(dual, axis=0)  # A, distances between lattice planes
    fractional = (structure.positions @ dual).T  # (number of periodic directions, n)
    directions = np.flatnonzero(structure.pbc)
    for direction, fractions, height in zip(directions, fractional, heights, strict=True):
        start = 0.0
        if height > MOST_BINS * cutoff:
            gap, middle = _widest_gap(fractions)
            vacuum = gap * height  # A
            if vacuum > cutoff:
                start = middle
                pbc[direction] = False
        periods[:, direction] = np.floor(fractions - start)
    return periods, pbc


def _widest_gap(fractions: np.ndarray) -> tuple[float, float]:
    """Width and middle of the widest gap between fractional coordinates (n,), modulo 1."""
    ordered = np.sort(fractions % 1)
    gaps = np.diff(ordered, append=ordered[0] + 1)
    widest = gaps.argmax()
    return gaps[widest], ordered[widest] + gaps[widest] / 2


def _search_box(
    cell: np.ndarray, pbc: np.ndarray, positions: np.ndarray, cutoff: float
) -> tuple[np.ndarray, np.ndarray]:
    """Cell (3, 3) and origin (3,) in A for the search of atoms that lie inside the cell.

    Non-periodic directions get a vector that is orthogonal to the periodic ones and spans the
    atoms: the cell vector of such a direction has no meaning, and a vacuum would cost search bins.
    """
    box = np.array(cell)
    origin = np.zeros(3)
    axes = np.eye(3)
    if pbc.any():
        _, _, right = np.linalg.svd(cell[pbc])
        axes = right[pbc.sum() :]  # orthonormal complement of the periodic vectors
    for direction, axis in zip(np.flatnonzero(~pbc), axes, strict=True):
        heights = positions @ axis  # (n,)
        # 0.5 A on either side; more bins than these would only cost memory
        span = min(float(np.ptp(heights)) + 1.0, MOST_BINS * cutoff)
        box[direction] = span * axis
        origin = origin + (heights.min() - 0.5) * axis
    return box, origin
