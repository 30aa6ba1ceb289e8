"""Weights of pairs of neighbours: how many frames count, and how smoothly they come and go.

For neighbours j, k at distances r_j, r_k, with s = |u_j x u_k|^2:

    w_jk = f(r_j | R_in) f(r_k | R_in) q(s),     q(s) = smooth_step(x) h,     x = (s - W + dW) / dW

    h = x               with `linear_factor`, the published form
    h = 1               without either

Optional factors leave out frames without a jump:

    pruning     smooth_step((w / M - `pruning`) / `pruning_width`)
                M = sum w^3 / sum w^2 over the pairs of an atom, a smooth maximum
    order       2 smooth_step((r_k - r_j) / (2 delta) + 1/2), delta = `order_width`: of the ordered
                pairs (j, k) and (k, j), the one whose nearer neighbour is first counts more

The compact form has other weights, see `effective_distance`, and the same optional factors.

For s > W inside R_in - D, w is 1 at least in every form. No factor changes that for the largest
weight of an atom, so the total of an atom with such a pair is 2 at least.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .settings import Settings
from .switching import smooth_step

TINY = 1e-100  # keeps the denominators of `pruning_factors` above zero


@dataclass(frozen=True)
class Pairs:
    """Pairs of edges of n atoms.

    Attributes
    ----------
    first:
        First edge (n_pairs,) of each.
    second:
        Second edge (n_pairs,) of each.
    weight:
        Weight (n_pairs,) of each.
    inner_cutoff:
        R_in (n,) in A of each atom.
    """

    first: torch.Tensor
    second: torch.Tensor
    weight: torch.Tensor
    inner_cutoff: torch.Tensor


def pair_weights(
    margin: torch.Tensor,
    sine: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
    settings: Settings,
) -> torch.Tensor:
    """Weights w_jk (n_pairs,), before pruning.

    Parameters
    ----------
    margin:
        R_in - r (E,) in A of the edges.
    sine:
        Squared sines s (n_pairs,).
    first:
        First edge (n_pairs,) of each pair.
    second:
        Second edge (n_pairs,) of each pair.
    settings:
        Settings of the weights.
    """
    radial = smooth_step(margin / settings.width)  # f, (E,)
    threshold = settings.squared_sine - settings.squared_sine_width
    x = (sine - threshold) / settings.squared_sine_width
    weight = radial[first] * radial[second] * smooth_step(x)
    if settings.linear_factor:
        return weight * x
    return weight


def pruning_factors(
    weight: torch.Tensor,
    atom: torch.Tensor,
    n_atoms: int,
    threshold: float,
    width: float,
) -> torch.Tensor:
    """Factors (n_pairs,) on the weights of pairs, zero for small weights of an atom.

    M is a weighted mean of the weights, so not above the largest, whose factor is 1 where threshold
    + width is 1 at most.

    Parameters
    ----------
    weight:
        Weights (n_pairs,).
    atom:
        Atom (n_pairs,) of each pair, 0 .. n_atoms - 1.
    n_atoms:
        Number of atoms.
    threshold:
        Fraction of M up to which weights become zero.
    width:
        Width in that fraction over which the factor rises to 1.
    """
    none = weight.new_zeros(n_atoms)
    squares = none.index_add(0, atom, weight.square())
    cubes = none.index_add(0, atom, weight.pow(3))
    largest = cubes / squares.clamp_min(TINY)  # M, (n_atoms,)
    relative = weight / largest[atom].clamp_min(TINY)
    return smooth_step((relative - threshold) / width)


def order_shares(
    first_length: torch.Tensor, second_length: torch.Tensor, width: float | None
) -> torch.Tensor:
    """Factors (n_pairs, 2) on the weights of the ordered pairs (j, k) and (k, j); their sum is 2.

    Parameters
    ----------
    first_length:
        Distances r_j (n_pairs,) in A.
    second_length:
        Distances r_k (n_pairs,) in A.
    width:
        delta in A, the difference of distances from which on one order alone counts; None where
        both count.
    """
    if width is None:
        return torch.ones_like(torch.stack([first_length, second_length], 1))
    t = (second_length - first_length) / (2 * width) + 0.5
    share = 2 * smooth_step(t)
    return torch.stack([share, 2 - share], 1)
