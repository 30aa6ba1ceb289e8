"""Net torque: the internal forces of a free structure exert no torque on it.

The energy does not change with the orientation.

What helps: a plain PET: `--symmetrise ecse`; direct forces: a model whose forces are gradients.

Where it fails, an isolated molecule starts to rotate by itself.
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
LIMITS = {"net torque": Limit("eV", float64=1e-7, float32=1e-3)}


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield the length of the sum of r x F about the middle of `atoms`, with F of `subject`."""
    arms = atoms.positions - atoms.positions.mean(axis=0)
    torques = np.cross(arms, subject.forces(atoms))  # (n, 3)
    sizes = np.linalg.norm(torques, axis=1)
    largest = sizes.max()
    total = torques.sum(axis=0)
    net_torque = float(np.linalg.norm(total))
    note = f"largest of an atom {largest:.3g} eV"
    arm_lengths = np.linalg.norm(arms, axis=1)
    noise = subject.noise.forces * arm_lengths.sum()
    yield Measured("net torque", net_torque, note, noise=noise)


def forces_around_axis(atoms: Atoms) -> np.ndarray:
    """Forces (n, 3) along the velocities of a rotation of `atoms` about the z axis, 1 eV/A at 1 A.

    They exert a torque and are not the gradient of an energy.
    """
    arms = atoms.positions - atoms.positions.mean(axis=0)
    return np.cross([0, 0, 1], arms)


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with forces around an axis."""

    def wrong(atoms: Atoms) -> Properties:
        return altered(calculate(atoms), forces=0.01 * forces_around_axis(atoms))

    return wrong
