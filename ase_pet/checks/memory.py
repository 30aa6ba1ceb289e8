"""Memory: that of the process does not grow with the number of evaluations.

Where it fails, long runs end when the memory is full.
"""

import os
import time

import numpy as np

from ._results import Limit, Measured, NotApplicable

LEVEL, STRUCTURES = "full", "any"
LIMITS = {"growth": Limit("kB/evaluation", float64=2.0, float32=2.0)}
STATM = "/proc/self/statm"  # Linux
WARM, BLOCKS = 200, 4
LEAST, MOST, SECONDS = 200, 2500, 300.0  # evaluations of a block, as many as take this time in all


def measure(subject, atoms):
    """Growth of the resident memory: median of four blocks of 2500 evaluations of moving atoms,
    fewer of slow ones.

    A leak is in every block; an allocator comes to rest in the first, as caches fill.
    """
    if not os.path.exists(STATM):
        raise NotApplicable(f"the system has no {STATM}")
    generator = subject.generator()

    def evaluate(count):
        for _ in range(count):
            moved = atoms.copy()
            moved.positions += 0.05 * generator.normal(size=moved.positions.shape)
            subject.energy_forces(moved)
        return _resident()

    start = time.perf_counter()
    sizes = [evaluate(WARM)]
    count = int(np.clip(SECONDS / BLOCKS * WARM / (time.perf_counter() - start), LEAST, MOST))
    sizes += [evaluate(count) for _ in range(BLOCKS)]
    growth = np.median(np.diff(sizes)) / count
    yield Measured(
        "growth",
        max(growth, 0.0),
        f"{BLOCKS * count} evaluations, {sizes[-1] / 1024:.0f} MB in the end",
    )


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
