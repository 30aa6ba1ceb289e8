"""Frames of ECSE: an adaptive inner cutoff, weights of pairs of neighbours, a frame of each pair.

Source: S. Pozdnyakov and M. Ceriotti, NeurIPS 2023, arXiv:2305.19302, here atom by atom.

    r_j, u_j    distance and direction of neighbour j
    s_jk        squared sine |u_j x u_k|^2
    R_out       `outer_cutoff`
    D           `width`
    beta        `beta`
    W, dW       `squared_sine`, `squared_sine_width`

All quantities are float64. Those of edges are sorted by atom.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .block_edges import BlockEdges, pairs, smooth_maximum, smooth_minimum, squared_sine
from .effective_distance import close_pairs
from .pair_weights import Pairs, order_shares, pair_weights, pruning_factors
from .settings import Settings
from .switching import smooth_step

GAP = 0.2784645427610738  # Lambert's W0(1/e): SmoothMax plus GAP / beta is never below the maximum


@dataclass(frozen=True)
class Frames:
    """Frames of n atoms, sorted by atom.

    Attributes
    ----------
    axes:
        Axes (n_frames, 3, 3), e1, e2 and e3 as columns.
    weights:
        Weight (n_frames,) of each frame, above zero.
    atom:
        Atom (n_frames,) of each frame, 0 .. n - 1.
    inner_cutoff:
        R_in (n,) in A of each atom; in the compact form the reach Z, or the cutoff.
    total:
        Total weight (n,) of the frames of each atom.
    """

    axes: torch.Tensor
    weights: torch.Tensor
    atom: torch.Tensor
    inner_cutoff: torch.Tensor
    total: torch.Tensor


def outer_cutoff(cutoff: float, settings: Settings) -> float:
    """R_out in A, beyond which no pair changes R_in.

    The cutoff - D, and in the gentle form smaller by GAP / beta.

    Parameters
    ----------
    cutoff:
        Cutoff of the model in A.
    settings:
        Settings of the weights.
    """
    outer = cutoff - settings.width
    if settings.gentle_width is None:
        return outer
    return outer - GAP / settings.beta


def inner_cutoff(edges: BlockEdges, outer: float, settings: Settings) -> torch.Tensor:
    """R_in (n,) in A: D plus a smooth minimum over R_out and pairs that are not collinear.

        R_in = D + [sum p z exp(-beta z) + R_out exp(-beta R_out)]
                   / [sum p exp(-beta z) + exp(-beta R_out)]

    over pairs j, k of neighbours, with

        v = SmoothMax(r_j, r_k) + GAP / beta >= max(r_j, r_k)

        published   p = f(r_j) f(r_k) q
                    z = v
                    q = smooth_step((s - W) / dW)

        gentle      p = f(r_j) f(r_k)
                    z = q v + (1 - q) R_out
                    q = smooth_step((s - W) / `gentle_width`)

    A pair that is much closer than the others determines the published minimum as soon as
    q exp(beta (difference of v)) is 1, while its q is tiny; z follows q instead, so that R_in
    changes over the whole width.

    An atom with a pair of s > W inside R_out has a total weight of 2 at least, in either form:

    1. R_in - D is a weighted mean of R_out and of all z with p > 0, so not below the least of them.
    2. If that is R_out, all pairs inside R_out are inside R_in - D, and the one of s > W has its
       full weight.
    3. If it is the z of a pair, z < R_out, then q > 0, so s > W, and z >= v >= r_j, r_k: this pair
       is inside R_in - D and has its full weight.

    And z <= max(v, R_out) <= R_out + GAP / beta, so that

        R_in <= R_out + D + GAP / beta,

    which is the cutoff in the gentle form; in the published one p is tiny where v is above R_out.

    Parameters
    ----------
    edges:
        Edges of n atoms.
    outer:
        R_out in A.
    settings:
        Settings of the weights.
    """
    inside = torch.nonzero(edges.lengths.detach() < outer)[:, 0]
    p, z, atom = _minimum_terms(edges, inside, outer, settings)  # each (n_pairs,)
    return smooth_minimum(edges, p, z, atom, outer, settings.beta) + settings.width


def _minimum_terms(
    edges: BlockEdges, inside: torch.Tensor, outer: float, settings: Settings
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Weight p, z in A and atom, each (n_pairs,), of the pairs of the edges `inside` R_out.

    In the published form only those of p > 0.
    """
    beta = settings.beta
    first, second = pairs(inside, edges.atom[inside], edges.n_atoms)
    if settings.gentle_width is None:
        with torch.no_grad():
            kept = torch.nonzero(squared_sine(edges, first, second) > settings.squared_sine)[:, 0]
        first = first[kept]
        second = second[kept]
    radial = smooth_step((outer - edges.lengths) / settings.width)  # (E,)
    weight = radial[first] * radial[second]
    sine = squared_sine(edges, first, second)
    angular_width = settings.gentle_width
    if angular_width is None:
        angular_width = settings.squared_sine_width
    angular = smooth_step((sine - settings.squared_sine) / angular_width)  # q
    value = smooth_maximum(edges, first, second, beta) + GAP / beta  # v
    atom = edges.atom[first]
    if settings.gentle_width is None:
        return weight * angular, value, atom
    return weight, angular * value + (1 - angular) * outer, atom


def pair_frames(edges: BlockEdges, outer: float, settings: Settings) -> Frames:
    """Frames of all ordered pairs (j, k) of neighbours with a weight above zero.

        e1 = u_j,     e2 = u_j x u_k / |u_j x u_k|,     e3 = e1 x e2

    Weights w_jk are those of `close_pairs` in the compact form, of `pair_weights` with R_in of
    `inner_cutoff` in the others. An atom with a pair of s > W inside R_out has a total weight of 2
    at least.

    Parameters
    ----------
    edges:
        Edges of n atoms.
    outer:
        R_out in A.
    settings:
        Settings of the weights.
    """
    if settings.effective_distance:
        weighted = close_pairs(edges, outer, settings)
    else:
        weighted = _pairs_inside(edges, outer, settings)
    first = weighted.first
    second = weighted.second
    weight = weighted.weight
    if settings.pruning is not None:
        weight = weight * pruning_factors(
            weight, edges.atom[first], edges.n_atoms, settings.pruning, settings.pruning_width
        )

    # only pairs of nonzero weight, whose normals are far from zero
    kept = torch.nonzero(weight.detach() > 0)[:, 0]
    weight = weight[kept]
    first = first[kept]
    second = second[kept]
    axes = _axes(edges.directions[first], edges.directions[second])
    # of the ordered pairs (j, k) and (k, j)
    shares = order_shares(edges.lengths[first], edges.lengths[second], settings.order_width)
    ordered = (weight[:, None] * shares).flatten()  # (2 n_pairs,)
    counted = torch.nonzero(ordered.detach() > 0)[:, 0]
    atom = edges.atom[first]
    return Frames(
        axes=axes.flatten(0, 1)[counted],
        weights=ordered[counted],
        atom=atom.repeat_interleave(2)[counted],
        inner_cutoff=weighted.inner_cutoff,
        total=2 * edges.sum(weight, atom),
    )


def _pairs_inside(edges: BlockEdges, outer: float, settings: Settings) -> Pairs:
    """Pairs of neighbours inside R_in, with their weights before pruning."""
    inner = inner_cutoff(edges, outer, settings)
    # R_in - r, (E,)
    margin = inner[edges.atom] - edges.lengths
    inside = torch.nonzero(margin.detach() > 0)[:, 0]
    first, second = pairs(
        inside,
        edges.atom[inside],
        edges.n_atoms,
    )
    sine = squared_sine(edges, first, second)
    weight = pair_weights(
        margin,
        sine,
        first,
        second,
        settings,
    )
    return Pairs(
        first=first,
        second=second,
        weight=weight,
        inner_cutoff=inner,
    )


def _axes(u_j: torch.Tensor, u_k: torch.Tensor) -> torch.Tensor:
    """Axes (n_pairs, 2, 3, 3) of the ordered pairs (j, k) and (k, j), as columns."""
    # each (n_pairs, 3)
    normal = torch.linalg.cross(u_j, u_k)
    length = normal.square().sum(-1, keepdim=True).sqrt()
    e2 = normal / length
    third_jk = torch.linalg.cross(u_j, e2)
    third_kj = torch.linalg.cross(e2, u_k)
    of_jk = torch.stack([u_j, e2, third_jk], -1)
    of_kj = torch.stack([u_k, -e2, third_kj], -1)
    return torch.stack([of_jk, of_kj], 1)
