"""Memory: the process does not grow with the number of evaluations.

What helps: end and restart long runs; look for lists of earlier structures, graphs of torch that
are kept (`detach`), and caches without a limit.

Where it fails, long runs end when the memory is full.
"""

from __future__ import annotations

import gc
import os
import time
import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np
from ase import Atoms

from ._check import Calculate, Properties
from ._results import Limit, Measured, NotApplicable
from ._subject import Subject

LEVEL = "full"
STRUCTURES = "any"
LIMITS = {
    "objects": Limit("kB/evaluation", float64=0.2, float32=0.2),
    "growth": Limit("kB/evaluation", float64=0.5, float32=0.5),
}
STATM = "/proc/self/statm"  # Linux: sizes of the process in pages, the second is in memory
WARM = 200  # evaluations before the first block
BLOCKS = 5
LEAST = 200  # evaluations of a block
MOST = 2000  # evaluations of a block
SECONDS = 300.0  # of all blocks, which sets the evaluations of a block within these bounds
TRACED = 60  # evaluations of a block in which Python's objects are counted
BROKEN_SIZE = 1536  # bytes that the broken calculator keeps of each call


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield the growth per evaluation of moving `atoms` by `subject`, in kB: of objects, of all.

    It is the smallest one of several blocks of evaluations: a leak is in every block, the growth of
    caches and of the allocator is not. Objects are those of Python and numpy, which are counted to
    the byte; the rest of the process (C, torch) is seen in its size only.
    """
    generator = subject.generator()

    def evaluate(evaluations: int) -> None:
        for _ in range(evaluations):
            moved = atoms.copy()
            noise = generator.normal(size=moved.positions.shape)
            moved.positions += 0.05 * noise
            subject.energy_and_forces(moved)

    start = time.perf_counter()
    evaluate(WARM)
    elapsed = time.perf_counter() - start
    objects = _growth_of_objects(evaluate)
    yield Measured("objects", objects, f"{BLOCKS * TRACED} evaluations")

    if not os.path.exists(STATM):
        raise NotApplicable(f"the system has no {STATM}")
    rate = WARM / elapsed  # evaluations per second
    in_time = SECONDS / BLOCKS * rate  # evaluations of a block
    count = int(np.clip(in_time, LEAST, MOST))
    sizes = [_resident_memory()]
    for _ in range(BLOCKS):
        evaluate(count)
        sizes.append(_resident_memory())
    growth = np.diff(sizes).min() / count  # kB of an evaluation
    megabytes = sizes[-1] / 1024
    note = f"{BLOCKS * count} evaluations, {megabytes:.0f} MB in the end"
    yield Measured("growth", max(growth, 0.0), note)


def _growth_of_objects(evaluate: Callable[[int], None]) -> float:
    """Smallest growth in kB per evaluation of the memory that Python allocates."""
    was_tracing = tracemalloc.is_tracing()
    if not was_tracing:
        tracemalloc.start()
    sizes = []
    for _ in range(BLOCKS + 1):
        evaluate(TRACED)
        # Objects that refer to each other are freed later, by the collector.
        gc.collect()
        sizes.append(tracemalloc.get_traced_memory()[0])
    if not was_tracing:
        tracemalloc.stop()
    return max(float(np.diff(sizes).min()), 0.0) / 1024 / TRACED


def _resident_memory() -> float:
    """Memory of this process in kB."""
    gc.collect()
    with open(STATM, encoding="ascii") as file:
        pages = int(file.read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


def broken(calculate: Calculate) -> Calculate:
    """`calculate` that keeps 1.5 kB of each call."""
    kept: list[bytes] = []

    def wrong(atoms: Atoms) -> Properties:
        kept.append(os.urandom(BROKEN_SIZE))
        return calculate(atoms)

    return wrong
