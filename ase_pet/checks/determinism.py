"""Determinism: the same structure gives the same numbers, whatever was computed in between.

Where it fails, no run can be repeated, and differences of energies hold noise.
"""

import numpy as np

from ._equivariance import altered
from ._results import Limit, Measured

LEVEL, STRUCTURES = "quick", "any"
LIMITS = {
    "energy": Limit("meV/atom", float64=1e-8, float32=1e-2),
    "forces": Limit("eV/A", float64=1e-10, float32=1e-4),
}


def measure(subject, atoms):
    """Largest difference between evaluations, with other structures in between.

    Slightly moved, strained, a part.
    """
    other = atoms.copy()
    other.positions += 0.1 * subject.generator().normal(size=other.positions.shape)
    strained = atoms.copy()
    strained.set_cell(1.02 * atoms.cell.array, scale_atoms=True)
    between = [other, strained, atoms[: max(1, len(atoms) // 2)]]
    energy, forces = subject.energy_forces(atoms)
    energies, errors = [], []
    for structure in between:
        subject.energy_forces(structure)
        found, again = subject.energy_forces(atoms)
        energies.append(1e3 * abs(found - energy) / len(atoms))
        errors.append(np.abs(again - forces).max())
    yield Measured("energy", max(energies), "bitwise equal" if max(energies) == 0 else "")
    yield Measured("forces", max(errors), "bitwise equal" if max(errors) == 0 else "")


def broken(calculate):
    """Numbers that change with each call."""
    calls = []

    def wrong(atoms):
        calls.append(None)
        return altered(calculate(atoms), 0.01 * len(calls), 0.01 * len(calls))

    return wrong
