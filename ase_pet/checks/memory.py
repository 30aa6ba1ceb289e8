"""Memory: the process does not grow with the number of evaluations.

Where it fails, long runs end when the memory is full.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import numpy as np
from ase import Atoms

from ._check import Calculate, Properties
from ._results import Limit, Measured, NotApplicable
from ._subject import Subject

LEVEL = "full"
STRUCTURES = "any"
LIMITS = {"growth": Limit("kB/evaluation", float64=2.0, float32=2.0)}
STATM = "/proc/self/statm"  # Linux: sizes of the process in pages, the second is in memory
WARM = 200  # evaluations before the first block
BLOCKS = 4
LEAST = 200  # evaluations of a block
MOST = 2500  # evaluations of a block
SECONDS = 300.0  # of all blocks, which sets the evaluations of a block within these bounds


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield the growth of the process per evaluation of moving `atoms` by `subject`, in kB.

    It is the median of four blocks of evaluations: a leak is in every block, and the growth of
    caches and of the allocator is in the first only.
    """
    if not os.path.exists(STATM):
        raise NotApplicable(f"the system has no {STATM}")
    generator = subject.generator()

    def size_after(evaluations: int) -> float:
        for _ in range(evaluations):
            moved = atoms.copy()
            noise = generator.normal(size=moved.positions.shape)
            moved.positions += 0.05 * noise
            subject.energy_and_forces(moved)
        return _resident_memory()

    start = time.perf_counter()
    sizes = [size_after(WARM)]
    elapsed = time.perf_counter() - start
    rate = WARM / elapsed  # evaluations per second
    in_time = SECONDS / BLOCKS * rate  # evaluations of a block
    count = int(np.clip(in_time, LEAST, MOST))
    sizes += [size_after(count) for _ in range(BLOCKS)]
    growth_of_blocks = np.diff(sizes)  # kB
    growth = np.median(growth_of_blocks) / count  # of an evaluation
    megabytes = sizes[-1] / 1024
    note = f"{BLOCKS * count} evaluations, {megabytes:.0f} MB in the end"
    yield Measured("growth", max(growth, 0.0), note)


def _resident_memory() -> float:
    """Memory of this process in kB."""
    with open(STATM, encoding="ascii") as file:
        pages = int(file.read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


def broken(calculate: Calculate) -> Calculate:
    """`calculate` that keeps 100 kB of each call."""
    kept = []

    def wrong(atoms: Atoms) -> Properties:
        kept.append(np.ones(12800))
        return calculate(atoms)

    return wrong
