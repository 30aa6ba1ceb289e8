"""Inversion and reflection: energy does not change, forces and stress follow; mirror images are
equal.

Where it fails, mirror images of a molecule or a crystal differ in energy.
"""

import numpy as np

from ._equivariance import LIMITS, altered, compare, turned  # noqa: F401  (part of the contract)

LEVEL, STRUCTURES = "quick", "any"


def measure(subject, atoms):
    """Largest difference over the inversion and the reflections at three planes."""
    matrices = [np.diag(signs) for signs in ((-1.0, -1, -1), (-1, 1, 1), (1, -1, 1), (1, 1, -1))]
    yield from compare(subject, atoms, [turned(atoms, matrix) for matrix in matrices])


def broken(calculate):
    """A term with the sign of the volume that three vectors between atoms span.

    It tells a molecule from its image.
    """

    def wrong(atoms):
        vectors = atoms.positions[1:4] - atoms.positions[0]
        hand = 0.01 * np.sign(np.linalg.det(vectors))
        return altered(
            calculate(atoms), hand, hand * vectors[0], hand * np.array([1, 1, 1, 0, 0, 0])
        )

    return wrong
