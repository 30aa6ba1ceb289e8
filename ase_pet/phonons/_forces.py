"""Forces of many structures, in batches if the calculator supports them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from ase import Atoms

from ._numbers import require_finite
from ._protocols import AseCalculator, Displacement, SupportsBatches, SupportsDisplacedForces

CHUNK_ATOMS = 2048  # atoms passed to `evaluate` between two reports of progress
# Displacements passed to `displaced_forces`, which evaluates the undisplaced structure each time.
CHUNK_MOVES = 64

OnProgress = Callable[[int, int], object]
Item = TypeVar("Item")


def forces(
    calculator: AseCalculator,
    structures: Sequence[Atoms],
    moves: Sequence[Displacement] | None = None,
    on_progress: OnProgress | None = None,
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

    Raises
    ------
    ValueError
        A force is NaN or infinite.
    """
    if moves is not None and isinstance(calculator, SupportsDisplacedForces):
        return _in_chunks(
            lambda part: calculator.displaced_forces(structures[0], part),
            moves,
            CHUNK_MOVES,
            on_progress,
        )
    if isinstance(calculator, SupportsBatches):
        atoms = max(map(len, structures), default=1)
        return _in_chunks(
            lambda part: [row["forces"] for row in calculator.evaluate(part, ("forces",))],
            structures,
            max(1, CHUNK_ATOMS // atoms),
            on_progress,
        )
    # one structure at a time; a calculator may return the same array each time
    return _in_chunks(
        lambda part: [np.array(calculator.get_property("forces", atoms)) for atoms in part],
        structures,
        1,
        on_progress,
    )


def _in_chunks(
    compute: Callable[[Sequence[Item]], list[np.ndarray]],
    items: Sequence[Item],
    size: int,
    on_progress: OnProgress | None,
) -> list[np.ndarray]:
    """Results of `compute` for chunks of `size` items, in one list."""
    results: list[np.ndarray] = []
    while len(results) < len(items):
        start = len(results)
        # forces (n, 3) of each item
        results += compute(items[start : start + size])
        for index, values in enumerate(results[start:], start):
            require_finite("forces", values, f"of displaced structure {index}")
        if on_progress is not None:
            on_progress(len(results), len(items))
    return results
