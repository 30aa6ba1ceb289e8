"""Net torque: internal forces of a free structure do not turn it; the conservation law of rotation.

Where it fails, an isolated molecule starts to turn by itself.
"""

import numpy as np

from ._equivariance import altered
from ._results import Limit, Measured

LEVEL, STRUCTURES = "quick", "free"
LIMITS = {"net torque": Limit("eV", float64=1e-7, float32=1e-3)}


def measure(subject, atoms):
    """Length of the sum of r x F about the middle of the structure."""
    arms = atoms.positions - atoms.positions.mean(axis=0)
    forces = subject.forces(atoms)
    scale = np.linalg.norm(np.cross(arms, forces), axis=1).max()
    yield Measured(
        "net torque",
        np.linalg.norm(np.cross(arms, forces).sum(axis=0)),
        f"largest of an atom {scale:.3g} eV",
    )


def broken(calculate):
    """Forces around an axis."""

    def wrong(atoms):
        arms = atoms.positions - atoms.positions.mean(axis=0)
        return altered(calculate(atoms), forces=0.01 * np.cross([0, 0, 1], arms))

    return wrong
