"""Repulsion: two atoms repel each other ever more strongly as they approach, down to 0.5 A.

What helps: a ZBL repulsion (`zbl = true` in the recipe) and training with atoms pressed together.

Where it fails, atoms may fuse in hot runs, under pressure, or from a bad start.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms

from ._check import Calculate, Properties
from ._results import Limit, Measured
from ._structures import at_distances
from ._subject import Subject, extreme

LEVEL = "quick"
STRUCTURES = "pair"
LIMITS = {
    "energy lost": Limit("eV", float64=1e-3, float32=1e-2),
    "attraction": Limit("eV/A", float64=1e-3, float32=1e-2),
}
START = 0.7  # of the sum of the covalent radii
NEAREST = 0.5  # A
SPACING = 0.02  # A


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield the sum of all falls of the energy, and the largest attraction, of two `atoms`.

    They approach from 0.7 of the sum of covalent radii to 0.5 A, and `subject` evaluates them.
    """
    bond = atoms.get_distance(0, 1)
    start = max(START * bond, NEAREST + 5 * SPACING)
    longer = np.arange(start, NEAREST, -SPACING)
    distances = np.append(longer, NEAREST)  # decreasing
    structures = at_distances(atoms, distances)
    with extreme("two atoms at 0.5 A and more"):
        energies, forces = subject.energies_and_forces(structures)
    # The second atom is on the z axis: a negative force on it attracts.
    radial_forces = np.array([pair[1, 2] for pair in forces])
    falls = np.maximum(-np.diff(energies), 0)
    note = f"force at {NEAREST:g} A: {radial_forces[-1]:.3g} eV/A"
    yield Measured("energy lost", falls.sum(), note)
    lowest = radial_forces.argmin()
    attraction = max(-radial_forces[lowest], 0.0)
    note = f"strongest at {distances[lowest]:.2f} A"
    yield Measured("attraction", attraction, note)


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with energy and forces of the opposite sign."""

    def wrong(atoms: Atoms) -> Properties:
        properties = calculate(atoms)
        return properties | {name: -properties[name] for name in ("energy", "forces")}

    return wrong
