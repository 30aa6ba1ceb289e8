"""Noise: results are a smooth function of the positions, down to displacements of 5e-5 A.

Rounding scatters the results of analytic potentials. Self-consistent calculators also scatter by
the tolerance at which they stop. The limits of other checks rise with this scatter.

What helps: a tighter convergence of a self-consistent calculator (in tblite `accuracy=0.01`),
float64, sums in float64.

Where it fails, minimisations stop early, finite differences such as phonons are noise, and runs
heat.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms

from ._check import Calculate, Properties
from ._equivariance import altered
from ._results import Limit, Measured
from ._subject import Subject

LEVEL = "quick"
STRUCTURES = "any"
LIMITS = {
    "energy": Limit("meV/atom", float64=1e-2, float32=1e-2),
    "forces": Limit("eV/A", float64=5e-4, float32=1e-3),
}


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield the scatter of energy and forces of `subject` about a smooth curve near `atoms`.

    It is the standard deviation from a polynomial of fifth degree through 11 points on a line
    of 0.5 mA.
    """
    noise = subject.measure_noise(atoms)
    yield Measured("energy", 1e3 * noise.energy)
    yield Measured("forces", noise.forces)


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with random numbers added."""
    generator = np.random.default_rng(0)

    def wrong(atoms: Atoms) -> Properties:
        number = generator.normal()
        return altered(calculate(atoms), energy=0.01 * number, forces=0.01 * number)

    return wrong
