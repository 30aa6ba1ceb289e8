"""Free energy: ASE's `free_energy`, of which forces are the derivatives, is the energy.

They differ in electronic structure with smeared occupations only, by the entropy of the electrons.

What helps: return the same number for both; for smeared electrons a smaller smearing, and
conservation of energy judged by `force_consistent=True`.

Where it fails, minimisers that ask for the free energy and runs that report the energy see two
different surfaces.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms

from ._check import Calculate
from ._results import Limit, Measured
from ._subject import Subject

LEVEL = "quick"
STRUCTURES = "any"
LIMITS = {
    "difference": Limit("meV/atom", float64=1e-6, float32=1e-2),
    "change of the difference": Limit("meV/A", float64=1e-3, float32=1.0),
}
STEPS = 3  # displaced structures
DISPLACEMENT = 0.05  # A rms


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield the difference of free energy and energy of `atoms`, and its change.

    The change with a displacement is divided by the length of the displacement: it is an error of
    forces that are the derivatives of one of the two. `subject` evaluates the atoms.
    """
    generator = subject.generator()
    first = _difference(subject, atoms)
    slopes = []
    for _ in range(STEPS):
        displacement = DISPLACEMENT * generator.normal(size=atoms.positions.shape)
        moved = atoms.copy()
        moved.positions += displacement
        change = abs(_difference(subject, moved) - first)
        length = float(np.linalg.norm(displacement))
        slopes.append(1e3 * change / length)
    noise = 1e3 * subject.noise.energy  # meV/atom
    yield Measured("difference", 1e3 * abs(first) / len(atoms), noise=noise)
    yield Measured("change of the difference", max(slopes), noise=noise * len(atoms))


def _difference(subject: Subject, atoms: Atoms) -> float:
    """Free energy minus energy in eV."""
    atoms = subject.with_calculator(atoms)
    free_energy = atoms.get_potential_energy(force_consistent=True)
    return float(free_energy) - float(atoms.get_potential_energy())


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with a free energy that is not its energy."""

    def wrong(atoms: Atoms) -> dict[str, object]:
        properties = calculate(atoms)
        return properties | {"free_energy": 3.0 * properties["energy"] + 1.0}

    return wrong
