"""Permutation: results do not depend on the order in which atoms are listed.

What helps: sums in float64; look for terms in the index of atoms.

Where it fails, two files of the same structure have different energies.
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
ORDERS = 3


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield the largest differences of `subject` between random orders of the `atoms`."""
    generator = subject.generator()
    orders = [generator.permutation(len(atoms)) for _ in range(ORDERS)]
    yield from compare(subject, atoms, [_reordered(atoms, order) for order in orders])


def _reordered(atoms: Atoms, order: np.ndarray) -> Image:
    """Image whose atom k is the atom order[k] of the original."""
    return Image(atoms[order], expected_forces=lambda forces: forces[order])


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with terms that depend on which atom is the first."""

    def wrong(atoms: Atoms) -> Properties:
        first = 0.01 * np.sin(atoms.positions[0]).sum()
        return altered(
            calculate(atoms),
            energy=first,
            forces=first * np.arange(len(atoms))[:, None],
            stress=first * np.ones(6),
        )

    return wrong
