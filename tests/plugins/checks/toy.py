"""Size extensivity: distant copies of a molecule have the sum of their energies.

Where it fails, energies of formation and of adsorption depend on what else the cell contains.
"""

from __future__ import annotations

from collections.abc import Iterator

from ase import Atoms

from ._check import Calculate, Properties
from ._results import Limit, Measured
from ._subject import Subject

LEVEL = "quick"
STRUCTURES = "free"
LIMITS = {"energy difference": Limit("eV/atom", float64=1e-9, float32=1e-5)}
DISTANCE = 100.0  # A, beyond the range of the potential


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield the difference between two copies of `atoms` and twice one, of `subject`."""
    copy = atoms.copy()
    copy.translate([DISTANCE, 0, 0])
    one, _ = subject.energy_and_forces(atoms)
    two, _ = subject.energy_and_forces(atoms + copy)
    yield Measured("energy difference", abs(two - 2 * one) / len(atoms))


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with an energy that grows with the square of the number of atoms."""

    def wrong(atoms: Atoms) -> Properties:
        results = calculate(atoms)
        return results | {"energy": results["energy"] + 1e-3 * len(atoms) ** 2}

    return wrong
