"""Locality and separation: two structures out of each other's reach are additive.

Where it fails, distant molecules act on each other, and energies of reaction or adsorption are
wrong by that.
"""

import numpy as np

from ._equivariance import altered
from ._results import Limit, Measured

LEVEL, STRUCTURES = "quick", "free"
LIMITS = {
    "energy": Limit("meV", float64=1e-5, float32=1e-1),
    "forces": Limit("eV/A", float64=1e-8, float32=1e-4),
}
DISTANCE = 40.0  # A between the nearest atoms, or four cutoffs where that is more


def measure(subject, atoms):
    """E(A + B) - E(A) - E(B), and the change of the forces, with B a copy of A far away."""
    distance = max(DISTANCE, 4 * (subject.cutoff or 0.0))
    other = atoms.copy()
    other.positions[:] = other.positions[:, [1, 2, 0]]
    other.positions += [
        np.ptp(atoms.positions[:, 0]) + np.ptp(other.positions[:, 0]) + distance,
        0,
        0,
    ]
    (first, forces), (second, far), (both, together) = map(
        subject.energy_forces, (atoms, other, atoms + other)
    )
    yield Measured("energy", 1e3 * abs(both - first - second), f"{distance:.0f} A apart")
    yield Measured(
        "forces", np.abs(together - np.concatenate([forces, far])).max(), f"{distance:.0f} A apart"
    )


def broken(calculate):
    """Terms that depend on the number of atoms."""

    def wrong(atoms):
        return altered(calculate(atoms), 1e-3 * len(atoms) ** 2, 1e-3 * len(atoms))

    return wrong
