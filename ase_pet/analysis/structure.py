"""Structure: radial distribution functions and coordination numbers."""

from __future__ import annotations

import itertools

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from .. import statistics
from ..graph.neighbours import HalfList, half_list
from ..graph.structure import Structure, from_atoms
from ._results import Analysis, Curve, number
from .trajectory import Trajectory

CUTOFF = 8.0  # A
BIN = 0.05  # A
MOST_FRAMES = 400
SMOOTHING = 0.06  # A, of the distribution whose first minimum is searched
TINY = 1e-9  # A
PROMINENCE = 0.05  # of a peak, in heights of the highest
MOST_ELEMENTS = 6
MOST_BINS = 10000


def radial_distribution(
    trajectory: Trajectory,
    cutoff: float = CUTOFF,
    width: float = BIN,
    start: int = 0,
    most_frames: int = MOST_FRAMES,
) -> Analysis:
    """Radial distribution functions g(r) of all pairs of elements, and coordination numbers.

    In a cell that is periodic in three directions, g_ab(r) = V counts / (N_a N_b 4 pi r^2 dr): the
    definition of `ase.geometry.rdf`, with the volume of each frame. Periodic images count, so r may
    exceed half of the cell. Molecules and slabs have no density: the table then holds the number of
    neighbours per A. A coordination number counts the neighbours up to the first minimum.

    Parameters
    ----------
    trajectory:
        Trajectory.
    cutoff:
        Largest distance r in A.
    width:
        Width of the bins in A.
    start:
        Index of the first frame, after the equilibration.
    most_frames:
        Largest number of frames, evenly distributed.
    """
    check_bins(cutoff, width)
    elements = sorted(set(trajectory.first.symbols))
    if len(elements) > MOST_ELEMENTS:
        raise ValueError(
            f"`trajectory` has {len(elements)} elements: expected {MOST_ELEMENTS} or fewer"
        )
    pairs = list(itertools.combinations_with_replacement(elements, 2))
    bins = round(cutoff / width)
    edges = np.linspace(0, bins * width, bins + 1)
    counts = _Counts(trajectory, pairs, edges)
    # rounded up
    step = -(-(len(trajectory) - start) // most_frames)
    for atoms in trajectory.frames(start, step):
        structure = from_atoms(atoms, conditioned=False)
        counts.add(structure)
    return counts.analysis()


def check_bins(cutoff: float, width: float = BIN) -> None:
    """Raise ValueError if there are no such bins.

    Parameters
    ----------
    cutoff:
        Largest distance in A.
    width:
        Width of the bins in A.
    """
    if not (np.isfinite(cutoff) and 0 < width < cutoff):
        raise ValueError(f"`cutoff` {cutoff!r}, `width` {width!r}: expected A, 0 < width < cutoff")
    if cutoff > MOST_BINS * width:
        raise ValueError(f"`width` {width!r}: expected at most {MOST_BINS} bins, cutoff / width")


class _Counts:
    """Histograms of distances, in each frame and for each pair of elements."""

    def __init__(
        self, trajectory: Trajectory, pairs: list[tuple[str, str]], edges: np.ndarray
    ) -> None:
        self.periodic = trajectory.periodic
        self.half = _half_of_the_cell(trajectory)
        self.edges = edges
        self.pairs = pairs
        symbols = np.array(list(trajectory.first.symbols))
        self.members = {element: symbols == element for element in set(symbols)}
        # (frames, bins) for each pair, numbers of neighbours b of an atom a
        self.neighbours: dict[tuple[str, str], list[np.ndarray]] = {}
        for pair in pairs:
            self.neighbours[pair] = []
        self.volumes: list[float] = []

    def add(self, structure: Structure) -> None:
        """Count the pairs of a frame."""
        found = half_list(structure, self.edges[-1])
        distances = found.distances()
        self.volumes.append(structure.volume)
        for pair in self.pairs:
            weights = self._weights(found, pair)
            histogram = np.histogram(distances, self.edges, weights=weights)[0]
            centres = self.members[pair[0]].sum()
            self.neighbours[pair].append(histogram / centres)

    def _weights(self, found: HalfList, pair: tuple[str, str]) -> np.ndarray:
        """(P,) number of times that each pair of atoms is a pair of these elements."""
        first = self.members[pair[0]]
        second = self.members[pair[1]]
        # a pair is in the list once, and counts from each of its atoms that is an `a`
        forward = first[found.centres] & second[found.neighbours]
        backward = second[found.centres] & first[found.neighbours]
        return np.asarray(forward.astype(float) + backward)

    def analysis(self) -> Analysis:
        """Distributions and coordination numbers."""
        above = self.edges[1:]
        below = self.edges[:-1]
        centres = (above + below) / 2
        table = {"r_A": centres}
        values: dict[str, object] = {}
        marks = []
        notes = []
        kind = "g" if self.periodic else "per_A"
        for pair in self.pairs:
            name = "-".join(pair)
            column = f"{name}_{kind}"
            distribution = self._distribution(pair)
            table[column] = distribution
            cutoff = first_minimum(centres, distribution)
            if cutoff is None:
                notes.append(f"{name}: no first minimum, and no coordination number")
                continue
            values |= self._coordination(pair, cutoff)
            values[f"first minimum {name} (A)"] = round(cutoff, 4)
            marks.append((cutoff, f"first minimum {name}"))
        if self.half < self.edges[-1]:
            notes.append(f"beyond {self.half:.2f} A, half of the cell, atoms see their own images")
        # more lines would hide the curves
        shown = tuple(marks[:3])
        panel = self._panel(table, shown)
        title = "radial distribution functions"
        return Analysis("rdf", title, values, table, (panel,), tuple(notes))

    def _panel(self, table: dict[str, np.ndarray], marks: tuple[tuple[float, str], ...]) -> Curve:
        """Panel of all distributions; marks: positions and texts of vertical lines."""
        columns = tuple(name for name in table if name != "r_A")
        label = "g(r)" if self.periodic else "neighbours per Å"
        # an ideal gas has g = 1
        lines = ((1.0, "ideal gas"),) if self.periodic else ()
        return Curve("r_A", columns, "r (Å)", label, lines, marks)

    def _distribution(self, pair: tuple[str, str]) -> np.ndarray:
        """(bins,) g(r), or the number of neighbours per A without a volume."""
        neighbours = np.array(self.neighbours[pair])  # (frames, bins)
        if not self.periodic:
            return np.asarray(neighbours.mean(axis=0) / np.diff(self.edges))
        return self._per_density(neighbours, self.members[pair[1]].sum())

    def _per_density(self, neighbours: np.ndarray, others: int) -> np.ndarray:
        """(bins,) neighbours (frames, bins) per A^3, over the density of each frame."""
        shells = 4 / 3 * np.pi * np.diff(self.edges**3)
        volumes = np.array(self.volumes)[:, None]
        scaled = neighbours * volumes / others
        return np.asarray(scaled.mean(axis=0) / shells)

    def _coordination(self, pair: tuple[str, str], cutoff: float) -> dict[str, object]:
        """Mean numbers of neighbours up to a distance in A, with errors."""
        first, second = pair
        inside = self.edges[1:] <= cutoff + TINY
        neighbours = np.array(self.neighbours[pair])  # (frames, bins)
        series = neighbours[:, inside].sum(axis=1)
        mean = statistics.mean(series, 0)
        values: dict[str, object] = {f"coordination of {first} by {second}": number(mean)}
        if first == second:
            return values
        # the same pairs, shared among the other atoms
        centres = self.members[first].sum()
        others = self.members[second].sum()
        mean = statistics.mean(series * centres / others, 0)
        values[f"coordination of {second} by {first}"] = number(mean)
        return values


def _half_of_the_cell(trajectory: Trajectory) -> float:
    """Half of the smallest distance in A between opposite faces of the cell."""
    if not trajectory.periodic:
        return np.inf
    # the columns of the inverse are the reciprocal vectors, normal to the faces
    inverse = np.linalg.inv(trajectory.first.cell.array)
    return float(0.5 / np.linalg.norm(inverse, axis=0).max())


def first_minimum(distances: np.ndarray, distribution: np.ndarray) -> float | None:
    """Distance in A of the minimum between the first two peaks, None if there are not two.

    Parameters
    ----------
    distances:
        (bins,) centres of the bins in A.
    distribution:
        (bins,) g(r), or neighbours per A.
    """
    width = distances[1] - distances[0]
    smooth = gaussian_filter1d(distribution, SMOOTHING / width)
    highest = smooth.max()
    if not highest > 0:
        return None
    peaks, _ = find_peaks(smooth, prominence=PROMINENCE * highest)
    if len(peaks) < 2:
        return None
    first, second = peaks[:2]
    between = smooth[first : second + 1]
    # a gap between two shells of a crystal has many zeros: the middle of them
    lowest = np.flatnonzero(between <= between.min() + TINY * highest)
    middle = lowest[len(lowest) // 2]
    return float(distances[first + middle] + width / 2)
