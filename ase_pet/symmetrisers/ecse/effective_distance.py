"""Effective distances of pairs of neighbours: few frames whose weights change slowly.

In the published form three steps follow each other where one pair of neighbours replaces another:
R_in, the radial factor, and the factor of the angle. Each is slow, their product is not, as a tail
of one is multiplied by a large factor of another. Here a pair has one number z in A, and its weight
is one step of z:

    z = v + c (1 - s^p) + g (1 - q)
    w = smooth_step((Z - z) / A) f(r_j) f(r_k) smooth_step((s - W + dW) / dW)

    v       SmoothMax(r_j, r_k): close pairs count
    s       |u_j x u_k|^2: right angles are nearer by c, `right_angle_distance`, with
            p = `right_angle_power`
    c       with `right_angle_reference`, r_0: c = `right_angle_distance` v / r_0
    q       smooth_step((s - W) / `collinear_width`): collinear pairs are farther by g,
            `collinear_distance`
    f       smooth_step((R_c - r) / D): 1 up to R_out = R_c - D, 0 beyond R_c
    A       `distance_window`

Z, the reach of an atom, is A plus a smooth minimum of z:

    Z = A + [sum p z exp(-beta z) + z_max exp(-beta z_max)]
            / [sum p exp(-beta z) + exp(-beta z_max)]
    p = smooth_step((R_out - r_j) / D) smooth_step((R_out - r_k) / D) smooth_step((s - W) / W_0)
    z_max = R_out + c + g, with c at v = R_out

An atom with a pair of s > W inside R_out has a total weight of 2 at least: such pairs have p > 0
and z <= z_max, so that Z - A, a mean of their z and z_max, is not below the least of their z. That
pair has w = 1, in either order.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .block_edges import BlockEdges, pairs, smooth_maximum, smooth_minimum, squared_sine
from .pair_weights import Pairs
from .settings import Settings
from .switching import smooth_step

ENTRY = 0.1  # W_0, width in the squared sine over which pairs enter the minimum
NEGLIGIBLE = 45.0  # exp(-45) = 3e-20 is below the rounding of a sum in float64


@dataclass(frozen=True)
class Distances:
    """Effective distances of pairs.

    Attributes
    ----------
    sine:
        Squared sine s (n_pairs,).
    effective:
        Effective distance z (n_pairs,) in A.
    weight:
        Weight p (n_pairs,) in the minimum.
    """

    sine: torch.Tensor
    effective: torch.Tensor
    weight: torch.Tensor


def close_pairs(edges: BlockEdges, outer: float, settings: Settings) -> Pairs:
    """Pairs of neighbours with their weights, and the reach Z of each atom.

    Parameters
    ----------
    edges:
        Edges of n atoms.
    outer:
        R_out in A.
    settings:
        Settings of the weights.
    """
    first, second = _relevant(edges, outer, settings)
    atom = edges.atom[first]
    distances = _distances(edges, first, second, outer, settings)
    reach = _reach(edges, distances, atom, outer, settings)
    within_reach = smooth_step(
        (reach[atom] - distances.effective) / settings.distance_window
    )  # (n_pairs,)
    radial = _radial(
        edges,
        outer + settings.width,
        settings.width,
    )  # f, (E,)
    width = settings.squared_sine_width
    threshold = settings.squared_sine - width
    angular = smooth_step((distances.sine - threshold) / width)  # (n_pairs,)
    weight = within_reach * angular
    weight = weight * radial[first]
    weight = weight * radial[second]
    return Pairs(
        first=first,
        second=second,
        weight=weight,
        # neighbours beyond the cutoff count in no pair
        inner_cutoff=reach.clamp(max=outer + settings.width),
    )


def _radial(edges: BlockEdges, cutoff: float, width: float) -> torch.Tensor:
    """Factors (E,) that fall to zero at a cutoff in A."""
    return smooth_step((cutoff - edges.lengths) / width)


def _distances(
    edges: BlockEdges,
    first: torch.Tensor,
    second: torch.Tensor,
    outer: float,
    settings: Settings,
) -> Distances:
    """Distances of pairs (n_pairs,) of edges."""
    # each (n_pairs,)
    sine = squared_sine(edges, first, second)
    larger = smooth_maximum(
        edges,
        first,
        second,
        settings.beta,
    )  # v
    above = sine - settings.squared_sine
    collinear = 1 - smooth_step(above / settings.collinear_width)  # 1 - q
    oblique = 1 - sine**settings.right_angle_power
    if settings.right_angle_reference is not None:
        oblique = oblique * larger / settings.right_angle_reference
    effective = larger
    effective = effective + settings.right_angle_distance * oblique
    effective = effective + settings.collinear_distance * collinear
    inside = _radial(edges, outer, settings.width)  # (E,)
    weight = smooth_step(above / ENTRY)
    weight = weight * inside[first]
    weight = weight * inside[second]
    return Distances(
        sine=sine,
        effective=effective,
        weight=weight,
    )


def _reach(
    edges: BlockEdges,
    distances: Distances,
    atom: torch.Tensor,
    outer: float,
    settings: Settings,
) -> torch.Tensor:
    """Z (n,) in A."""
    reference = settings.right_angle_reference
    growth = 1.0 if reference is None else outer / reference
    farthest = outer + settings.right_angle_distance * growth + settings.collinear_distance
    least = smooth_minimum(
        edges, distances.weight, distances.effective, atom, farthest, settings.beta
    )
    return least + settings.distance_window


@torch.no_grad()
def _relevant(
    edges: BlockEdges, outer: float, settings: Settings
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs that have a weight, or a part in the minimum that is not lost to rounding."""
    cutoff = outer + settings.width
    inside = torch.nonzero(edges.lengths < cutoff)[:, 0]
    first, second = pairs(
        inside,
        edges.atom[inside],
        edges.n_atoms,
    )
    atom = edges.atom[first]
    distances = _distances(edges, first, second, outer, settings)
    reach = _reach(edges, distances, atom, outer, settings)
    # -log of the part of a pair in the minimum
    exponent = settings.beta * distances.effective
    exponent = exponent - distances.weight.log()
    # that of the largest part of an atom, (n,)
    least = exponent.new_full((edges.n_atoms,), torch.inf)
    least = least.scatter_reduce(0, atom, exponent, "amin")
    has_part = exponent < least[atom] + NEGLIGIBLE
    has_weight = distances.effective < reach[atom]
    kept = torch.nonzero(has_part | has_weight)[:, 0]
    return first[kept], second[kept]
