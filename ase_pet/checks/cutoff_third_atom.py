"""Cutoff, third atom: energy and forces of a group do not jump as one atom moves out of range.

What helps: a smooth cutoff function in all terms, of three and more atoms too; no limit on the
number of neighbours.

Where it fails, each neighbour that crosses the cutoff adds or removes energy: long runs drift.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms

from . import cutoff_pair
from ._check import Calculate
from ._jumps import JUMP_LIMITS, SPACING, AtomPath, largest_jumps
from ._results import Measured
from ._subject import Subject, extreme

LEVEL = "quick"
STRUCTURES = "free"
LIMITS = JUMP_LIMITS
FURTHEST = 9.0  # A, where the calculator does not state its cutoff
CROSSINGS = {False: 3, True: 100}  # atoms whose cutoff is looked at closely, by subject.full


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield the largest jumps of `subject` as the outermost of the `atoms` moves away.

    It moves away from the middle, until it is out of range of all others.
    """
    middle = atoms.positions.mean(axis=0)
    arms = atoms.positions - middle
    distances = np.linalg.norm(arms, axis=1)
    index = int(distances.argmax())
    # Slightly off the line through the middle, so that no symmetry remains along the path.
    direction = arms[index] + [1e-3, 0, 0]
    path = AtomPath(subject, atoms, index, direction)
    if subject.cutoff is None:
        reach = FURTHEST
        known = []
    else:
        reach = subject.cutoff
        others = np.delete(atoms.positions, index, axis=0)
        vectors = others - atoms.positions[index]
        crossings = _crossings(vectors, path.direction, subject.cutoff)
        known = crossings[: CROSSINGS[subject.full]]
    end = reach + 0.5
    grid = np.arange(0.0, end, SPACING)
    with extreme("atoms along the path"):
        yield from largest_jumps(path, grid, known)


def _crossings(vectors: np.ndarray, direction: np.ndarray, cutoff: float) -> list[float]:
    """Sorted displacements x in A at which a neighbour crosses the cutoff.

    |v - x d| = cutoff has the solution x = v.d + sqrt((v.d)^2 - v^2 + cutoff^2).

    Parameters
    ----------
    vectors:
        Vectors v (n, 3) from the moved atom to its neighbours in A.
    direction:
        Unit vector d (3,) of the movement.
    cutoff:
        Cutoff in A.
    """
    along = vectors @ direction
    squares = along**2 - np.sum(vectors**2, axis=1) + cutoff**2
    crosses = squares > 0
    solutions = along[crosses] + np.sqrt(squares[crosses])
    return sorted(x for x in solutions if x > SPACING)


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with an attraction of pairs that ends at 5 A."""
    return cutoff_pair.broken(calculate)
