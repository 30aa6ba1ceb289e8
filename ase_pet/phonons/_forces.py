"""Forces of many structures, in batches if the calculator supports them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ase import Atoms

from .. import executors
from ._numbers import require_finite
from ._protocols import AseCalculator, Displacement, SupportsBatches, SupportsDisplacedForces

CHUNK_ATOMS = 2048  # atoms passed to `evaluate` between two reports of progress
# Displacements passed to `displaced_forces`, which evaluates the undisplaced structure each time.
CHUNK_MOVES = 64
# The same for one job of a worker: more jobs than workers, and still more than one structure each.
JOB_ATOMS = 256
JOB_MOVES = 8

OnProgress = Callable[[int, int], object]


def forces(
    calculator: AseCalculator,
    structures: Sequence[Atoms],
    moves: Sequence[Displacement] | None = None,
    on_progress: OnProgress | None = None,
    executor: Any = None,
) -> list[np.ndarray]:
    """Forces (n, 3) in eV/A of each structure, in batches if the calculator supports them.

    Parameters
    ----------
    calculator:
        Any ASE calculator.
    structures:
        Structures to evaluate.
    moves:
        `Crystal.moves`, if each structure differs from the first in one atom: calculators with
        `displaced_forces` use it.
    on_progress:
        Function called as on_progress(structures done, number of structures).
    executor:
        Processes that share the work, see `ase_pet.executors`; None for this one.

    Raises
    ------
    ValueError
        A force is NaN or infinite.
    """
    alone = executor is None
    items: Sequence[Any] = structures
    compute: Callable[[Any, Any], list[np.ndarray]] = _one_by_one
    size = 1
    if moves is not None and isinstance(calculator, SupportsDisplacedForces):
        items = moves
        compute = functools.partial(_displaced, structures[0].copy())
        size = CHUNK_MOVES if alone else JOB_MOVES
    elif isinstance(calculator, SupportsBatches):
        compute = _in_batches
        atoms = max(map(len, structures), default=1)
        size = max(1, (CHUNK_ATOMS if alone else JOB_ATOMS) // atoms)
    chunks = [items[start : start + size] for start in range(0, len(items), size)]
    results: list[np.ndarray] = []
    for values in executors.stream(executor, calculator, compute, chunks):
        for index, of_structure in enumerate(values, len(results)):
            require_finite("forces", of_structure, f"of displaced structure {index}")
        results += values
        if on_progress is not None:
            on_progress(len(results), len(items))
    return results


def _displaced(
    atoms: Atoms, calculator: SupportsDisplacedForces, moves: Sequence[Displacement]
) -> list[np.ndarray]:
    """Forces of copies of a structure, each with one displaced atom."""
    return calculator.displaced_forces(atoms, moves)


def _in_batches(calculator: SupportsBatches, structures: Sequence[Atoms]) -> list[np.ndarray]:
    """Forces of structures that are evaluated together."""
    return [row["forces"] for row in calculator.evaluate(structures, ("forces",))]


def _one_by_one(calculator: AseCalculator, structures: Sequence[Atoms]) -> list[np.ndarray]:
    """Forces of structures; a calculator may return the same array each time."""
    return [np.array(calculator.get_property("forces", atoms)) for atoms in structures]
