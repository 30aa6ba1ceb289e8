"""Locality and separation: energies and forces of two structures far apart are additive.

Where it fails, distant molecules act on each other, and energies of reaction or adsorption are
wrong by that.
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
STRUCTURES = "free"
LIMITS = {
    "energy": Limit("meV", float64=1e-5, float32=1e-1),
    "forces": Limit("eV/A", float64=1e-8, float32=1e-4),
}
DISTANCE = 40.0  # A between the nearest atoms, or four cutoffs where that is more


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield E(A + B) - E(A) - E(B) of `subject`, and the change of the forces.

    A are the `atoms`, and B is a rotated copy of them far away.
    """
    cutoff = subject.cutoff or 0.0
    distance = max(DISTANCE, 4 * cutoff)
    other = atoms.copy()
    other.positions[:] = other.positions[:, [1, 2, 0]]  # a rotation by 120 degrees
    width = np.ptp(atoms.positions[:, 0])
    other_width = np.ptp(other.positions[:, 0])
    other.positions += [width + other_width + distance, 0, 0]

    energy_a, forces_a = subject.energy_and_forces(atoms)
    energy_b, forces_b = subject.energy_and_forces(other)
    energy, forces = subject.energy_and_forces(atoms + other)
    energy_error = abs(energy - energy_a - energy_b)
    separate_forces = np.concatenate([forces_a, forces_b])
    force_error = np.abs(forces - separate_forces).max()
    note = f"{distance:.0f} A apart"
    yield Measured("energy", 1e3 * energy_error, note)
    yield Measured("forces", force_error, note)


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with terms that depend on the number of atoms."""

    def wrong(atoms: Atoms) -> Properties:
        number = len(atoms)
        return altered(calculate(atoms), energy=1e-3 * number**2, forces=1e-3 * number)

    return wrong
