"""Dense crystals: energy and forces do not jump in a compressed crystal with many neighbours.

One atom of a crystal at a third of its volume moves by half an angstrom.

What helps: no limit on the number of neighbours; a smooth switching function where the range
depends on the density.

Where it fails, runs under pressure and hot liquids do not conserve energy.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms

from ._check import Calculate, Properties
from ._equivariance import altered
from ._jumps import JUMP_LIMITS, SPACING, AtomPath, largest_jumps
from ._results import Measured
from ._subject import Subject, extreme

LEVEL = "full"
STRUCTURES = "periodic"
LIMITS = {name: JUMP_LIMITS[name] for name in ("energy jump", "force jump")}
FACTOR = 0.7  # of lengths
LENGTH = 0.5  # A of the path
KEPT = 60  # neighbours of an atom in the broken calculator


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield the largest jumps of `subject` as the first of the compressed `atoms` moves."""
    compressed = atoms.copy()
    compressed.set_cell(FACTOR * atoms.cell.array, scale_atoms=True)
    direction = subject.generator().normal(size=3)
    path = AtomPath(subject, compressed, index=0, direction=direction)
    grid = np.arange(0.0, LENGTH, SPACING) - 0.5 * LENGTH
    with extreme("a compressed crystal"):
        for measured in largest_jumps(path, grid):
            if measured.quantity in LIMITS:
                yield measured


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with a term of each atom's 60 nearest neighbours."""

    def wrong(atoms: Atoms) -> Properties:
        images = atoms.repeat(3)  # the middle cell is surrounded by its images
        centre = atoms.positions[0] + atoms.cell.array.sum(axis=0)
        distances = np.sort(np.linalg.norm(images.positions - centre, axis=1))
        last = distances[KEPT]
        # the energy of the last one that is kept, and a force that follows its number
        return altered(
            calculate(atoms),
            energy=0.01 * np.floor(200 * last),
            forces=0.01 * np.floor(200 * last),
        )

    return wrong
