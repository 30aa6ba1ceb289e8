"""Net force: internal forces add up to zero.

Where it fails, the whole system accelerates by itself.
"""

import numpy as np

from ._equivariance import altered
from ._results import Limit, Measured

LEVEL, STRUCTURES = "quick", "any"
LIMITS = {"net force": Limit("eV/A", float64=1e-8, float32=1e-4)}


def measure(subject, atoms):
    """Length of the sum of all forces."""
    forces = subject.forces(atoms)
    yield Measured(
        "net force",
        np.linalg.norm(forces.sum(axis=0)),
        f"largest force {np.abs(forces).max():.3g} eV/A",
    )


def broken(calculate):
    """The same force on each atom."""
    return lambda atoms: altered(calculate(atoms), forces=[0.01, 0, 0])
