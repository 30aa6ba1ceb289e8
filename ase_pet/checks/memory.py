"""Memory: that of the process does not grow with the number of evaluations.

Where it fails, long runs end when the memory is full.
"""

import os

import numpy as np

from ._results import Limit, Measured, NotApplicable

LEVEL, STRUCTURES = "full", "any"
LIMITS = {"growth": Limit("kB/evaluation", float64=2.0, float32=2.0)}
STATM = "/proc/self/statm"  # Linux
WARM, BLOCKS, EVALUATIONS = 200, 4, 200


def measure(subject, atoms):
    """Slope of the resident memory over evaluations of moving atoms, after some to fill caches."""
    if not os.path.exists(STATM):
        raise NotApplicable(f"the system has no {STATM}")
    generator = subject.generator()
    sizes = []
    for evaluations in (WARM, *BLOCKS * [EVALUATIONS]):
        for _ in range(evaluations):
            moved = atoms.copy()
            moved.positions += 0.05 * generator.normal(size=moved.positions.shape)
            subject.energy_forces(moved)
        sizes.append(_resident())
    growth = np.polyfit(EVALUATIONS * np.arange(len(sizes)), sizes, 1)[0]
    yield Measured("growth", max(growth, 0.0), f"{BLOCKS * EVALUATIONS} evaluations, {sizes[-1] / 1024:.0f} MB in the end")


def _resident():
    """kB."""
    with open(STATM, encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


def broken(calculate):
    """Keeps 100 kB of each call."""
    kept = []

    def wrong(atoms):
        kept.append(np.ones(12800))
        return calculate(atoms)
    return wrong
