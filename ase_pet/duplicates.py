"""Atoms of a file that stand for one atom."""

from __future__ import annotations

import warnings

import numpy as np
from ase import Atoms

DUPLICATES = 0.1  # A, closer atoms of a file with a space group are one atom


def merge_duplicates(atoms: Atoms) -> Atoms:
    """Copy without duplicate atoms, each group of which becomes one atom at their mean position.

    A space group applied to rounded coordinates, such as 0.333, makes several atoms of one. Only
    structures that carry a space group of their file (`atoms.info["spacegroup"]`) are changed, and
    a warning says so.

    Parameters
    ----------
    atoms:
        Structure read from a file.
    """
    if "spacegroup" not in atoms.info or len(atoms) < 2:
        return atoms
    numbers = atoms.numbers
    first = np.arange(len(atoms))  # (n,) index of the first atom of the group of each atom
    offsets = np.zeros((len(atoms), 3))
    for index in range(len(atoms)):
        if first[index] != index:
            continue
        vectors = atoms.get_distances(index, range(len(atoms)), mic=True, vector=True)
        near = (np.linalg.norm(vectors, axis=1) < DUPLICATES) & (numbers == numbers[index])
        near &= np.arange(len(atoms)) >= index
        first[near] = index
        offsets[index] = vectors[near].mean(axis=0)
    kept = np.unique(first)
    if len(kept) == len(atoms):
        return atoms
    merged: Atoms = atoms[kept]
    merged.positions += offsets[kept]
    merged.calc = atoms.calc
    warnings.warn(
        f"{len(atoms)} atoms of the file became {len(kept)}: the space group made duplicates of"
        f" atoms within {DUPLICATES:g} A, as the coordinates are rounded",
        stacklevel=3,
    )
    return merged
