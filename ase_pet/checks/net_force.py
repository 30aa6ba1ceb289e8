"""Net force: the internal forces of a structure add up to zero.

What helps: a conservative model that depends on differences of positions alone; for direct forces,
subtraction of the mean force.

Where it fails, the whole system accelerates by itself.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms

from ._check import Calculate
from ._equivariance import altered
from ._results import Limit, Measured
from ._subject import Subject

LEVEL = "quick"
STRUCTURES = "any"
LIMITS = {"net force": Limit("eV/A", float64=1e-8, float32=1e-4)}


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield the length of the sum of the forces of `subject` on `atoms`."""
    forces = subject.forces(atoms)
    net_force = float(np.linalg.norm(forces.sum(axis=0)))
    largest = np.abs(forces).max()
    note = f"largest force {largest:.3g} eV/A"
    noise = subject.noise.forces * len(atoms)
    yield Measured("net force", net_force, note, noise=noise)


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with the same force added to each atom."""
    return lambda atoms: altered(calculate(atoms), forces=[0.01, 0, 0])
