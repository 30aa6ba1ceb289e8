"""Lattice: results do not depend on the choice of the cell, nor of periodic images of atoms.

What helps: a neighbour list of all images within the cutoff; until then wrap atoms and use cells
that are as cubic as possible.

Where it fails, results depend on how a cell was chosen, and jump when atoms are wrapped into it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms

from ._check import Calculate, Properties
from ._equivariance import SYMMETRY_LIMITS, Image, altered, compare
from ._results import Measured
from ._subject import Subject

LEVEL = "quick"
STRUCTURES = "periodic"
LIMITS = SYMMETRY_LIMITS
# Integer matrices of determinant 1: the rows of matrix @ cell span the same lattice as the cell.
CELLS = (
    np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]]),
    np.array([[1, 0, 0], [-1, 1, 0], [1, 2, 1]]),
    np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]]),
)


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield the largest differences between `atoms` and the same crystal, evaluated by `subject`.

    The same crystal: atoms moved by lattice vectors, atoms wrapped into the cell, other cells.
    """
    generator = subject.generator()
    cell = atoms.cell.array  # (3, 3), a lattice vector per row
    steps = generator.integers(-2, 3, size=(len(atoms), 3))
    moved = atoms.copy()
    moved.positions += steps @ cell
    wrapped = atoms.copy()
    wrapped.wrap()
    # The atoms of other cells lie outside of them.
    images = [Image(moved), Image(wrapped)]
    for matrix in CELLS:
        image = moved.copy()
        image.set_cell(matrix @ cell)
        images.append(Image(image))
    yield from compare(subject, atoms, images)


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with terms in the positions as they are listed, without regard to the cell."""

    def wrong(atoms: Atoms) -> Properties:
        deviation = 0.01 * np.std(atoms.positions)
        return altered(
            calculate(atoms), energy=deviation, forces=deviation, stress=deviation * np.ones(6)
        )

    return wrong
