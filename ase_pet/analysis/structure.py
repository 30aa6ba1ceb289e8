"""Structure: radial distribution functions and coordination numbers."""

from __future__ import annotations

import itertools

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from .. import statistics
from ..graph.neighbours import half_list
from ..graph.structure import from_atoms
from ._results import Analysis, Curve, number
from .trajectory import Trajectory

CUTOFF = 8.0  # A
BIN = 0.05  # A
MOST_FRAMES = 400
SMOOTHING = 0.06  # A, of the distribution whose first minimum is searched
PROMINENCE = 0.05  # of a peak, in heights of the highest
MOST_PAIRS_OF_ELEMENTS = 15  # of five elements


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
    if not (np.isfinite(cutoff) and np.isfinite(width) and 0 < width < cutoff):
        raise ValueError(f"`cutoff` {cutoff!r}, `width` {width!r}: expected A, 0 < width < cutoff")
    elements = sorted(set(trajectory.first.symbols))
    pairs = list(itertools.combinations_with_replacement(elements, 2))
    if len(pairs) > MOST_PAIRS_OF_ELEMENTS:
        raise ValueError(f"`trajectory` has {len(elements)} elements: expected five or fewer")
    bins = round(cutoff / width)
    step = -(-(len(trajectory) - start) // most_frames)
    counts = _Counts(trajectory, pairs, np.linspace(0, bins * width, bins + 1))
    for atoms in trajectory.frames(start, step):
        counts.add(from_atoms(atoms, conditioned=False))
    return counts.analysis()


class _Counts:
    """Histograms of distances, in each frame and for each pair of elements."""

    def __init__(
        self, trajectory: Trajectory, pairs: list[tuple[str, str]], edges: np.ndarray
    ) -> None:
        self.pairs = pairs
        self.periodic = trajectory.periodic
        self.edges = edges
        self.half = _half_of_the_cell(trajectory)
        symbols = np.array(list(trajectory.first.symbols))
        self.members = {pair: (symbols == pair[0], symbols == pair[1]) for pair in pairs}
        # (frames, bins) each, numbers of neighbours b of an atom a
        self.neighbours: dict[tuple[str, str], list[np.ndarray]] = {pair: [] for pair in pairs}
        self.volumes: list[float] = []

    def add(self, structure: object) -> None:
        """Count the pairs of a frame."""
        found = half_list(structure, self.edges[-1])  # type: ignore[arg-type]
        distances = found.distances()
        for pair, (first, second) in self.members.items():
            forward = first[found.centres] & second[found.neighbours]
            backward = second[found.centres] & first[found.neighbours]
            # each pair is in the list once: from a to b, from b to a, or both if a is b
            weights = forward.astype(float) + backward
            if pair[0] != pair[1]:
                weights = np.minimum(weights, 1)
            counts, _ = np.histogram(distances, self.edges, weights=weights)
            self.neighbours[pair].append(counts / max(first.sum(), 1))
        self.volumes.append(structure.volume)  # type: ignore[attr-defined]

    def analysis(self) -> Analysis:
        """Distributions and coordination numbers."""
        centres = (self.edges[1:] + self.edges[:-1]) / 2
        table = {"r_A": centres}
        values: dict[str, object] = {}
        marks = []
        notes = []
        for pair in self.pairs:
            name = "-".join(pair)
            column = f"{name}_g" if self.periodic else f"{name}_per_A"
            table[column] = self._distribution(pair)
            cutoff = first_minimum(centres, table[column])
            if cutoff is None:
                notes.append(f"{name}: no first minimum, and no coordination number")
                continue
            values |= self._coordination(pair, cutoff)
            values[f"first minimum {name} (A)"] = round(cutoff, 4)
            marks.append((cutoff, f"first minimum {name}"))
        if self.half < self.edges[-1]:
            notes.append(f"beyond {self.half:.2f} A, half of the cell, atoms see their own images")
        panel = self._panel(table, tuple(marks[:3]))
        title = "radial distribution functions"
        return Analysis("rdf", title, values, table, (panel,), tuple(notes))

    def _panel(self, table: dict[str, np.ndarray], marks: tuple[tuple[float, str], ...]) -> Curve:
        """Panel of all distributions; marks: positions and texts of vertical lines."""
        columns = tuple(name for name in table if name != "r_A")
        label = "g(r)" if self.periodic else "neighbours per Å"
        # an ideal gas has g = 1
        lines = ((1.0, ""),) if self.periodic else ()
        return Curve("r_A", columns, "r (Å)", label, lines, marks)

    def _distribution(self, pair: tuple[str, str]) -> np.ndarray:
        """(bins,) g(r), or the number of neighbours per A without a volume."""
        neighbours = np.array(self.neighbours[pair])  # (frames, bins)
        if not self.periodic:
            return np.asarray(neighbours.mean(axis=0) / np.diff(self.edges))
        shells = 4 / 3 * np.pi * np.diff(self.edges**3)  # A^3
        others = self.members[pair][1].sum()
        density = others / np.array(self.volumes)  # of each frame, 1/A^3
        return np.asarray((neighbours / density[:, None]).mean(axis=0) / shells)

    def _coordination(self, pair: tuple[str, str], cutoff: float) -> dict[str, object]:
        """Mean numbers of neighbours up to a distance in A, with errors."""
        first, second = pair
        inside = self.edges[1:] <= cutoff + 1e-9
        series = np.array(self.neighbours[pair])[:, inside].sum(axis=1)
        values: dict[str, object] = {}
        mean = statistics.mean(series, start=0)
        values[f"coordination of {first} by {second}"] = number(mean)
        if first != second:
            ratio = self.members[pair][0].sum() / self.members[pair][1].sum()
            mean = statistics.mean(ratio * series, start=0)
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
    if not smooth.max() > 0:
        return None
    peaks, _ = find_peaks(smooth, prominence=PROMINENCE * smooth.max())
    if len(peaks) < 2:
        return None
    between = smooth[peaks[0] : peaks[1] + 1]
    # a gap between two shells of a crystal has many zeros: the middle of them
    lowest = np.flatnonzero(between <= between.min() + 1e-9 * smooth.max())
    index = peaks[0] + lowest[len(lowest) // 2]
    return float(distances[index] + width / 2)
