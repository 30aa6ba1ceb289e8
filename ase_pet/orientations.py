"""Grids of orientations: points on the unit sphere that stand for all directions.

| name | points | maps onto itself under |
|---|---|---|
| octahedral | 6 | octahedral group with inversion |
| icosahedral | 12 | icosahedral group with inversion |
| dodecahedral | 20 | the same |
| compound | 32 | the same: the vertices of both solids |
| fibonacci:n | n | nothing |
| repulsion:n | n | nothing: points that repel each other, at rest (Thomson's problem) |
| antipodal:n | n, even | inversion: n / 2 lines whose ends repel each other |
| given:n | n | unknown: they come with the weights of a model |

The icosahedral group is that of `rotations.icosahedral`, with two-fold axes along x, y and z.
"""

import functools
import numbers

import numpy as np
import torch

from . import rotations

GOLDEN = (1 + 5**0.5) / 2
MOST_POINTS = 1024
SENTINELS = (
    (0.81, 0.43, -0.67),
    (-0.29, 0.91, 0.59),
)  # in no plane or axis of symmetry of any grid here
POLYHEDRA = {  # name -> (group, points of which the orbits are the grid)
    "octahedral": (rotations.octahedral, [[1, 0, 0]]),
    "icosahedral": (rotations.icosahedral, [[0, GOLDEN, 1]]),
    "dodecahedral": (rotations.icosahedral, [[1, 1, 1]]),
    "compound": (rotations.icosahedral, [[0, GOLDEN, 1], [1, 1, 1]]),
}


BEST = {
    6: "octahedral",
    12: "icosahedral",
    32: "compound",
}  # solids that leave less than searched points do
MOST_SEARCHED = 256  # points; a search among more takes minutes


def name_of(n):
    """Name of the grid of n points that is taken where only their number is given.

    A solid where it is the best of its size, `antipodal:n` for other even n, whose kernels are made
    for one half only, `repulsion:n` for odd n, and `fibonacci:n` above 256. Raises ValueError for
    no number from 1 to 1024.
    """
    if isinstance(n, bool) or not isinstance(n, numbers.Integral) or not 1 <= n <= MOST_POINTS:
        raise ValueError(
            f"`orientations` is {n!r}: expected a number of points from 1 to {MOST_POINTS}"
        )
    kind = "fibonacci" if n > MOST_SEARCHED else "repulsion" if n % 2 else "antipodal"
    return BEST.get(int(n), f"{kind}:{int(n)}")


@functools.cache
def _grid(name):
    kind, _, number = name.partition(":")
    if name in POLYHEDRA:
        with torch.device("cpu"):  # wherever a model is being made
            return _orbits(*POLYHEDRA[name])
    if kind not in COUNTED or not number.isdecimal() or not 0 < int(number) <= MOST_POINTS:
        raise ValueError(
            f"`orientations` is {name!r}: valid choices are {', '.join(POLYHEDRA)}, "
            f"{', '.join(kind + ':n' for kind in COUNTED)}, n from 1 to {MOST_POINTS}"
        )
    with torch.device("cpu"), torch.enable_grad():
        return COUNTED[kind](int(number))


def grid(name):
    """(n, 3) float64 unit vectors on the CPU of the grid of that name, see above; not numbers for
    given:n.

    Raises ValueError that lists the names.
    """
    return _grid(name).clone()


def checked(axes):
    """Unit vectors (n, 3), float64 on the CPU, of an array.

    Raises ValueError where they are none.
    """
    axes = torch.as_tensor(axes, dtype=torch.float64, device="cpu")
    if (
        axes.ndim != 2
        or axes.shape[1] != 3
        or not len(axes)
        or not ((axes.norm(dim=1) - 1).abs() < 1e-6).all()
    ):
        raise ValueError(f"orientations of shape {tuple(axes.shape)}: expected unit vectors (n, 3)")
    return axes.clone()


def opposite(axes):
    """(n,) number of the axis opposite to each of axes (n, 3).

    Or None where some axis has no opposite.
    """
    if not len(axes):
        return None
    distance, partner = (axes[:, None] + axes).abs().amax(-1).min(1)
    return partner if bool(distance.max() < 1e-9) else None


def classes(axes, turns):
    """(n,) class of each of orthogonal matrices (n, 3, 3): turns Q of a class make the same grid of
    Q^T o, o from axes.

    Grids are told apart by sums over their points of exp(2 o . v), for two vectors v: equal to 1e-9
    they are the same.
    """
    if axes.isnan().any():
        return torch.arange(len(turns), device=turns.device)
    labels = []
    for vector in SENTINELS:
        sums = torch.cat(
            [
                (2 * (axes @ (part @ part.new_tensor(vector)).mT)).exp().sum(0)
                for part in turns.split(4096)
            ]
        )
        order = torch.argsort(sums)
        label = torch.empty_like(order)
        label[order] = (sums[order].diff(prepend=sums[order[:1]]) > 1e-9 * (1 + len(axes))).cumsum(
            0
        )
        labels.append(label)
    return torch.unique(torch.stack(labels, 1), dim=0, return_inverse=True)[1]


def _orbits(group, seeds):
    """Points (n, 3) that the rotations of a group and the inversion make of the seeds.

    Each once.
    """
    elements = rotations.with_inversion(group()).numpy()
    points = np.concatenate([elements @ (np.array(seed) / np.linalg.norm(seed)) for seed in seeds])
    _, first = np.unique(points.round(9) + 0.0, axis=0, return_index=True)
    return torch.tensor(points[np.sort(first)])


def _fibonacci(n):
    """Points at equal steps of the height, each turned by the golden angle from the one before."""
    height = 1 - (2 * torch.arange(n, dtype=torch.float64) + 1) / n
    angle = 2 * torch.pi * torch.arange(n, dtype=torch.float64) / GOLDEN**2
    radius = (1 - height**2).sqrt()
    return torch.stack([radius * angle.cos(), radius * angle.sin(), height], 1)


def _repelling(n):
    """Points of least energy, sum over pairs of 1 / distance.

    That a search from random points with a seed finds.
    """
    return _rest(n, lambda points: points)


def _antipodal(n):
    """Points and their opposites of least energy."""
    if n % 2:
        raise ValueError(f"`orientations` is 'antipodal:{n}': expected an even number of points")
    half = _rest(n // 2, lambda points: torch.cat([points, -points]))
    return torch.cat([half, -half])


def _rest(n, whole):
    """(n, 3) points at rest, where `whole(points)` are the points that repel each other. Source of
    the problem:
    J. J. Thomson, Phil. Mag. 7, 237 (1904); which of several minima is found does not matter here.
    """
    points = torch.randn(
        n, 3, generator=torch.Generator().manual_seed(n), dtype=torch.float64
    ).requires_grad_()
    search = torch.optim.LBFGS(
        [points],
        max_iter=2000,
        max_eval=4000,
        tolerance_grad=1e-12,
        tolerance_change=1e-16,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def energy():
        search.zero_grad()
        unit = whole(torch.nn.functional.normalize(points, dim=1))
        first, second = torch.triu_indices(len(unit), len(unit), 1)
        total = 1 / (unit[first] - unit[second]).square().sum(-1).sqrt()
        total = (
            total.sum() + (points.square().sum(1) - 1).square().sum()
        )  # keeps the search well conditioned
        total.backward()
        return total

    search.step(energy)
    return torch.nn.functional.normalize(points.detach(), dim=1)


def _given(n):
    return torch.full((n, 3), torch.nan, dtype=torch.float64)


COUNTED = {
    "fibonacci": _fibonacci,
    "repulsion": _repelling,
    "antipodal": _antipodal,
    "given": _given,
}
