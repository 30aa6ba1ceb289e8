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
from numpy.lib.stride_tricks import sliding_window_view

from ._check import Calculate, Properties
from ._jumps import INTEGRAL
from ._results import NOISE_FACTOR, Limit, Measured, worst_index
from ._structures import at_distances
from ._subject import Subject, extreme

LEVEL = "quick"
STRUCTURES = "pair"
LIMITS = {"work": Limit("of the work", float64=1e-5, float32=1e-2)}
NEAREST = 0.5  # A
END = 2.0  # of the sum of covalent radii
POINTS = {"float64": 361, "float32": 121}  # in even steps of the logarithm of the distance
FINER = 4  # times as many points where the first are not enough
LENGTH = 12  # intervals over which the work is summed, as rounding falls with the length
SMALLEST_FORCE = {"float64": 1e-2, "float32": 1.0}  # eV/A, of which errors are a fraction


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield the largest difference of energy change and work of two `atoms`, over the work.

    `subject` evaluates them. The integral of F r d(ln r) over an interval is that of the polynomial
    through six points.
    """
    bond = atoms.get_distance(0, 1)
    limit = LIMITS["work"].high(subject.dtype) or 0.0
    points = POINTS[subject.precision]
    # A steep tail needs more points; a wrong force is wrong with any number.
    for number in (points, FINER * points):
        distances = np.geomspace(NEAREST, END * bond, number)
        measured = _work(subject, atoms, distances)
        if measured.value <= limit:
            break
    yield measured


def _work(subject: Subject, atoms: Atoms, distances: np.ndarray) -> Measured:
    """The largest difference of energy change and work over stretches of the distances (m,) in A.

    The distances are in even steps of their logarithm.
    """
    structures = at_distances(atoms, distances)
    with extreme("two atoms at 0.5 A and more"):
        energies, forces = subject.energies_and_forces(structures)
    # The second atom is on the z axis.
    radial_forces = np.array([pair[1, 2] for pair in forces])
    step = np.log(distances[1] / distances[0])
    products = sliding_window_view(radial_forces * distances, 6)
    work = products @ INTEGRAL * step  # (m - 5,) eV, of the inner intervals
    changes = np.diff(energies)[2:-2]
    widths = np.diff(distances)[2:-2]

    errors = np.abs(_sums(changes + work))
    sizes = _sums(np.abs(work))
    lengths = _sums(widths)
    least = SMALLEST_FORCE[subject.precision] * lengths
    scales = np.maximum(sizes, least)
    relative = errors / scales
    # of the energies at both ends, and of the forces along the stretch
    noise = subject.noise
    noises = (2 * noise.energy + noise.forces * lengths) / scales
    worst = worst_index(relative - NOISE_FACTOR * noises)
    note = f"at {distances[worst + 2]:.2f} A"
    return Measured("work", relative[worst], note, noise=noises[worst])


def _sums(values: np.ndarray) -> np.ndarray:
    """Sums of values (k,) over stretches of 12 intervals, in which rounding is small."""
    sums: np.ndarray = sliding_window_view(values, LENGTH).sum(axis=1)
    return sums


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with forces that are 3 % too small."""

    def wrong(atoms: Atoms) -> Properties:
        properties = calculate(atoms)
        return properties | {"forces": 0.97 * properties["forces"]}

    return wrong
