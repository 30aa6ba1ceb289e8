"""Translation: results do not change when all atoms are shifted, even by 1000 A.

What helps: differences of positions in float64, before they are rounded to float32.

Where it fails, results change as a system moves through space.
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
STRUCTURES = "any"
LIMITS = SYMMETRY_LIMITS
FAR = 1000.0  # A, at which positions in float32 are exact to 6e-5 A only


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield the largest differences of `subject` between `atoms` and shifted ones.

    Two shifts are short, and three are by 1000 A along each axis.
    """
    shifts = [*subject.generator().normal(size=(2, 3)), *(FAR * np.eye(3))]
    yield from compare(subject, atoms, [_shifted(atoms, shift) for shift in shifts])


def _shifted(atoms: Atoms, shift: np.ndarray) -> Image:
    """Image whose atoms are all moved by the vector shift (3,) in A."""
    image = atoms.copy()
    image.positions += shift
    return Image(image)


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with a field that is fixed in space."""

    def wrong(atoms: Atoms) -> Properties:
        field = 0.01 * np.sin(atoms.positions)
        return altered(
            calculate(atoms),
            energy=field.sum(),
            forces=field,
            stress=field.sum() * np.ones(6),
        )

    return wrong
