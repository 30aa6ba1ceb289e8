"""Determinism: the same structure always gives the same numbers, whatever was computed before.

What helps: `torch.use_deterministic_algorithms`, a fixed seed, no dropout; a self-consistent
calculator that starts from scratch, or converges further.

Where it fails, no run can be repeated, and differences of energies contain noise.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms

from ._check import Calculate, Properties
from ._equivariance import altered
from ._results import Limit, Measured
from ._subject import Subject

LEVEL = "quick"
STRUCTURES = "any"
LIMITS = {
    "energy": Limit("meV/atom", float64=1e-8, float32=1e-2),
    "forces": Limit("eV/A", float64=1e-10, float32=1e-4),
}


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield the largest differences between evaluations of `atoms` by `subject`.

    In between it evaluates other structures, which may leave traces in caches and neighbour lists:
    the atoms displaced, strained, and half of them.
    """
    moved = atoms.copy()
    generator = subject.generator()
    noise = generator.normal(size=moved.positions.shape)
    moved.positions += 0.1 * noise
    strained = atoms.copy()
    strained.set_cell(1.02 * atoms.cell.array, scale_atoms=True)
    n_half = max(1, len(atoms) // 2)
    half = atoms[:n_half]

    first_energy, first_forces = subject.energy_and_forces(atoms)
    energy_errors = []
    force_errors = []
    for other in (moved, strained, half):
        subject.energy_and_forces(other)
        energy, forces = subject.energy_and_forces(atoms)
        energy_difference = abs(energy - first_energy)
        force_differences = np.abs(forces - first_forces)
        energy_errors.append(1e3 * energy_difference / len(atoms))  # meV/atom
        force_errors.append(force_differences.max())
    # A self-consistent calculator starts from its last result, and ends elsewhere within its noise.
    noise = {"energy": 1e3 * subject.noise.energy, "forces": subject.noise.forces}
    for quantity, errors in (("energy", energy_errors), ("forces", force_errors)):
        largest = max(errors)
        note = "bitwise equal" if largest == 0 else ""
        yield Measured(quantity, largest, note, noise=noise[quantity])


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with energy and forces that change with each call."""
    calls: list[None] = []

    def wrong(atoms: Atoms) -> Properties:
        calls.append(None)
        error = 0.01 * len(calls)
        return altered(calculate(atoms), energy=error, forces=error)

    return wrong
