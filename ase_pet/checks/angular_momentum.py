"""Angular momentum: that of a free structure is conserved; velocity Verlet does so exactly where no
torque acts.

Where it fails, molecules start to spin, or stop, without a cause.
"""

import numpy as np

from . import net_torque
from ._dynamics import thermal, time_step, verlet
from ._results import Limit, Measured

LEVEL, STRUCTURES = "quick", "free"
LIMITS = {"change": Limit("of sum m r v", float64=1e-10, float32=1e-4)}
STEPS = {False: 50, True: 1000}


def measure(subject, atoms):
    """Largest |L(t) - L(0)| about the centre of mass.

    Divided by the sum of m |r| |v| at the start.
    """
    step, steps = time_step(atoms), STEPS[subject.full]
    start = thermal(subject, atoms)
    arms = start.positions - start.get_center_of_mass()
    scale = np.sum(np.linalg.norm(arms, axis=1) * np.linalg.norm(start.get_momenta(), axis=1))
    found = verlet(start, step, steps, lambda moving: moving.get_angular_momentum())
    yield Measured(
        "change",
        np.linalg.norm(found - found[0], axis=1).max() / scale,
        f"in {steps * step:.0f} fs",
    )


def broken(calculate):
    """Forces around an axis."""
    return net_torque.broken(calculate)
