"""Rotation: energy does not change, forces and stress turn with the structure.

Where it fails, results depend on how a structure lies in space: molecules feel a torque, and
degenerate phonons split.
"""

import numpy as np
from scipy.spatial.transform import Rotation

from ._equivariance import LIMITS, altered, compare, turned  # noqa: F401  (part of the contract)

LEVEL, STRUCTURES = "quick", "any"
ROTATIONS = {False: 4, True: 32}


def measure(subject, atoms):
    """Largest and rms difference over random rotations, uniform over SO(3)."""
    rotations = Rotation.random(ROTATIONS[subject.full], rng=subject.generator()).as_matrix()
    yield from compare(subject, atoms, [turned(atoms, matrix) for matrix in rotations])


def broken(calculate):
    """An energy that depends on the direction of the vector between two atoms."""

    def wrong(atoms):
        vector = atoms.positions[1] - atoms.positions[0]
        return altered(
            calculate(atoms),
            0.01 * vector[2] ** 2 / (vector @ vector),
            [0.0, 0.0, 0.01],
            np.array([0.01, 0, 0, 0, 0, 0]),
        )

    return wrong
