"""History: results do not depend on the structures that were computed before, over many calls.

Neighbour lists that are reused must notice that atoms moved.

What helps: rebuild the neighbour list as soon as an atom has moved by half of its skin; make a new
calculator for each structure until that is repaired.

Where it fails, pairs are missing or counted beyond their range in long runs, which then cannot be
repeated.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms

from ._check import Calculate, Properties
from ._equivariance import altered
from ._results import Limit, Measured
from ._structures import distance_matrix, shortest_distance
from ._subject import Subject, extreme

LEVEL = "quick"
STRUCTURES = "any"
LIMITS = {
    "energy": Limit("meV/atom", float64=1e-6, float32=1e-2),
    "forces": Limit("eV/A", float64=1e-8, float32=1e-4),
}
STEPS = {False: 60, True: 240}  # of the walk, by subject.full
STRIDE = 0.15  # A rms of a step of each coordinate
ROOM = 1.15  # factor of lengths, so that atoms can walk
NEAREST = 0.9  # of the shortest distance: no atoms come closer
ORDINARY = 10.0  # eV/A: differences are relative to forces above this
BROKEN_EVERY = 50  # calls between two lists of the broken calculator
RANGE = 1.5  # of the shortest distance, up to which it counts pairs


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield the largest differences of `subject` between two evaluations of the same structures.

    The structures are a walk of `atoms` that starts in a stretched structure. First they are
    evaluated in their order, as in dynamics, then in a random order, with half of the atoms in
    between.
    """
    generator = subject.generator()
    structures = _walk(atoms, STEPS[subject.full], generator)
    number = len(structures)
    n_half = max(1, len(atoms) // 2)
    half = atoms[:n_half]
    with extreme("structures of a random walk"):
        first = [subject.energy_and_forces(structure) for structure in structures]

    energy_errors = []
    force_errors = []
    for k in generator.permutation(number):
        if k % 2:
            subject.energy_and_forces(half)
        energy, forces = first[k]
        again, forces_again = subject.energy_and_forces(structures[k])
        # Numbers far beyond those of dynamics have fewer digits behind the point.
        largest = np.abs(forces).max()
        scale = max(1.0, largest / ORDINARY)
        change = abs(again - energy) / scale
        differences = np.abs(forces_again - forces)
        force_change = differences.max()
        energy_errors.append(1e3 * change / len(atoms))  # meV/atom
        force_errors.append(force_change / scale)
    note = f"{number} structures of a walk"
    noise = subject.noise
    largest = max(energy_errors)
    yield Measured("energy", largest, note, noise=1e3 * noise.energy)
    yield Measured("forces", max(force_errors), note, noise=noise.forces)


def _walk(atoms: Atoms, steps: int, generator: np.random.Generator) -> list[Atoms]:
    """Structures of a random walk of hard spheres, which begins in `atoms`, stretched."""
    walker = atoms.copy()
    nearest = NEAREST * shortest_distance(atoms)
    walker.set_cell(ROOM * walker.cell.array)
    walker.positions *= ROOM
    structures = []
    for _ in range(steps):
        for index in range(len(walker)):
            before = walker.positions[index].copy()
            walker.positions[index] += STRIDE * generator.normal(size=3)
            # A step that brings two atoms together is not made.
            if shortest_distance(walker) < nearest:
                walker.positions[index] = before
        structures.append(walker.copy())
    return structures


class StaleList:
    """Function Atoms -> properties with a term of pairs whose list is refreshed too rarely.

    Attributes
    ----------
    calculate:
        Function Atoms -> properties without that term.
    """

    def __init__(self, calculate: Calculate) -> None:
        self.calculate = calculate
        self.calls = 0
        self.pairs: list[tuple[int, int]] = []

    def __call__(self, atoms: Atoms) -> Properties:
        if self.calls % BROKEN_EVERY == 0:
            self._refresh(atoms)
        self.calls += 1
        # The list may be of a larger structure.
        number = sum(second < len(atoms) for _, second in self.pairs)
        error = 0.01 * number
        return altered(self.calculate(atoms), energy=error, forces=error)

    def _refresh(self, atoms: Atoms) -> None:
        """List the pairs (i, j), i < j, of neighbours."""
        reach = RANGE * shortest_distance(atoms)
        near = distance_matrix(atoms) < reach
        upper = np.triu(near, 1)
        self.pairs = [(int(i), int(j)) for i, j in np.argwhere(upper)]


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with an energy of pairs whose list is refreshed every 50 calls only."""
    return StaleList(calculate)
