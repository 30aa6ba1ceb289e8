"""Supercell: a repeated cell has the same energy per atom, the same forces and the same stress.

What helps: a neighbour list of all images within the cutoff; for electrons, k-points of the same
density in all cells.

Where it fails, energies per atom depend on the size of the cell.
"""

from __future__ import annotations

from collections.abc import Iterator

from ase import Atoms

from ._check import Calculate, Properties
from ._equivariance import SYMMETRY_LIMITS, altered, compare_repeated
from ._results import Measured
from ._subject import Subject

LEVEL = "quick"
STRUCTURES = "periodic"
LIMITS = SYMMETRY_LIMITS
REPEATS = {False: ((2, 1, 1),), True: ((2, 1, 1), (1, 1, 3), (2, 2, 2))}  # by subject.full


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield the largest differences of `subject` between `atoms` and repetitions of their cell."""
    supercells = [atoms.repeat(repeat) for repeat in REPEATS[subject.full]]
    yield from compare_repeated(subject, atoms, supercells)


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with terms that depend on the number of atoms."""

    def wrong(atoms: Atoms) -> Properties:
        error = 0.01 * len(atoms)
        return altered(calculate(atoms), energy=0.01, forces=error, stress=error)

    return wrong
