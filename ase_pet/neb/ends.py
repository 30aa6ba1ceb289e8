"""First and last structure of a path: two states of one system."""

from __future__ import annotations

import warnings

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms
from ase.geometry import find_mic, get_distances
from scipy.optimize import linear_sum_assignment

SAME_CELL = 1e-6  # A
SAME_STRUCTURE = 0.05  # A, largest distance of an atom between two equal structures
SAVED = 0.5  # of the squared distances, by an exchange of equal atoms that is worth a warning


def check(initial: Atoms, final: Atoms) -> None:
    """Raise ValueError unless both structures are states of one system.

    Parameters
    ----------
    initial:
        First structure, whose constraints hold.
    final:
        Last structure.
    """
    if len(initial) != len(final):
        raise ValueError(f"`initial` has {len(initial)} atoms and `final` {len(final)}")
    # the first atom that is another element
    different = np.flatnonzero(initial.numbers != final.numbers)
    if len(different):
        index = int(different[0])
        same = sorted(initial.numbers) == sorted(final.numbers)
        raise ValueError(
            f"atom {index} is {initial.symbols[index]} in `initial` and {final.symbols[index]} in"
            f" `final`: expected the same atoms in the same order"
            f"{' (the elements agree: sort one of the files)' if same else ''}"
        )
    if np.any(initial.pbc != final.pbc):
        raise ValueError(
            f"`pbc` is {initial.pbc.tolist()} and {final.pbc.tolist()}: expected equal"
        )
    difference = np.abs(initial.cell.array - final.cell.array)[initial.pbc]
    if difference.max(initial=0.0) > SAME_CELL:
        raise ValueError(
            f"the cells of both structures differ by {difference.max():.2g} A: expected one cell"
        )
    for constraint in initial.constraints:
        if isinstance(constraint, FixAtoms):
            _require_unmoved(initial, final, constraint.index)


def _require_unmoved(initial: Atoms, final: Atoms, fixed: np.ndarray) -> None:
    """Raise ValueError if atoms that are fixed are at other places in the last structure."""
    moved = (final.positions - initial.positions)[fixed]
    _, lengths = find_mic(moved, initial.cell, initial.pbc)
    if len(lengths) and lengths.max() > SAME_STRUCTURE:
        raise ValueError(
            f"atom {fixed[int(lengths.argmax())]} is fixed, but {lengths.max():.2g} A away in"
            " `final`: expected fixed atoms at the same places"
        )


def unwrap(first: Atoms, last: Atoms) -> None:
    """Move the atoms of `last` to those periodic images that are closest to `first`.

    Parameters
    ----------
    first:
        First structure.
    last:
        Last structure, which is changed.
    """
    constraints = last.constraints
    last.set_constraint()
    shift, _ = find_mic(last.positions - first.positions, first.cell, first.pbc)
    last.positions = first.positions + shift
    last.set_constraint(constraints)


def check_distance(first: Atoms, last: Atoms) -> None:
    """Raise ValueError for one structure given twice, and warn of atoms that seem exchanged.

    Parameters
    ----------
    first:
        First structure, relaxed if it is to be.
    last:
        Last structure.
    """
    # (n, n)
    _, distances = get_distances(first.positions, last.positions, cell=first.cell, pbc=first.pbc)
    own = np.diag(distances)
    if own.max() < SAME_STRUCTURE:
        raise ValueError(
            f"both structures are the same within {own.max():.2g} A (after the relaxation, if any):"
            " there is no path"
        )
    # equal atoms could be exchanged: the shortest way is another order
    costs = np.where(first.numbers[:, None] == last.numbers, distances**2, 1e6)
    _, order = linear_sum_assignment(costs)
    best = costs[np.arange(len(order)), order].sum()
    if best < SAVED * (own**2).sum():
        moved = np.flatnonzero(order != np.arange(len(order)))
        warnings.warn(
            f"atoms {', '.join(map(str, moved[:10]))} of the two structures seem to be exchanged:"
            " the path moves them to each other's places; check the order of the atoms",
            stacklevel=3,
        )
