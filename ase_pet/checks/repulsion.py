"""Repulsion: two atoms repel each other ever more as they approach, down to 0.5 A; no atoms fuse.

Where it fails, atoms may fuse in hot runs, under pressure, or from a bad start.
"""

import numpy as np

from ._results import Limit, Measured

LEVEL, STRUCTURES = "quick", "pair"
LIMITS = {
    "energy lost": Limit("eV", float64=1e-3, float32=1e-2),
    "attraction": Limit("eV/A", float64=1e-3, float32=1e-2),
}
START, NEAREST, SPACING = 0.7, 0.5, 0.02  # of the sum of the covalent radii, A, A


def measure(subject, atoms):
    """Sum of all falls of the energy, and the largest attractive force.

    On the way from 0.7 covalent bonds to 0.5 A.
    """
    start = max(START * atoms.get_distance(0, 1), NEAREST + 5 * SPACING)
    structures = []
    distances = np.append(np.arange(start, NEAREST, -SPACING), NEAREST)
    for distance in distances:
        structures.append(atoms.copy())
        structures[-1].positions[1] = [0, 0, distance]
    energies, forces = subject.many(structures)
    radial = np.array([pair[1, 2] for pair in forces])
    note = f"force at {NEAREST:g} A: {radial[-1]:.3g} eV/A"
    yield Measured("energy lost", np.maximum(-np.diff(energies), 0).sum(), note)
    yield Measured(
        "attraction", max(-radial.min(), 0.0), f"strongest at {distances[radial.argmin()]:.2f} A"
    )


def broken(calculate):
    """A wall with the wrong sign."""

    def wrong(atoms):
        results = calculate(atoms)
        return results | {name: -results[name] for name in ("energy", "forces")}

    return wrong
