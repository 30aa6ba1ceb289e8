"""Search for jumps of energy, force and curvature along a path.

The places of jumps need not be known. Energies and forces are evaluated on an even grid. Two
filters vanish for smooth functions: the change of the energy in an interval plus the work of the
forces, integrated by a polynomial through six points and compared with the intervals around, and
the fifth difference of the forces.
Intervals where they do not vanish are divided by five, again and again: the residual of a smooth
function falls by 5^5, that of a kink of the force by 5, and that of a jump stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms

from ._noise import POINTS as NOISE_POINTS
from ._noise import SPACING as NOISE_SPACING
from ._noise import scatter
from ._results import NOISE_FACTOR, Limit, Measured, Plot, worst_index
from ._subject import Subject

JUMP_LIMITS = {
    # float32: sums over atoms of energies of a few eV, each rounded to some 1e-7 of itself
    "energy jump": Limit("eV", float64=1e-9, float32=1e-4),
    "force jump": Limit("eV/A", float64=1e-6, float32=1e-3),
    "curvature jump": Limit("eV/A^2"),
    # seven times that of the stiffest bond, of N2 (143); usual time steps are unstable above
    "stiffness": Limit("eV/A^2", float64=1000.0, float32=1000.0),
}
SPACING = 0.02  # A, of the grid
LEVELS = {"float64": 10, "float32": 5}  # divisions by five: to intervals of 2e-9 and 6e-6 A
DIVISIONS = 5
SUSPICIOUS = 0.3  # of the limit: larger residuals are looked at more closely
INTERVALS = {False: 150, True: 600}  # that are divided at once, by subject.full
SIDE = {"float64": 1e-4, "float32": 1e-3}  # A, step of one-sided differences of forces
BESIDE = 5e-3  # A, distance from a jump at which scatter is measured
CURVATURES = 6  # places at which the jump of the curvature is measured
REACHABLE = 1.0  # eV above the minimum, or above the end: where dynamics may go
# of six points, for the integral over the middle interval of the polynomial through them
INTEGRAL = np.array([11.0, -93, 802, 802, -93, 11]) / 1440
# fifth difference, in which a step in the middle interval is 6
FIFTH = np.array([-1.0, 5, -10, 10, -5, 1]) / 6


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

    def place(self, displacement: float, digits: int = 4) -> str:
        """Text of a place on the path: its displacement and, of two atoms, their distance.

        Parameters
        ----------
        displacement:
            Displacement in A.
        digits:
            Decimal places.
        """
        text = f"at {displacement:z.{digits}f} A of the path"
        if len(self.atoms) != 2:
            return text
        moved = self.atoms.copy()
        moved.positions[self.index] += displacement * self.direction
        return f"pair distance {moved.get_distance(0, 1):.{digits}f} A, {text}"

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


class Residuals(NamedTuple):
    """Residuals of the filters in intervals of a path."""

    left: np.ndarray  # (k,) A, lower ends of the intervals
    width: float  # A, of each
    energies: np.ndarray  # (k,) eV
    forces: np.ndarray  # (k,) eV/A


def residuals(grid: np.ndarray, points: Points) -> Residuals:
    """Residuals of all intervals but the first two and the last two of an even grid.

    Parameters
    ----------
    grid:
        Displacements (m,) in A.
    points:
        Energies and forces there.
    """
    width = float(grid[1] - grid[0])
    windows = np.lib.stride_tricks.sliding_window_view
    along = windows(points.along, 6)  # (m - 5, 6)
    minus_work = along @ INTEGRAL * width
    changes = np.diff(points.energies)[2:-2]
    unexplained = changes + minus_work  # (m - 5,)
    # Forces that are not gradients leave a residual everywhere, which differs from the mean of the
    # neighbours at a jump only.
    padded = np.pad(unexplained, 1, mode="edge")
    around = padded[:-2] + padded[2:]
    energies = np.abs(unexplained - 0.5 * around)

    coordinates = points.forces.reshape(len(grid), -1)
    forces = windows(coordinates, 6, axis=0)  # (m - 5, 3n, 6)
    differences = np.abs(forces @ FIFTH)
    return Residuals(
        left=grid[2:-3],
        width=width,
        energies=energies,
        forces=differences.max(axis=1),
    )


def largest_jumps(
    path: AtomPath, grid: np.ndarray, known: Sequence[float] = ()
) -> Iterator[Measured]:
    """Yield the largest jumps of energy, force and curvature along a path, and its stiffness.

    Parameters
    ----------
    path:
        Path of an atom.
    grid:
        Even, increasing displacements (m,) in A at which jumps are looked for first.
    known:
        Displacements in A where a jump is likely, such as the cutoff.
    """
    noise = path.subject.noise
    energy_noise = noise.energy * len(path.atoms)
    energy_limit = _limit("energy jump", path.subject, energy_noise)
    force_limit = _limit("force jump", path.subject, noise.forces)
    points = path.evaluate(grid)
    first = residuals(grid, points)
    search = _Search(path, SUSPICIOUS * energy_limit, SUSPICIOUS * force_limit)
    search.run(first, known)

    plot = _plot(grid, points)
    jump, place = search.energy
    if jump > energy_limit:
        energy_noise = max(energy_noise, _noise_beside(path, place)[0])
    yield Measured("energy jump", jump, path.place(place), plot, noise=energy_noise)
    jump, place = search.force
    force_noise = noise.forces
    if jump > force_limit:
        force_noise = max(force_noise, _noise_beside(path, place)[1])
    yield Measured("force jump", jump, path.place(place), noise=force_noise)
    # The middle stands in where no place is suspicious.
    middle = float(grid[len(grid) // 2])
    places = [*search.places, middle]
    yield _curvature_jump(path, np.array(places[:CURVATURES]))
    yield _stiffness(path, grid, points)


def _noise_beside(path: AtomPath, place: float) -> tuple[float, float]:
    """Scatter in eV and eV/A on both sides of a place in A: it may be larger there than elsewhere.

    The lines begin 5 mA from it, so that a jump is in none of them.
    """
    line = BESIDE + NOISE_SPACING * np.arange(NOISE_POINTS)
    energies = []
    forces = []
    for displacements in (place + line, place - line):
        points = path.evaluate(displacements)
        energies.append(scatter(points.energies))
        forces.append(scatter(points.forces))
    return max(energies), max(forces)


def _limit(quantity: str, subject: Subject, noise: float) -> float:
    """Limit of a quantity, not below 20 times the noise."""
    return max(JUMP_LIMITS[quantity].high(subject.dtype) or 0.0, NOISE_FACTOR * noise)


class _Search:
    """Division of suspicious intervals until smooth functions leave no residual.

    Attributes
    ----------
    path:
        Path of an atom.
    energy_threshold, force_threshold:
        Residuals in eV and eV/A that are not suspicious.
    energy, force:
        The largest residuals that remain, with their displacements in A.
    places:
        Displacements in A of suspicious places, as closely as they are known.
    """

    def __init__(self, path: AtomPath, energy_threshold: float, force_threshold: float) -> None:
        self.path = path
        self.energy_threshold = energy_threshold
        self.force_threshold = force_threshold
        self.energy = (0.0, 0.0)
        self.force = (0.0, 0.0)
        self.places: list[float] = []

    def run(self, first: Residuals, known: Sequence[float]) -> None:
        """Divide from the first grid; the places of `known` in A are always divided once."""
        segments = self._segments([first])
        # no point exactly on a jump
        segments += [(place - 0.43 * first.width, 1) for place in known]
        levels = LEVELS[self.path.subject.precision]
        width = first.width
        last: list[Residuals] = []
        for _ in range(levels):
            if not segments:
                break
            grids = [_divided(left, count, width) for left, count in segments]
            everything = np.concatenate(grids)
            points = self.path.evaluate(everything)
            width /= DIVISIONS
            start = 0
            last = []
            for grid in grids:
                end = start + len(grid)
                part = points.at(slice(start, end))
                start = end
                last.append(residuals(grid, part))
            segments = self._segments(last)
            self._remember(segments, width)
        self.places = [*known, *self.places]
        if not segments:
            return
        # what is suspicious to the end is a jump
        for remaining in last:
            self._keep(remaining, np.ones(len(remaining.left), bool))

    def _remember(self, segments: list[tuple[float, int]], width: float) -> None:
        """Keep the middles of short segments as the places that are known best so far."""
        short = [(left, count) for left, count in segments if count <= DIVISIONS]
        middles = [left + 0.5 * count * width for left, count in short]
        if middles:
            self.places = middles

    def _segments(self, found: Sequence[Residuals]) -> list[tuple[float, int]]:
        """(left end, number of intervals) of runs of suspicious intervals; remember the others.

        The most suspicious ones, at most so many as the level allows.
        """
        ratios = [self._ratio(part) for part in found]
        least = _largest_but(INTERVALS[self.path.subject.full], np.concatenate(ratios))
        segments = []
        for part, ratio in zip(found, ratios, strict=True):
            self._keep(part, ratio <= 1)
            chosen = ratio > max(1.0, least)
            segments += _runs(part, chosen)
        return segments

    def _ratio(self, found: Residuals) -> np.ndarray:
        """Residuals (k,) over what is not suspicious; those that are not a number are infinite."""
        energies = self._jumps(found) / self.energy_threshold
        forces = found.forces / self.force_threshold
        ratio = np.maximum(energies, forces)
        return np.nan_to_num(ratio, nan=np.inf)

    def _jumps(self, found: Residuals) -> np.ndarray:
        """Residuals (k,) of energies in eV, less the work of the scatter of the forces."""
        work = NOISE_FACTOR * self.path.subject.noise.forces * found.width
        jumps: np.ndarray = np.maximum(found.energies - work, 0.0)
        return jumps

    def _keep(self, found: Residuals, chosen: np.ndarray) -> None:
        """Remember the largest residuals of the chosen intervals (k,)."""
        if not chosen.any():
            return
        left = found.left[chosen]
        self.energy = _larger(self.energy, self._jumps(found)[chosen], left)
        self.force = _larger(self.force, found.forces[chosen], left)


def _largest_but(number: int, values: np.ndarray) -> float:
    """The largest of the values (k,) but so many, 0 if there are no more."""
    if len(values) <= number:
        return 0.0
    ordered = np.sort(values)
    return float(ordered[-1 - number])


def _runs(found: Residuals, chosen: np.ndarray) -> list[tuple[float, int]]:
    """(left end, number of intervals) of each run of chosen intervals (k,)."""
    padded = np.concatenate([[False], chosen, [False]])
    edges = np.flatnonzero(np.diff(padded))
    # A run begins at an edge and ends before the next.
    starts = edges[::2]
    ends = edges[1::2]
    return [
        (float(found.left[start]), int(end - start))
        for start, end in zip(starts, ends, strict=True)
    ]


def _larger(
    known: tuple[float, float], values: np.ndarray, left: np.ndarray
) -> tuple[float, float]:
    """The largest of a known value and values (k,), NaN before all, with its place in A."""
    worst = worst_index(values)
    if values[worst] <= known[0] or np.isnan(known[0]):
        return known
    return float(values[worst]), float(left[worst])


def _divided(left: float, count: int, width: float) -> np.ndarray:
    """Grid of a fifth of the width over intervals, with three points more on either side."""
    fine = width / DIVISIONS
    return left + fine * np.arange(-3, DIVISIONS * count + 4)


def _plot(grid: np.ndarray, points: Points) -> Plot:
    curves = {
        "energy": (grid, points.energies - points.energies[-1]),
        "force along the path": (grid, points.along),
    }
    return Plot("displacement (A)", "energy (eV), force (eV/A)", curves)


def _curvature_jump(path: AtomPath, places: np.ndarray) -> Measured:
    """Largest difference between the slopes of the forces left and right of places (k,)."""
    step = SIDE[path.subject.precision]
    below = _slopes(path, places - step, -step)
    above = _slopes(path, places + step, step)
    jumps = np.abs(above - below).max(axis=(1, 2))
    return Measured("curvature jump", jumps.max(), path.place(places[jumps.argmax()]))


def _stiffness(path: AtomPath, grid: np.ndarray, points: Points) -> Measured:
    """Largest slope of the force along the path, where the energy is low enough to get there."""
    slopes = np.diff(points.along) / np.diff(grid)
    energies = points.energies
    higher = np.maximum(energies[1:], energies[:-1])  # of the ends of each interval
    lowest = int(energies.argmin())
    numbers = np.arange(len(slopes))
    # Before the minimum is the repulsive wall, which any potential has.
    reference = np.where(numbers >= lowest, energies[-1], energies[lowest])
    is_reachable = higher <= reference + REACHABLE
    sizes = np.where(is_reachable, np.abs(slopes), 0.0)
    worst = sizes.argmax()
    return Measured("stiffness", sizes.max(), path.place(grid[worst], digits=2))


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
