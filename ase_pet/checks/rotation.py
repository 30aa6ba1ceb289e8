"""Rotation: energy does not change, forces and stress rotate with the structure.

What helps: a plain PET: `--symmetrise ecse`; other models: an equivariant model, or averages over
rotations.

Where it fails, results depend on how a structure lies in space: molecules feel a torque, and
degenerate phonons split.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms
from scipy.spatial.transform import Rotation

from ._check import Calculate, Properties
from ._equivariance import SYMMETRY_LIMITS, altered, compare, transformed
from ._results import Measured
from ._subject import Subject

LEVEL = "quick"
STRUCTURES = "any"
LIMITS = SYMMETRY_LIMITS
ROTATIONS = {False: 4, True: 32}  # by subject.full


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield the largest differences of `subject` over random rotations of `atoms`.

    The rotations are uniform over SO(3).
    """
    rotations = Rotation.random(ROTATIONS[subject.full], rng=subject.generator())
    images = [transformed(atoms, matrix) for matrix in rotations.as_matrix()]
    yield from compare(subject, atoms, images)


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with terms in the direction of the vector between two atoms."""

    def wrong(atoms: Atoms) -> Properties:
        vector = atoms.positions[1] - atoms.positions[0]
        return altered(
            calculate(atoms),
            energy=0.01 * vector[2] ** 2 / (vector @ vector),
            forces=[0.0, 0.0, 0.01],
            stress=np.array([0.01, 0, 0, 0, 0, 0]),
        )

    return wrong
