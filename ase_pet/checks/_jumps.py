"""Search for jumps of energy, force and curvature along a path.

The places of jumps need not be known. Energies and forces are evaluated on a grid; the intervals in
which they change more than in the intervals around are bisected, each time keeping the half with
the larger change, until they are so short that a smooth function cannot change within. A change
that remains is a jump.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms

from ._results import Limit, Measured, Plot
from ._subject import Subject

JUMP_LIMITS = {
    # float32: sums over atoms of energies of a few eV, each rounded to some 1e-7 of itself
    "energy jump": Limit("eV", float64=1e-9, float32=1e-4),
    "force jump": Limit("eV/A", float64=1e-6, float32=1e-3),
    "curvature jump": Limit("eV/A^2"),
    "stiffness": Limit("eV/A^2"),
}
SPACING = 0.05  # A, of the grid
BISECTIONS = {"float64": 26, "float32": 13}  # to intervals of 7e-10 and 6e-6 A
SIDE = {"float64": 1e-4, "float32": 1e-3}  # A, step of one-sided differences of forces
WIDTHS = 16  # step, in widths of the last interval, that measures the slope of a smooth force in it
ROUNDING = {"float64": 1e-12, "float32": 1e-6}  # eV or eV/A: changes that rounding causes
NEIGHBOURS = 5  # intervals on each side with which one is compared
CANDIDATES = 3  # intervals to bisect for their change of energy, and as many for that of force


class Points(NamedTuple):
    """Energies and forces at m points of a path."""

    energies: np.ndarray  # (m,) eV
    forces: np.ndarray  # (m, n, 3) eV/A
    along: np.ndarray  # (m,) eV/A, force on the moved atom along the path

    def at(self, index: slice) -> Points:
        """The points of a slice `index`."""
        return Points(self.energies[index], self.forces[index], self.along[index])


class AtomPath:
    """Straight path of one atom of a structure, in batches where the calculator supports them.

    Attributes
    ----------
    subject:
        Calculator.
    atoms:
        Structure at the start of the path.
    index:
        Index of the atom that moves.
    direction:
        Direction (3,) in which it moves, of any length.
    """

    def __init__(self, subject: Subject, atoms: Atoms, index: int, direction: np.ndarray) -> None:
        self.subject = subject
        self.atoms = atoms
        self.index = index
        self.direction = direction / np.linalg.norm(direction)

    def evaluate(self, displacements: np.ndarray) -> Points:
        """Points at `displacements` (m,) in A of the moved atom."""
        structures = []
        for displacement in displacements:
            moved = self.atoms.copy()
            moved.positions[self.index] += displacement * self.direction
            structures.append(moved)
        energies, force_list = self.subject.energies_and_forces(structures)
        forces = np.array(force_list)
        return Points(energies, forces, forces[:, self.index] @ self.direction)


def largest_jumps(
    path: AtomPath, grid: np.ndarray, known: Sequence[float] = ()
) -> Iterator[Measured]:
    """Yield the largest jumps of energy, force and curvature along a path, and its stiffness.

    Parameters
    ----------
    path:
        Path of an atom.
    grid:
        Increasing displacements (m,) in A at which jumps are looked for first.
    known:
        Displacements in A where a jump is likely, such as the cutoff.
    """
    dtype = path.subject.dtype
    points = path.evaluate(grid)
    # Known places are off the middle, so that no bisection evaluates exactly on a jump.
    before = 0.4 * SPACING
    after = 0.6 * SPACING
    around_known = [(x - before, x + after) for x in known]
    suspicious = _suspicious_intervals(grid, points, ROUNDING[dtype])
    intervals = np.array([*around_known, *suspicious])  # (k, 2)
    left, right = _bisected(path, intervals, BISECTIONS[dtype])
    plot = _plot(grid, points)
    yield from _jumps_between(path, left, right, plot)
    yield _curvature_jump(path, left, right, SIDE[dtype])
    yield _stiffness(grid, points.along)


def _plot(grid: np.ndarray, points: Points) -> Plot:
    curves = {
        "energy": (grid, points.energies - points.energies[-1]),
        "force along the path": (grid, points.along),
    }
    return Plot("displacement (A)", "energy (eV), force (eV/A)", curves)


def _jumps_between(
    path: AtomPath, left: np.ndarray, right: np.ndarray, plot: Plot
) -> Iterator[Measured]:
    """Yield the largest jumps of energy and force from left (k,) to right (k,) in A."""
    width = right - left
    first = path.evaluate(left)
    second = path.evaluate(right)
    energy_jumps = _unexplained_energy(first, second, width)

    # A smooth force also changes between the ends, by its slope times the width. The slope is
    # that outside of the interval, as a jump inside would falsify it.
    step = WIDTHS * width.max()
    slope_below = _slopes(path, left, -step)
    slope_above = _slopes(path, right, step)
    smooth = 0.5 * (slope_below + slope_above) * width[:, None, None]  # (k, n, 3)
    force_jumps = np.abs(second.forces - first.forces - smooth).max(axis=(1, 2))

    worst = energy_jumps.argmax()
    yield Measured("energy jump", energy_jumps[worst], _place(left[worst]), plot)
    worst = force_jumps.argmax()
    yield Measured("force jump", force_jumps[worst], _place(left[worst]))


def _curvature_jump(path: AtomPath, left: np.ndarray, right: np.ndarray, step: float) -> Measured:
    """Largest difference between the slopes of the forces left and right of intervals (k,)."""
    below = _slopes(path, left, -step)
    above = _slopes(path, right, step)
    jumps = np.abs(above - below).max(axis=(1, 2))
    return Measured("curvature jump", jumps.max(), _place(left[jumps.argmax()]))


def _stiffness(grid: np.ndarray, along: np.ndarray) -> Measured:
    """Largest slope of the force along the path."""
    slopes = np.abs(np.diff(along) / np.diff(grid))
    # Without the repulsive wall at x < 0, which is stiff in any potential.
    slopes = slopes * (grid[1:] > 0)
    worst = slopes.argmax()
    return Measured("stiffness", slopes.max(), f"at {grid[worst]:.2f} A of the path")


def _place(displacement: float) -> str:
    return f"at {displacement:.4f} A of the path"


def _unexplained_energy(first: Points, second: Points, width: np.ndarray) -> np.ndarray:
    """Changes (m,) of the energy in eV that the work of the forces does not explain.

    |E2 - E1 + (F1 + F2) / 2 * width|, by the trapezoidal rule.
    """
    change = second.energies - first.energies
    minus_work = 0.5 * (first.along + second.along) * width
    unexplained: np.ndarray = np.abs(change + minus_work)
    return unexplained


def _suspicious_intervals(
    grid: np.ndarray, points: Points, rounding: float
) -> list[tuple[float, float]]:
    """Ends in A of the intervals of the grid in which energy or force change unusually."""
    starts = points.at(slice(None, -1))
    ends = points.at(slice(1, None))
    widths = np.diff(grid)
    energy_changes = _unexplained_energy(starts, ends, widths)
    force_changes = _unexpected_force_changes(points.forces)
    # An interval may be chosen for both its changes; it is then bisected twice.
    chosen = [
        *_outliers(energy_changes, rounding),
        *_outliers(force_changes, rounding),
    ]
    return [(grid[k], grid[k + 1]) for k in chosen]


def _unexpected_force_changes(forces: np.ndarray) -> np.ndarray:
    """Differences (m - 1,) in eV/A of changes of forces (m, n, 3) to the mean of their neighbours.

    The largest of the 3n coordinates.
    """
    changes = np.diff(forces.reshape(len(forces), -1), axis=0)  # (m - 1, 3n)
    padded = np.concatenate([changes[:1], changes, changes[-1:]])
    expected = 0.5 * (padded[:-2] + padded[2:])
    largest: np.ndarray = np.abs(changes - expected).max(axis=1)
    return largest


def _outliers(changes: np.ndarray, rounding: float) -> np.ndarray:
    """Indices of the largest changes (m,) in units of the median of those around each."""
    medians = [
        np.median(changes[max(0, k - NEIGHBOURS) : k + NEIGHBOURS + 1]) for k in range(len(changes))
    ]
    return np.argsort(changes / (np.array(medians) + rounding))[-CANDIDATES:]


def _bisected(path: AtomPath, intervals: np.ndarray, times: int) -> tuple[np.ndarray, np.ndarray]:
    """Left and right ends (k,) in A of intervals (k, 2) after bisecting them so many times."""
    left, right = intervals.T.copy()
    at_left = path.evaluate(left)
    at_right = path.evaluate(right)
    for _ in range(times):
        # Keep the half that changes more.
        middle = 0.5 * (left + right)
        at_middle = path.evaluate(middle)
        lower_width = middle - left
        upper_width = right - middle
        lower_change = _total_change(at_left, at_middle, lower_width)
        upper_change = _total_change(at_middle, at_right, upper_width)
        upper = upper_change > lower_change  # (k,)
        left = np.where(upper, middle, left)
        right = np.where(upper, right, middle)
        at_left = _select(upper, at_middle, at_left)
        at_right = _select(upper, at_right, at_middle)
    return left, right


def _total_change(first: Points, second: Points, width: np.ndarray) -> np.ndarray:
    """Sum (k,) of the changes of energy and force, in which 1 eV/A counts as much as 1 eV."""
    force_change = np.abs(second.forces - first.forces).max(axis=(1, 2))
    energy_change = _unexplained_energy(first, second, width)
    total: np.ndarray = energy_change + force_change
    return total


def _select(condition: np.ndarray, yes: Points, no: Points) -> Points:
    """Points of `yes` where the condition (k,) holds, else those of `no`."""
    return Points(
        energies=np.where(condition, yes.energies, no.energies),
        forces=np.where(condition[:, None, None], yes.forces, no.forces),
        along=np.where(condition, yes.along, no.along),
    )


def _slopes(path: AtomPath, start: np.ndarray, step: float) -> np.ndarray:
    """Slopes (k, n, 3) of the forces in eV/A^2 on one side of k displacements in A.

    dF/dx = (-3 F(x) + 4 F(x + h) - F(x + 2h)) / 2h, with an error of the order of h^2; a negative
    step h takes the points below.
    """
    forces_0 = path.evaluate(start).forces
    forces_1 = path.evaluate(start + step).forces
    forces_2 = path.evaluate(start + 2 * step).forces
    slopes: np.ndarray = (-3 * forces_0 + 4 * forces_1 - forces_2) / (2 * step)
    return slopes
