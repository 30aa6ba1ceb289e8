"""Grids of orientations: points on the unit sphere that represent all directions.

| name | points | symmetry |
|---|---|---|
| octahedral | 6 | octahedral group with inversion |
| icosahedral | 12 | icosahedral group with inversion |
| dodecahedral | 20 | the same |
| compound | 32 | the same: the vertices of both solids |
| fibonacci:n | n | none |
| repulsion:n | n | none: points of minimal Coulomb energy (Thomson's problem) |
| antipodal:n | n, even | inversion: n / 2 pairs of opposite points of minimal Coulomb energy |
| given:n | n | unknown: the points come with the weights of a model |

The icosahedral group is that of `rotations.icosahedral`, with two-fold axes along x, y and z.
"""

from __future__ import annotations

import functools
import numbers
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from . import rotations
from .choices import shown

GOLDEN = (1 + 5**0.5) / 2
MOST_POINTS = 1024
MOST_OPTIMISED = 256  # points; the optimisation of more takes minutes
# Two vectors in no plane or axis of symmetry of any grid of this module, see `classes`.
SENTINELS = ((0.81, 0.43, -0.67), (-0.29, 0.91, 0.59))
# name -> (group, points whose orbits under the group form the grid)
POLYHEDRA: dict[str, tuple[Callable[[], torch.Tensor], list[list[float]]]] = {
    "octahedral": (rotations.octahedral, [[1, 0, 0]]),
    "icosahedral": (rotations.icosahedral, [[0, GOLDEN, 1]]),
    "dodecahedral": (rotations.icosahedral, [[1, 1, 1]]),
    "compound": (rotations.icosahedral, [[0, GOLDEN, 1], [1, 1, 1]]),
}
# Solids that are better quadratures than optimised points of the same number.
BEST = {6: "octahedral", 12: "icosahedral", 32: "compound"}
# Grids that a training with `orientations_drawn` draws from, see `drawn`. Calculators that were
# trained so may be used on all of them: a change of this list needs a setting of its own.
DRAWN = (
    "icosahedral",
    "antipodal:14",
    "antipodal:16",
    "antipodal:18",
    "dodecahedral",
    "antipodal:26",
    "compound",
    "antipodal:64",
)
SMALLEST_WEIGHT = 0.5  # of a point of a quadrature, in units of their mean


def name_of(n: int) -> str:
    """Name of the default grid of n points.

    A solid if it is the best grid of its size, `antipodal:n` for other even n, as kernels are
    evaluated for one half of its points only, `repulsion:n` for odd n, and `fibonacci:n` above 256.

    Parameters
    ----------
    n:
        Number of points.

    Raises
    ------
    ValueError
        n is not a number from 1 to 1024.
    """
    is_integer = isinstance(n, numbers.Integral) and not isinstance(n, bool)
    if not is_integer or not 1 <= n <= MOST_POINTS:
        raise ValueError(
            f"`orientations` is {shown(n)}: expected a number of points from 1 to {MOST_POINTS}"
        )
    # in order of preference
    count = int(n)  # a plain int: NumPy's are printed with their type
    if count in BEST:
        return BEST[count]
    if count > MOST_OPTIMISED:
        return f"fibonacci:{count}"
    return f"repulsion:{count}" if count % 2 else f"antipodal:{count}"


def grid(name: str) -> torch.Tensor:
    """(n, 3) float64 unit vectors on the CPU of a grid; NaN for given:n.

    Parameters
    ----------
    name:
        Name of the grid, see the table above.

    Raises
    ------
    ValueError
        There is no such grid; the message lists the names.
    """
    return _grid(name).clone()


@functools.cache
def _grid(name: str) -> torch.Tensor:
    # A model may be built on another default device or without gradients, which the search needs.
    with torch.device("cpu"), torch.enable_grad():
        # solids by their symmetry, others by their number of points
        if name in POLYHEDRA:
            return _orbits(*POLYHEDRA[name])
        kind, _, number = name.partition(":")
        if kind not in NUMBERED or not number.isdecimal() or not 0 < int(number) <= MOST_POINTS:
            solids = ", ".join(POLYHEDRA)
            numbered = ", ".join(f"{kind}:n" for kind in NUMBERED)
            raise ValueError(
                f"`orientations` is {name!r}: valid choices are {solids}, "
                f"{numbered}, n from 1 to {MOST_POINTS}"
            )
        return NUMBERED[kind](int(number))


def drawn(generator: torch.Generator) -> torch.Tensor:
    """(n, 3) float64 unit vectors of a grid of `DRAWN`, with a probability in proportion to 1 / n.

    The time of a step of a training is in proportion to n: all grids have the same share of it. The
    mean of n is 20. The grids are not rotated, as the structures of a training are.

    Parameters
    ----------
    generator:
        Random number generator on the CPU.
    """
    grids = [grid(name) for name in DRAWN]
    shares = torch.tensor([1 / len(axes) for axes in grids])
    return grids[int(torch.multinomial(shares, 1, generator=generator))]


def weights(axes: torch.Tensor) -> torch.Tensor:
    """(n,) float64 weights w, with the sum 1, of a quadrature of the sphere with these points.

    The means sum_o w_o Y(o) of all spherical harmonics Y of degrees 1 to L are 0, as are their
    integrals. Of all such weights they differ least from 1 / n. L is the highest degree for which
    each weight is at least 0.5 / n: 5 on `icosahedral`, 7 on `antipodal:64`, 9 on `compound`.

    By the addition theorem, the matrix of Legendre polynomials P_l(o . p) is 4 pi / (2 l + 1) times
    the sum over m of Y_lm(o) Y_lm(p): it maps w to 0 if and only if the means of degree l are 0.

    Parameters
    ----------
    axes:
        Unit vectors (n, 3).
    """
    cosines = axes @ axes.T
    n = len(axes)
    best = torch.full_like(axes[:, 0], 1 / n)
    total = torch.zeros_like(cosines)  # of the matrices of degrees 1 to l
    before, legendre = torch.ones_like(cosines), cosines  # P_l-1 and P_l, l = 1
    for degree in range(1, n + 1):  # n points cannot integrate degree n
        total = total + legendre
        values, vectors = torch.linalg.eigh(total)
        allowed = vectors[:, values < 1e-9 * n]  # (n, k), a basis of the w that the sum maps to 0
        sums = allowed.sum(0)
        # the projection of equal weights, scaled to the sum 1
        candidate = allowed @ sums / sums.square().sum().clamp(min=1e-12)
        if candidate.min() * n < SMALLEST_WEIGHT:
            break
        best = candidate
        following = ((2 * degree + 1) * cosines * legendre - degree * before) / (degree + 1)
        before, legendre = legendre, following
    return best


def checked(axes: Any) -> torch.Tensor:
    """(n, 3) float64 unit vectors on the CPU of an array.

    Parameters
    ----------
    axes:
        Array-like of shape (n, 3), n >= 1.

    Raises
    ------
    ValueError
        The array has another shape, or its rows are not unit vectors.
    """
    vectors = torch.as_tensor(axes, dtype=torch.float64, device="cpu")
    shape = tuple(vectors.shape)
    valid = len(shape) == 2 and shape[0] > 0 and shape[1] == 3
    if valid:
        # for NaN the comparison is False
        lengths = vectors.norm(dim=1)
        deviation = (lengths - 1).abs()
        valid = bool((deviation < 1e-6).all())
    if not valid:
        raise ValueError(f"orientations of shape {shape}: expected unit vectors (n, 3)")
    return vectors.clone()


def opposite(axes: torch.Tensor) -> torch.Tensor | None:
    """(n,) index of the axis opposite to each axis, None if some axis has no opposite.

    Parameters
    ----------
    axes:
        Unit vectors (n, 3).
    """
    if not len(axes):
        return None
    distance, partner = (axes[:, None] + axes).abs().amax(-1).min(1)  # (n, n, 3) -> (n,)
    return partner if bool(distance.max() < 1e-9) else None


def classes(axes: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
    """(n,) label per matrix: matrices with the same label rotate the axes to the same grid.

    The grid of a matrix Q is the set of Q^T o over the axes o. Two grids are the same if the sums
    of exp(2 o . v) over their points o agree to 1e-9 for two fixed vectors v. If the axes are
    unknown (NaN), each matrix has its own label.

    Parameters
    ----------
    axes:
        Unit vectors (O, 3).
    matrices:
        Orthogonal matrices (n, 3, 3).
    """
    if axes.isnan().any():
        return torch.arange(len(matrices), device=matrices.device)
    tolerance = 1e-9 * (1 + len(axes))
    labels = []
    for vector in SENTINELS:
        sums = []
        for part in torch.split(matrices, 4096):
            rotated = part @ part.new_tensor(vector)  # (part, 3), as Q^T o . v = o . Q v
            products = axes @ rotated.mT  # (O, part)
            sums.append((2 * products).exp().sum(0))
        values = torch.cat(sums)  # (n,)
        # In ascending order, a new label begins where the value jumps.
        order = torch.argsort(values)
        ascending = values[order]
        jumps = ascending.diff(prepend=ascending[:1]) > tolerance
        label = torch.empty_like(order)
        label[order] = jumps.cumsum(0)
        labels.append(label)
    # Pairs of labels (n, 2) are numbered.
    _, number = torch.unique(torch.stack(labels, 1), dim=0, return_inverse=True)
    return torch.as_tensor(number)


def _orbits(group: Callable[[], torch.Tensor], seeds: list[list[float]]) -> torch.Tensor:
    """(n, 3) different images of the seeds under the rotations of a group and the inversion."""
    elements = rotations.with_inversion(group()).numpy()
    points = np.concatenate([elements @ (np.array(seed) / np.linalg.norm(seed)) for seed in seeds])
    # The first of equal points is kept; + 0.0 turns -0.0 into 0.0.
    _, first = np.unique(points.round(9) + 0.0, axis=0, return_index=True)
    return torch.tensor(points[np.sort(first)])


def _fibonacci(n: int) -> torch.Tensor:
    """(n, 3) points at equal steps of height, consecutive ones rotated by the golden angle."""
    steps = torch.arange(n, dtype=torch.float64)
    height = 1 - (2 * steps + 1) / n
    angle = 2 * torch.pi * steps / GOLDEN**2
    radius = (1 - height**2).sqrt()
    return torch.stack([radius * angle.cos(), radius * angle.sin(), height], 1)


def _repulsion(n: int) -> torch.Tensor:
    """(n, 3) points of minimal Coulomb energy."""
    return _minimised(n, lambda points: points)


def _antipodal(n: int) -> torch.Tensor:
    """(n, 3) points of minimal Coulomb energy among n / 2 points followed by their opposites."""
    if n % 2:
        raise ValueError(f"`orientations` is 'antipodal:{n}': expected an even number of points")
    half = _minimised(n // 2, lambda points: torch.cat([points, -points]))
    return torch.cat([half, -half])


def _minimised(n: int, charges: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """(n, 3) unit vectors p that minimise the sum of 1 / distance over pairs of `charges(p)`.

    The search starts from random points with a fixed seed; it does not matter which of several
    minima it reaches. Source of the problem: J. J. Thomson, Phil. Mag. 7, 237 (1904).
    """
    generator = torch.Generator().manual_seed(n)
    points = torch.randn(n, 3, generator=generator, dtype=torch.float64).requires_grad_()
    search = torch.optim.LBFGS(
        [points],
        max_iter=2000,
        max_eval=4000,
        tolerance_grad=1e-12,
        tolerance_change=1e-16,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def energy() -> torch.Tensor:
        search.zero_grad()
        on_sphere = torch.nn.functional.normalize(points, dim=1)
        unit = charges(on_sphere)
        first, second = torch.triu_indices(len(unit), len(unit), 1)
        differences = unit[first] - unit[second]
        distances = differences.square().sum(-1).sqrt()
        # The energy does not depend on the lengths; this term keeps the search well conditioned.
        squared_lengths = points.square().sum(1)
        deviation = (squared_lengths - 1).square().sum()
        repulsion = (1 / distances).sum()
        total = repulsion + deviation
        total.backward()
        return total

    search.step(energy)
    return torch.nn.functional.normalize(points.detach(), dim=1)


def _given(n: int) -> torch.Tensor:
    return torch.full((n, 3), torch.nan, dtype=torch.float64)


NUMBERED: dict[str, Callable[[int], torch.Tensor]] = {
    "fibonacci": _fibonacci,
    "repulsion": _repulsion,
    "antipodal": _antipodal,
    "given": _given,
}
