"""Angular momentum: that of a free structure is conserved in velocity Verlet dynamics.

Velocity Verlet conserves it exactly where the forces exert no torque.

What helps: a plain PET: `--symmetrise ecse`; direct forces: a model whose forces are gradients.

Where it fails, molecules start to spin, or stop, without a cause.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms, units

from . import net_torque
from ._check import Calculate
from ._dynamics import run_verlet, thermalised, time_step
from ._results import Limit, Measured
from ._subject import Subject

LEVEL = "quick"
STRUCTURES = "free"
LIMITS = {"change": Limit("of sum m r v", float64=1e-10, float32=1e-4)}
STEPS = {False: 50, True: 1000}  # by subject.full


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield the largest change of the angular momentum in a run of `subject` that `atoms` start.

    max |L(t) - L(0)| / sum m |r| |v|, with L and r about the centre of mass, r and v at the start.
    """
    step = time_step(atoms)
    steps = STEPS[subject.full]
    start = thermalised(subject, atoms)
    centre = start.get_center_of_mass()
    arms = start.positions - centre
    arm_lengths = np.linalg.norm(arms, axis=1)
    momenta = np.linalg.norm(start.get_momenta(), axis=1)
    # Relative to a sum of moduli, since L itself may be zero.
    scale = np.sum(arm_lengths * momenta)
    angular_momenta = run_verlet(start, step, steps, Atoms.get_angular_momentum)
    differences = angular_momenta - angular_momenta[0]  # (steps + 1, 3)
    changes = np.linalg.norm(differences, axis=1)
    note = f"in {steps * step:.0f} fs"
    # of torques that scatter, all of one sign
    torque = subject.noise.forces * arm_lengths.sum()
    noise = torque * steps * step * units.fs / scale
    yield Measured("change", changes.max() / scale, note, noise=noise)


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with forces around an axis, which exert a torque."""
    return net_torque.broken(calculate)
