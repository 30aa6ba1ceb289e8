"""Lattices and structures that a search by bins is slow for: sheared cells, and sparse systems."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
from ase.geometry import minkowski_reduce
from scipy.spatial import cKDTree

from .structure import Structure

SLANTED = 10.0  # product of the lengths of cell vectors over the volume that they span


def compact(structure: Structure) -> tuple[Structure, np.ndarray]:
    """The structure with shorter vectors of the same lattice, and integers (3, 3) that make them.

    The vectors of a strongly sheared cell are long, and the lattice planes close to each other: a
    search visits as many images as the shear is large. Cells that are not slanted are kept.

    Parameters
    ----------
    structure:
        Structure with linearly independent periodic cell vectors.
    """
    unchanged = np.eye(3, dtype=np.int64)
    periodic = structure.cell[structure.pbc]  # (d, 3)
    d = len(periodic)
    volume = np.sqrt(max(0.0, float(np.linalg.det(periodic @ periodic.T))))
    lengths = np.linalg.norm(periodic, axis=1)
    if d < 2 or lengths.prod() <= SLANTED * volume:
        return structure, unchanged
    # open directions: orthogonal and longest, so that they stay last and are never combined
    _, _, right = np.linalg.svd(periodic)
    basis = np.concatenate([periodic, 2 * lengths.max() * right[d:]])
    try:
        _, combination = minkowski_reduce(basis)
    except RuntimeError:  # vectors that are too different in length for the precision of float64
        return structure, unchanged
    operation = unchanged.copy()
    operation[np.ix_(structure.pbc, structure.pbc)] = combination[:d, :d]
    return replace(structure, cell=operation @ structure.cell), operation


def tree_pairs(
    positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres (P,), neighbours (P,) and shifts (P, 3) of all pairs, each once, by a k-d tree.

    Its time and memory depend on the number of atoms and pairs, not on the size of the cell.

    Parameters
    ----------
    positions:
        Positions (n, 3) in A, wrapped into the cell along periodic directions.
    cell:
        Cell (3, 3) in A.
    pbc:
        Periodic directions (3,).
    cutoff:
        Largest distance of a pair in A.
    """
    tree = cKDTree(positions)
    within = tree.query_pairs(cutoff, output_type="ndarray").astype(np.int64)  # (P, 2), i < j
    centres = [within[:, 0]]
    neighbours = [within[:, 1]]
    shifts = [np.zeros((len(within), 3), dtype=np.int64)]
    low = positions.min(axis=0) - cutoff
    high = positions.max(axis=0) + cutoff
    for shift in _positive_shifts(cell, pbc, cutoff):
        images = positions + shift @ cell
        close = np.flatnonzero(((images >= low) & (images <= high)).all(axis=1))
        if not len(close):
            continue
        found = tree.sparse_distance_matrix(cKDTree(images[close]), cutoff, output_type="ndarray")
        centres.append(found["i"].astype(np.int64))
        neighbours.append(close[found["j"]])
        shifts.append(np.tile(shift, (len(found), 1)))
    i = np.concatenate(centres)
    j = np.concatenate(neighbours)
    s = np.concatenate(shifts)
    # the convention of half lists: i < j, or i = j with a positive shift
    reverse = i > j
    first = np.where(reverse, j, i)
    second = np.where(reverse, i, j)
    return first, second, np.where(reverse[:, None], -s, s)


def _positive_shifts(cell: np.ndarray, pbc: np.ndarray, cutoff: float) -> list[np.ndarray]:
    """Integer shifts (3,) of images that may be within the cutoff, one of each pair +S, -S."""
    counts = np.zeros(3, dtype=int)
    if pbc.any():
        dual = np.linalg.pinv(cell[pbc])
        heights = 1 / np.linalg.norm(dual, axis=0)  # of lattice planes, A
        counts[pbc] = np.ceil(cutoff / heights)
    ranges = [range(-count, count + 1) for count in counts]
    shifts = itertools.product(*ranges)
    # tuples are compared like words, by the first number that differs
    positive = [shift for shift in shifts if shift > (0, 0, 0)]
    return [np.array(shift) for shift in positive]
