"""Supercell: a repeated cell has the same energy per atom, the same forces and the same stress.

Where it fails, energies per atom depend on the size of the cell.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms

from ._check import Calculate, Properties
from ._equivariance import SYMMETRY_LIMITS, altered
from ._results import Measured
from ._subject import Subject

LEVEL = "quick"
STRUCTURES = "periodic"
LIMITS = SYMMETRY_LIMITS
REPEATS = {False: ((2, 1, 1),), True: ((2, 1, 1), (1, 1, 3), (2, 2, 2))}  # by subject.full


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield the largest differences of `subject` between `atoms` and repetitions of their cell."""
    energy, forces = subject.energy_and_forces(atoms)
    supercells = [atoms.repeat(repeat) for repeat in REPEATS[subject.full]]
    energy_errors = []
    force_errors = []
    for supercell in supercells:
        copies = len(supercell) // len(atoms)
        total_energy, all_forces = subject.energy_and_forces(supercell)
        energy_errors.append(1e3 * abs(total_energy / copies - energy) / len(atoms))  # meV/atom
        # Atoms of a supercell are listed cell by cell.
        force_errors.append(np.abs(all_forces - np.tile(forces, (copies, 1))).max())
    yield Measured("energy", max(energy_errors))
    yield Measured("forces", max(force_errors))
    stress = subject.stress(atoms)
    stress_errors = [np.abs(subject.stress(supercell) - stress).max() for supercell in supercells]
    yield Measured("stress", max(stress_errors))


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with terms that depend on the number of atoms."""

    def wrong(atoms: Atoms) -> Properties:
        error = 0.01 * len(atoms)
        return altered(calculate(atoms), energy=0.01, forces=error, stress=error)

    return wrong
