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
from ase.geometry import get_distances

from ._check import Calculate, Properties
from ._equivariance import altered
from ._results import Limit, Measured
from ._subject import Subject

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
    half = atoms[: max(1, len(atoms) // 2)]
    first = [subject.energy_and_forces(structure) for structure in structures]

    energy_errors = []
    force_errors = []
    for k in generator.permutation(len(structures)):
        if k % 2:
            subject.energy_and_forces(half)
        energy, forces = first[k]
        again, forces_again = subject.energy_and_forces(structures[k])
        # Numbers far beyond those of dynamics have fewer digits behind the point.
        scale = max(1.0, np.abs(forces).max() / ORDINARY)
        energy_errors.append(1e3 * abs(again - energy) / len(atoms) / scale)  # meV/atom
        force_errors.append(np.abs(forces_again - forces).max() / scale)
    note = f"{len(structures)} structures of a walk"
    noise = subject.noise
    yield Measured("energy", max(energy_errors), note, noise=1e3 * noise.energy)
    yield Measured("forces", max(force_errors), note, noise=noise.forces)


def _walk(atoms: Atoms, steps: int, generator: np.random.Generator) -> list[Atoms]:
    """Structures of a random walk of hard spheres, which begins in `atoms`, stretched."""
    walker = atoms.copy()
    nearest = NEAREST * _shortest_distance(atoms)
    walker.set_cell(ROOM * walker.cell.array)
    walker.positions *= ROOM
    structures = []
    for _ in range(steps):
        for index in range(len(walker)):
            before = walker.positions[index].copy()
            walker.positions[index] += STRIDE * generator.normal(size=3)
            # A step that brings two atoms together is not made.
            if _shortest_distance(walker) < nearest:
                walker.positions[index] = before
        structures.append(walker.copy())
    return structures


def _shortest_distance(atoms: Atoms) -> float:
    """Shortest distance of two atoms in A, to the nearest periodic image."""
    if len(atoms) == 1:
        return float(atoms.cell.lengths().min())
    _, distances = get_distances(atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    different = ~np.eye(len(atoms), dtype=bool)
    return float(distances[different].min())


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with an energy of pairs whose list is refreshed every 50 calls only."""
    pairs: list[tuple[int, int]] = []
    calls = [0]

    def wrong(atoms: Atoms) -> Properties:
        if calls[0] % BROKEN_EVERY == 0:
            _, distances = get_distances(atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
            near = distances < RANGE * _shortest_distance(atoms)
            pairs[:] = [(int(i), int(j)) for i, j in np.argwhere(near) if i < j]
        calls[0] += 1
        number = sum(j < len(atoms) for _, j in pairs)
        return altered(calculate(atoms), energy=0.01 * number, forces=0.01 * number)

    return wrong
