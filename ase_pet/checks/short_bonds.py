"""Short bonds: the work of the forces on two atoms is the change of their energy, down to 0.5 A.

For each pair of elements, from 0.5 A to beyond their bond.

What helps: forces by automatic differentiation of the energy, with repulsion at short distances in
both.

Where it fails, each collision of two atoms heats or cools a run.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms

from ._check import Calculate, Properties
from ._jumps import INTEGRAL
from ._results import Limit, Measured
from ._structures import at_distances
from ._subject import Subject, extreme

LEVEL = "quick"
STRUCTURES = "pair"
LIMITS = {"work": Limit("of the work", float64=1e-5, float32=1e-2)}
NEAREST = 0.5  # A
END = 2.0  # of the sum of covalent radii
POINTS = {"float64": 361, "float32": 121}  # in even steps of the logarithm of the distance
LENGTH = 12  # intervals over which the work is summed, as rounding falls with the length
SMALLEST_FORCE = {"float64": 1e-2, "float32": 1.0}  # eV/A, of which errors are a fraction


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield the largest difference of energy change and work of two `atoms`, over the work.

    The integral of F r d(ln r) over an interval is that of the polynomial through six points.
    """
    bond = atoms.get_distance(0, 1)
    logarithms = np.linspace(np.log(NEAREST), np.log(END * bond), POINTS[subject.precision])
    distances = np.exp(logarithms)
    with extreme("two atoms at 0.5 A and more"):
        energies, forces = subject.energies_and_forces(at_distances(atoms, distances))
    # The second atom is on the z axis.
    radial_forces = np.array([pair[1, 2] for pair in forces])
    step = logarithms[1] - logarithms[0]
    windows = np.lib.stride_tricks.sliding_window_view
    work = windows(radial_forces * distances, 6) @ INTEGRAL * step  # (m - 5,)
    changes = np.diff(energies)[2:-2]

    # of stretches of 12 intervals
    errors = np.abs(windows(changes + work, LENGTH).sum(axis=1))
    lengths = windows(np.diff(distances)[2:-2], LENGTH).sum(axis=1)
    sizes = windows(np.abs(work), LENGTH).sum(axis=1)
    scales = np.maximum(sizes, SMALLEST_FORCE[subject.precision] * lengths)
    relative = errors / scales
    noises = 2 * subject.noise.energy / scales
    worst = int(np.argmax(np.nan_to_num(relative - 10 * noises, nan=np.inf)))
    note = f"at {distances[worst + 2]:.2f} A"
    yield Measured("work", relative[worst], note, noise=noises[worst])


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with forces that are 3 % too small."""

    def wrong(atoms: Atoms) -> Properties:
        properties = calculate(atoms)
        return properties | {"forces": 0.97 * properties["forces"]}

    return wrong
