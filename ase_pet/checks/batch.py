"""Batches: many structures at once give what each gives alone; for calculators with `evaluate`.

Where it fails, results depend on what else is computed along with them.
"""

import numpy as np

from ._results import Limit, Measured, NotApplicable

LEVEL, STRUCTURES = "quick", "any"
LIMITS = {
    "energy": Limit("meV/atom", float64=1e-6, float32=1e-2),
    "forces": Limit("eV/A", float64=1e-8, float32=1e-4),
}


def measure(subject, atoms):
    """Largest difference between `evaluate` of several structures, of different sizes.

    And single calculations.
    """
    if subject.batched is None:
        raise NotApplicable("the calculator has no `evaluate(structures, properties)`")
    moved = atoms.copy()
    moved.positions += 0.05 * subject.generator().normal(size=moved.positions.shape)
    structures = [atoms, atoms[: max(1, len(atoms) // 2)], moved]
    rows = subject.batched(structures, ("energy", "forces"))
    single = [subject.energy_forces(structure) for structure in structures]
    pairs = list(zip(rows, single, structures, strict=True))
    yield Measured(
        "energy",
        max(1e3 * abs(row["energy"] - energy) / len(one) for row, (energy, _), one in pairs),
    )
    yield Measured(
        "forces", max(np.abs(row["forces"] - forces).max() for row, (_, forces), _ in pairs)
    )


def broken(calculate):
    """Results that get worse along the batch."""

    def wrong(atoms):
        return calculate(atoms)

    def evaluate(structures, properties):
        rows = [calculate(atoms) for atoms in structures]
        return [{name: row[name] + 0.01 * k for name in properties} for k, row in enumerate(rows)]

    wrong.evaluate = evaluate
    return wrong
