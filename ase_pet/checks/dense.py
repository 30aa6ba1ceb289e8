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
    half = 0.5 * LENGTH
    grid = np.arange(-half, half, SPACING)
    with extreme("a compressed crystal"):
        for measured in largest_jumps(path, grid):
            if measured.quantity in LIMITS:
                yield measured


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with a term of the last of 60 neighbours, which jumps."""

    def wrong(atoms: Atoms) -> Properties:
        step = np.floor(200 * _last_neighbour(atoms))
        error = 0.01 * step
        return altered(calculate(atoms), energy=error, forces=error)

    return wrong


def _last_neighbour(atoms: Atoms) -> float:
    """Distance in A of the first atom to its 60th neighbour, if that is in the next cells."""
    images = atoms.repeat(3)  # the middle cell is surrounded by its images
    centre = atoms.positions[0] + atoms.cell.array.sum(axis=0)
    arms = images.positions - centre
    distances = np.linalg.norm(arms, axis=1)
    return float(np.sort(distances)[KEPT])
