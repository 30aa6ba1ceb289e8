"""Space group of a crystal, the tolerance that its file needs, and the constraint that keeps it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import FixSymmetry
from ase.spacegroup.symmetrize import check_symmetry

from ._setting import kinds, right_handed, with_vacuum

TOLERANCE = 1e-3  # A: atoms this close to symmetric positions count as symmetric
WIDEST = 0.1  # A, the largest tolerance that follows from the digits of a file
THIRDS = ("0.33", "0.66", "0.67", "0.17", "0.83")


@dataclass(frozen=True)
class Group:
    """Space group of a structure.

    Attributes
    ----------
    name:
        Symbol and number, such as "Fd-3m (227)".
    operations:
        Number of symmetry operations in the cell, translations included.
    rotations:
        Distinct rotations, as bytes of (3, 3) matrices in units of the cell vectors.
    """

    name: str
    operations: int
    rotations: frozenset[bytes]

    def contains(self, other: Group) -> bool:
        """Whether every operation of the `other` group, of the same cell, is one of this group."""
        return self.rotations >= other.rotations and self.operations >= other.operations


def group_of(atoms: Atoms, tolerance: float = TOLERANCE) -> Group:
    """Space group of a structure; that of layers includes their vacuum.

    Parameters
    ----------
    atoms:
        Structure of three or two periodic directions.
    tolerance:
        Tolerance in A.

    Raises
    ------
    ValueError
        Spglib finds none.
    """
    try:
        found = check_symmetry(_of_kinds(atoms), symprec=tolerance)
        name = f"{found.international} ({found.number})"
    except Exception as error:  # spglib and ASE raise several kinds
        raise _no_group(tolerance, error) from None
    rotations = frozenset(rotation.tobytes() for rotation in np.array(found.rotations, dtype=int))
    return Group(name, len(found.rotations), rotations)


def space_group(atoms: Atoms, tolerance: float = TOLERANCE) -> str:
    """Symbol and number of the space group of `atoms` within `tolerance` (A), "Fd-3m (227)"."""
    return group_of(atoms, tolerance).name


def refine(atoms: Atoms, tolerance: float) -> FixSymmetry:
    """Constraint that keeps the space group; the atoms are moved to exactly symmetric positions.

    Parameters
    ----------
    atoms:
        Structure with a right-handed cell; it is changed.
    tolerance:
        Tolerance in A.
    """
    labelled = _of_kinds(atoms)
    try:
        constraint = FixSymmetry(labelled, symprec=tolerance)
    except Exception as error:  # spglib and ASE raise several kinds
        raise _no_group(tolerance, error) from None
    atoms.set_cell(labelled.cell)
    atoms.positions = labelled.positions
    return constraint


def tolerance_of(atoms: Atoms) -> float:
    """Tolerance in A: 0.001, or more where the file of the structure has few digits.

    Fractional coordinates such as 0.333 are a third, but not within 0.001 A. The tolerance is two
    units of their last digit, if that raises the symmetry of the positions and leaves
    the cell as it is. A warning says so.

    Parameters
    ----------
    atoms:
        Structure of three periodic directions.
    """
    digits = _digits(atoms.get_scaled_positions(wrap=False))
    if digits is None:
        return TOLERANCE
    longest = float(atoms.cell.lengths().max())
    wide = min(2 * 10.0**-digits * longest, WIDEST)
    if wide <= TOLERANCE:
        return TOLERANCE
    try:
        narrow_group = group_of(atoms)
        wide_group = group_of(atoms, wide)
        refined = right_handed(atoms)
        refined.set_constraint()
        refine(refined, wide)
    except ValueError:  # no group at one of the tolerances
        return TOLERANCE
    moved = np.abs(np.array(refined.cell) - np.array(right_handed(atoms).cell)).max()
    if wide_group.operations <= narrow_group.operations or moved > TOLERANCE:
        return TOLERANCE
    warnings.warn(
        f"the fractional coordinates have {digits} digits: the space group is that within"
        f" {wide:.2g} A, {wide_group.name}, instead of {narrow_group.name} within {TOLERANCE:g} A",
        stacklevel=4,
    )
    return wide


def _digits(fractions: np.ndarray) -> int | None:
    """Digits after the point of fractional coordinates, None if they are exact or have many."""
    rounded = np.ravel(fractions)
    twentyfourths = np.abs(rounded * 24 - np.rint(rounded * 24)) < 1e-6
    if twentyfourths.all():
        return None
    for digits in (2, 3, 4, 5):
        if np.abs(rounded - np.round(rounded, digits)).max() < 5e-9:
            break
    else:
        return None
    # 0.25 and 0.31 have two digits as well: only thirds are surely rounded
    texts = {f"{value % 1:.2f}" for value in rounded[~twentyfourths]}
    if digits == 2 and not texts & set(THIRDS):
        return None
    return digits


def _of_kinds(atoms: Atoms) -> Atoms:
    """Right-handed structure in which only atoms of one element and moment share a number."""
    labelled = right_handed(with_vacuum(atoms))
    labelled.set_constraint()
    labelled.calc = None
    labelled.set_atomic_numbers(kinds(atoms, masses=False))
    return labelled


def _no_group(tolerance: float, error: Any) -> ValueError:
    return ValueError(
        f"no space group is found within {tolerance:g} A ({type(error).__name__}: {error}): give"
        " another tolerance (--symprec), or use no symmetry (--no-symmetry)"
    )
