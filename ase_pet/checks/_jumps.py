"""Jumps of energy, force and curvature along a path, found without knowing where they are."""

import numpy as np

from ._results import Limit, Measured, Plot

LIMITS = {
    # float32: sums over atoms of energies of a few eV, each rounded to some 1e-7 of itself
    "energy jump": Limit("eV", float64=1e-9, float32=1e-4),
    "force jump": Limit("eV/A", float64=1e-6, float32=1e-3),
    "curvature jump": Limit("eV/A^2"),
    "stiffness": Limit("eV/A^2"),
}
SPACING = 0.05  # A
HALVINGS = {"float64": 26, "float32": 13}  # to intervals of 7e-10 and 6e-6 A
SIDE = {"float64": 1e-4, "float32": 1e-3}  # A, of one-sided differences of forces
WIDTHS = 16  # of the last interval, over which the slope that a smooth force has in it is measured
FLOOR = {"float64": 1e-12, "float32": 1e-6}  # eV, eV/A: what is rounding
LOCAL = 5  # intervals on each side with which one is compared
CANDIDATES = (
    3  # intervals with the largest jump for their surroundings, of energy and of force each
)


class Path:
    """One atom of a structure on a line: x in A along a direction.

    Evaluations are in batches where possible.
    """

    def __init__(self, subject, atoms, index, direction):
        self.subject, self.atoms, self.index = subject, atoms, index
        self.direction = direction / np.linalg.norm(direction)

    def evaluate(self, distances):
        """Energies (m,), forces (m, n, 3), and those of the moved atom along the path (m,)."""
        structures = []
        for x in distances:
            structures.append(self.atoms.copy())
            structures[-1].positions[self.index] += x * self.direction
        energies, forces = self.subject.many(structures)
        forces = np.array(forces)
        return energies, forces, forces[:, self.index] @ self.direction


def compare(path, grid, known=()):
    """Yield the largest jump of energy, force and curvature along a path.

    Intervals of the grid whose change stands out among their neighbours', and those around known
    places, are halved until a smooth function could no longer change. What is left is a jump.
    grid: increasing x in A. known: x where something may jump, such as the cutoff.
    """
    dtype = path.subject.dtype
    energies, forces, along = path.evaluate(grid)
    intervals = [(x - 0.4 * SPACING, x + 0.6 * SPACING) for x in known]
    for change in (_energy_changes(grid, energies, along), _force_changes(forces)):
        intervals += [(grid[k], grid[k + 1]) for k in _standing_out(change, FLOOR[dtype])]
    left, right = _halved(path, np.array(intervals), HALVINGS[dtype])
    (first, second), width = (path.evaluate(ends) for ends in (left, right)), right - left
    energy_jumps = np.abs(second[0] - first[0] + 0.5 * (first[2] + second[2]) * width)
    below, above = (
        _slopes(path, x, sign * WIDTHS * width.max()) for x, sign in ((left, -1), (right, 1))
    )
    smooth = 0.5 * (below + above) * width[:, None, None]
    force_jumps = np.abs(second[1] - first[1] - smooth).max(axis=(1, 2))
    k, m = energy_jumps.argmax(), force_jumps.argmax()
    plot = Plot(
        "displacement (A)",
        "energy (eV), force (eV/A)",
        {"energy": (grid, energies - energies[-1]), "force along the path": (grid, along)},
    )
    yield Measured("energy jump", energy_jumps[k], f"at {left[k]:.4f} A of the path", plot)
    yield Measured("force jump", force_jumps[m], f"at {left[m]:.4f} A of the path")
    below, above = (
        _slopes(path, x, step) for x, step in ((left, -SIDE[dtype]), (right, SIDE[dtype]))
    )
    curvature = np.abs(above - below).max(axis=(1, 2))
    yield Measured(
        "curvature jump", curvature.max(), f"at {left[curvature.argmax()]:.4f} A of the path"
    )
    slopes = np.abs(np.diff(along) / np.diff(grid)) * (
        grid[1:] > 0
    )  # without the wall, which is stiff as it must be
    yield Measured("stiffness", slopes.max(), f"at {grid[slopes.argmax()]:.2f} A of the path")


def _energy_changes(grid, energies, along):
    """(m - 1,) changes of the energy that the forces do not explain."""
    return np.abs(np.diff(energies) + 0.5 * (along[1:] + along[:-1]) * np.diff(grid))


def _force_changes(forces):
    """(m - 1,) changes of the forces that the changes before and after do not lead one to
    expect.
    """
    changes = np.diff(forces.reshape(len(forces), -1), axis=0)
    padded = np.concatenate([changes[:1], changes, changes[-1:]])
    return np.abs(changes - 0.5 * (padded[:-2] + padded[2:])).max(axis=1)


def _standing_out(change, floor):
    """Indices of the intervals with the largest change in units of the median around them."""
    around = [np.median(change[max(0, k - LOCAL) : k + LOCAL + 1]) for k in range(len(change))]
    return np.argsort(change / (np.array(around) + floor))[-CANDIDATES:]


def _halved(path, intervals, times):
    """Ends (k,), (k,) of the intervals after halving.

    Each time keeping the half with the larger change.
    """
    left, right = intervals.T.copy()
    ends = [path.evaluate(x) for x in (left, right)]
    for _ in range(times):
        middle = 0.5 * (left + right)
        found = path.evaluate(middle)
        # both in eV: a jump of force of 1 eV/A counts as much as one of energy of 1 eV
        sizes = [
            np.abs(b[0] - a[0] + 0.5 * (a[2] + b[2]) * width) + np.abs(b[1] - a[1]).max(axis=(1, 2))
            for a, b, width in ((ends[0], found, middle - left), (found, ends[1], right - middle))
        ]
        upper = sizes[1] > sizes[0]
        left, right = np.where(upper, middle, left), np.where(upper, right, middle)
        ends = [_chosen(upper, found, ends[0]), _chosen(upper, ends[1], found)]
    return left, right


def _chosen(which, yes, no):
    return tuple(
        np.where(which.reshape(-1, *[1] * (a.ndim - 1)), a, b) for a, b in zip(yes, no, strict=True)
    )


def _slopes(path, places, step):
    """(k, n, 3) one-sided slopes of the forces in eV/A^2, of the second order in the step."""
    here, near, far = (path.evaluate(places + k * step)[1] for k in range(3))
    return (-3 * here + 4 * near - far) / (2 * step)
