"""Lattice: moving single atoms by lattice vectors, and another choice of the cell of the same
crystal, change nothing.

Where it fails, results depend on how a cell was chosen, and jump when atoms are wrapped into it.
"""

import numpy as np

from ._equivariance import LIMITS, altered, compare  # noqa: F401  (part of the contract)

LEVEL, STRUCTURES = "quick", "periodic"
CELLS = (
    np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]]),
    np.array([[1, 0, 0], [-1, 1, 0], [1, 2, 1]]),
    np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]]),
)  # determinant 1


def measure(subject, atoms):
    """Largest difference over atoms outside of the cell, atoms wrapped into it.

    And cells of the same lattice.
    """
    steps = subject.generator().integers(-2, 3, size=(len(atoms), 3))
    moved = atoms.copy()
    moved.positions += steps @ atoms.cell.array
    wrapped = atoms.copy()
    wrapped.wrap()
    images = [moved, wrapped]
    for matrix in CELLS:
        image = moved.copy()
        image.set_cell(matrix @ atoms.cell.array)
        images.append(image)
    yield from compare(
        subject, atoms, [(image, lambda forces, stress: (forces, stress)) for image in images]
    )


def broken(calculate):
    """Terms in the positions as they are listed."""

    def wrong(atoms):
        spread = 0.01 * np.std(atoms.positions)
        return altered(calculate(atoms), spread, spread, spread * np.ones(6))

    return wrong
