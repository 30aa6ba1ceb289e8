"""Batches: structures evaluated together with `evaluate` give the same results as alone.

What helps: single calculations until the calculator is repaired; look for sums over the whole batch
and for padding that is not masked.

Where it fails, results depend on what else is computed along with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from ase import Atoms

from ._check import Calculate, Properties
from ._results import Limit, Measured, NotApplicable
from ._subject import Subject

LEVEL = "quick"
STRUCTURES = "any"
LIMITS = {
    "energy": Limit("meV/atom", float64=1e-6, float32=1e-2),
    "forces": Limit("eV/A", float64=1e-8, float32=1e-4),
}


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield the largest differences between `evaluate` of `subject` and single calculations.

    The batch holds structures of different sizes: `atoms`, the first half of them, and all of them
    displaced.
    """
    if subject.evaluate is None:
        raise NotApplicable("the calculator has no `evaluate(structures, properties)`")
    moved = atoms.copy()
    generator = subject.generator()
    noise = generator.normal(size=moved.positions.shape)
    moved.positions += 0.05 * noise
    n_half = max(1, len(atoms) // 2)
    structures = [atoms, atoms[:n_half], moved]
    rows = subject.evaluate(structures, ("energy", "forces"))

    energy_errors = []
    force_errors = []
    for structure, row in zip(structures, rows, strict=True):
        energy, forces = subject.energy_and_forces(structure)
        energy_difference = abs(row["energy"] - energy)
        force_differences = np.abs(row["forces"] - forces)
        energy_errors.append(1e3 * energy_difference / len(structure))  # meV/atom
        force_errors.append(force_differences.max())
    noise = subject.noise
    yield Measured("energy", max(energy_errors), noise=1e3 * noise.energy)
    yield Measured("forces", max(force_errors), noise=noise.forces)


class WrongBatch:
    """Function Atoms -> properties whose method `evaluate` adds an error that grows in the batch.

    Attributes
    ----------
    calculate:
        Function Atoms -> properties of one structure.
    """

    def __init__(self, calculate: Calculate) -> None:
        self.calculate = calculate

    def __call__(self, atoms: Atoms) -> Properties:
        return self.calculate(atoms)

    def evaluate(self, structures: Sequence[Atoms], properties: Sequence[str]) -> list[Properties]:
        """List of the named `properties` of `structures`, plus 0.01 times the index of each."""
        rows = [self.calculate(atoms) for atoms in structures]
        return [{name: row[name] + 0.01 * k for name in properties} for k, row in enumerate(rows)]


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with a method `evaluate` whose error grows along the batch."""
    return WrongBatch(calculate)
