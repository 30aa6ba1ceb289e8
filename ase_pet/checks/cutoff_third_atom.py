"""Cutoff, third atom: energy and forces of a group of atoms do not jump when one more leaves their
range.

Where it fails, each neighbour that enters or leaves brings energy or takes it away: long runs
drift.
"""

import numpy as np

from . import cutoff_pair
from ._jumps import LIMITS, SPACING, Path, compare  # noqa: F401  (part of the contract)

LEVEL, STRUCTURES = "quick", "free"
FURTHEST = 9.0  # A, where the calculator does not say its cutoff
CROSSINGS = {False: 3, True: 100}


def measure(subject, atoms):
    """Largest jumps while the outermost atom moves away from the middle until it is out of range
    of all others.
    """
    arms = atoms.positions - atoms.positions.mean(axis=0)
    index = int(np.linalg.norm(arms, axis=1).argmax())
    path = Path(subject, atoms, index, arms[index] + [1e-3, 0, 0])
    reach = subject.cutoff or FURTHEST
    known = (
        []
        if subject.cutoff is None
        else _crossings(
            np.delete(atoms.positions, index, axis=0) - atoms.positions[index],
            path.direction,
            subject.cutoff,
        )
    )
    yield from compare(
        path, np.arange(0.0, reach + 10 * SPACING, SPACING), known[: CROSSINGS[subject.full]]
    )


def _crossings(vectors, direction, cutoff):
    """x > 0 at which |vectors - x direction| is the cutoff."""
    along = vectors @ direction
    squares = along**2 - np.sum(vectors**2, axis=1) + cutoff**2
    found = along[squares > 0] + np.sqrt(squares[squares > 0])
    return sorted(x for x in found if x > SPACING)


def broken(calculate):
    """Pairs that end at 5 A."""
    return cutoff_pair.broken(calculate)
