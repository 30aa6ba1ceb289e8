"""Inversion and reflection: energy does not change, forces and stress follow the structure.

What helps: a plain PET: `--symmetrise ecse`; other models: training on mirror images, or an
equivariant model.

Where it fails, mirror images of a molecule or a crystal differ in energy.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms

from ._check import Calculate, Properties
from ._equivariance import SYMMETRY_LIMITS, altered, compare, transformed
from ._results import Measured
from ._subject import Subject

LEVEL = "quick"
STRUCTURES = "any"
LIMITS = SYMMETRY_LIMITS
DIAGONALS = ((-1.0, -1, -1), (-1, 1, 1), (1, -1, 1), (1, 1, -1))  # inversion, three reflections


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield the largest differences between `atoms` and their images, evaluated by `subject`.

    Images are those under the inversion and the reflections at three planes.
    """
    images = [transformed(atoms, np.diag(diagonal)) for diagonal in DIAGONALS]
    yield from compare(subject, atoms, images)


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with terms that have opposite signs for a structure and its mirror image.

    Their sign is that of the volume that three vectors between atoms span.
    """

    def wrong(atoms: Atoms) -> Properties:
        vectors = atoms.positions[1:4] - atoms.positions[0]
        chirality = 0.01 * np.sign(np.linalg.det(vectors))
        return altered(
            calculate(atoms),
            energy=chirality,
            forces=chirality * vectors[0],
            stress=chirality * np.array([1, 1, 1, 0, 0, 0]),
        )

    return wrong
