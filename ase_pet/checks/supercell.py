"""Supercell: energy is extensive; a repeated cell has the same energy per atom, forces and stress.

Where it fails, energies per atom depend on the size of the cell.
"""

import numpy as np

from ._equivariance import LIMITS, altered  # noqa: F401  (part of the contract)
from ._results import Measured

LEVEL, STRUCTURES = "quick", "periodic"
REPEATS = {False: ((2, 1, 1),), True: ((2, 1, 1), (1, 1, 3), (2, 2, 2))}


def measure(subject, atoms):
    """Largest difference between a cell and its repetitions."""
    energy, forces = subject.energy_forces(atoms)
    energies, errors = [], []
    repeated = [(np.prod(repeat), atoms.repeat(repeat)) for repeat in REPEATS[subject.full]]
    for copies, large in repeated:
        found, forces_found = subject.energy_forces(large)
        energies.append(1e3 * abs(found / copies - energy) / len(atoms))
        errors.append(np.abs(forces_found - np.tile(forces, (copies, 1))).max())
    yield Measured("energy", max(energies))
    yield Measured("forces", max(errors))
    stress = subject.stress(atoms)
    yield Measured(
        "stress", max(np.abs(subject.stress(large) - stress).max() for _, large in repeated)
    )


def broken(calculate):
    """Terms that depend on the number of atoms."""

    def wrong(atoms):
        return altered(calculate(atoms), 0.01, 0.01 * len(atoms), 0.01 * len(atoms))

    return wrong
