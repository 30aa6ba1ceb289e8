"""Size: a large system has the energy per atom, the forces and the stress of a small one.

Large systems are repeated crystals, and copies of a molecule that are far apart.

What helps: smaller systems until the calculator is repaired; look for limits on the number of
atoms, neighbours or pairs, and for sums in float32.

Where it fails, energies of large systems cannot be compared with those of small ones, or are wrong.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms

from ._check import Calculate, Properties
from ._equivariance import SYMMETRY_LIMITS, altered, compare_repeated
from ._results import Measured
from ._structures import is_free
from ._subject import Subject, extreme

LEVEL = "quick"
STRUCTURES = "any"
LIMITS = SYMMETRY_LIMITS
# atoms that a large system has at least, by subject.full
SIZES = {False: (130,), True: (80, 260, 700)}
DISTANCE = 40.0  # A between molecules, or four cutoffs where that is more
FAR = 1000.0  # A, where molecules still act on each other at the distance above
SMALL = 1e-9  # eV/atom, or the scatter: of interactions that do not matter
BROKEN_SIZE = 64  # atoms above which the broken calculator is wrong


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield the largest differences of `subject` between `atoms` and many copies of them."""
    large = []
    for size in SIZES[subject.full]:
        copies = -(-size // len(atoms))
        if is_free(atoms):
            large.append(_row(atoms, copies, _gap(subject, atoms)))
        else:
            large.append(atoms.repeat(_even_repeat(atoms, copies)))
    with extreme("a large system"):
        yield from compare_repeated(subject, atoms, large)


def _even_repeat(atoms: Atoms, copies: int) -> list[int]:
    """Numbers of cells along the periodic directions, at least `copies` in all."""
    repeat = [1, 1, 1]
    lengths = atoms.cell.lengths()
    # One more along the shortest edge, until there are enough.
    while np.prod(repeat) < copies:
        edges = np.where(atoms.pbc, lengths * repeat, np.inf)
        repeat[int(edges.argmin())] += 1
    return repeat


def _gap(subject: Subject, atoms: Atoms) -> float:
    """Distance in A at which copies of a molecule do not act on each other."""
    distance = max(DISTANCE, 4 * (subject.cutoff or 0.0))
    energy = subject.energy_and_forces(atoms)[0]
    pair = subject.energy_and_forces(_row(atoms, 2, distance))[0]
    interaction = abs(pair - 2 * energy) / len(atoms)
    # Dipoles and charges act at any distance.
    is_local = interaction <= max(SMALL, subject.noise.energy)
    return distance if is_local else FAR


def _row(atoms: Atoms, copies: int, gap: float) -> Atoms:
    """Copies of a molecule in a row, with a gap in A between them."""
    step = np.ptp(atoms.positions[:, 0]) + gap
    row = atoms[:0]
    for k in range(copies):
        copy = atoms.copy()
        copy.positions[:, 0] += k * step
        row += copy
    return row


def broken(calculate: Calculate) -> Calculate:
    """`calculate` that is wrong above 64 atoms."""

    def wrong(atoms: Atoms) -> Properties:
        error = 0.01 if len(atoms) > BROKEN_SIZE else 0.0
        return altered(
            calculate(atoms), energy=error * len(atoms), forces=error, stress=error * np.ones(6)
        )

    return wrong
