"""Permutation: the order in which atoms are listed does not matter.

Where it fails, two files of the same structure have different energies.
"""

import numpy as np

from ._equivariance import LIMITS, altered, compare  # noqa: F401  (part of the contract)

LEVEL, STRUCTURES = "quick", "any"
ORDERS = 3


def measure(subject, atoms):
    """Largest difference over random orders of the atoms."""
    generator = subject.generator()
    yield from compare(
        subject,
        atoms,
        [_reordered(atoms, generator.permutation(len(atoms))) for _ in range(ORDERS)],
    )


def _reordered(atoms, order):
    def expected(forces, stress):
        return None if forces is None else forces[order], stress

    return atoms[order], expected


def broken(calculate):
    """Terms in which the first atom differs from the others."""

    def wrong(atoms):
        first = 0.01 * np.sin(atoms.positions[0]).sum()
        return altered(
            calculate(atoms), first, first * np.arange(len(atoms))[:, None], first * np.ones(6)
        )

    return wrong
