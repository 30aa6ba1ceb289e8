"""Translation: shifts of all atoms change nothing, also one of 1000 A.

Where it fails, results change as a system moves through space.
"""

import numpy as np

from ._equivariance import LIMITS, altered, compare  # noqa: F401  (part of the contract)

LEVEL, STRUCTURES = "quick", "any"
FAR = 1000.0  # A, at which positions in float32 are exact to 6e-5 A only


def measure(subject, atoms):
    """Largest difference over two short shifts and one of 1000 A along each axis."""
    shifts = [*subject.generator().normal(size=(2, 3)), *(FAR * np.eye(3))]
    yield from compare(subject, atoms, [_shifted(atoms, shift) for shift in shifts])


def _shifted(atoms, shift):
    image = atoms.copy()
    image.positions += shift
    return image, lambda forces, stress: (forces, stress)


def broken(calculate):
    """A field in space."""

    def wrong(atoms):
        field = 0.01 * np.sin(atoms.positions)
        return altered(calculate(atoms), field.sum(), field, field.sum() * np.ones(6))

    return wrong
