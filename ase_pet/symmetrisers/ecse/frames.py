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

from .edges import ranges
from .pair_weights import order_shares, pair_weights, pruning_factors
from .settings import Settings
from .switching import smooth_step

GAP = 0.2784645427610738  # Lambert's W0(1/e): SmoothMax plus GAP / beta is never below the maximum


@dataclass(frozen=True)
class BlockEdges:
    """Edges within the cutoff of n atoms, sorted by atom.

    Attributes
    ----------
    vectors:
        Vectors (E, 3) in A from an atom to its neighbours.
    lengths:
        Their lengths (E,) in A.
    directions:
        Their directions (E, 3).
    atom:
        Atom (E,) of each edge, 0 .. n - 1.
    start:
        First edge (n,) of each atom.
    count:
        Number of edges (n,) of each atom.
    """

    vectors: torch.Tensor
    lengths: torch.Tensor
    directions: torch.Tensor
    atom: torch.Tensor
    start: torch.Tensor
    count: torch.Tensor

    @classmethod
    def from_vectors(
        cls, vectors: torch.Tensor, atom: torch.Tensor, count: torch.Tensor
    ) -> BlockEdges:
        """Edges with these vectors, which are sorted by atom.

        Parameters
        ----------
        vectors:
            Vectors (E, 3) in A.
        atom:
            Atom (E,) of each edge, 0 .. n - 1.
        count:
            Number of edges (n,) of each atom.
        """
        lengths = vectors.square().sum(-1).sqrt()
        return cls(
            vectors=vectors,
            lengths=lengths,
            directions=vectors / lengths[:, None],
            atom=atom,
            start=count.cumsum(0) - count,
            count=count,
        )

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.count)

    def sum(self, values: torch.Tensor, atom: torch.Tensor) -> torch.Tensor:
        """Sums (n,) over the values of each atom.

        Parameters
        ----------
        values:
            Values (m,).
        atom:
            Atom (m,) of each value.
        """
        return values.new_zeros(self.n_atoms).index_add(0, atom, values)


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
        R_in (n,) in A of each atom.
    total:
        Total weight (n,) of the frames of each atom.
    """

    axes: torch.Tensor
    weights: torch.Tensor
    atom: torch.Tensor
    inner_cutoff: torch.Tensor
    total: torch.Tensor


def pairs(
    edge: torch.Tensor, atom: torch.Tensor, n_atoms: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Unordered pairs of edges of the same atom: first and second edge of each, both (n_pairs,).

    Parameters
    ----------
    edge:
        Edges (m,), sorted by atom.
    atom:
        Atom (m,) of each.
    n_atoms:
        Number of atoms.
    """
    count = torch.bincount(atom, minlength=n_atoms)
    end = count.cumsum(0)[atom]
    # an edge is the first of the pairs with all later edges of its atom
    position = torch.arange(len(edge), device=edge.device)
    second, first = ranges(position + 1, end - position - 1)
    return edge[first], edge[second]


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
    return _smooth_minimum(edges, p, z, atom, outer, settings.beta) + settings.width


def _smooth_minimum(
    edges: BlockEdges,
    weight: torch.Tensor,
    value: torch.Tensor,
    atom: torch.Tensor,
    outer: float,
    beta: float,
) -> torch.Tensor:
    """Means (n,) of values z (n_pairs,) and of R_out, with weights p exp(-beta z)."""
    # Exponents are relative to the least z of an atom, which cancels in the quotient: no overflow.
    counted = torch.where(weight > 0, value, outer).detach()
    least = counted.new_full((edges.n_atoms,), outer)
    least = least.scatter_reduce(0, atom, counted, "amin")
    excess = value - least[atom]
    outer_excess = outer - least  # (n,)
    share = weight * torch.exp(-beta * excess)
    outer_share = torch.exp(-beta * outer_excess)
    pair_sum = edges.sum(share * value, atom)
    numerator = pair_sum + outer_share * outer
    denominator = edges.sum(share, atom) + outer_share
    return numerator / denominator


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
            kept = torch.nonzero(_squared_sine(edges, first, second) > settings.squared_sine)[:, 0]
        first = first[kept]
        second = second[kept]
    radial = smooth_step((outer - edges.lengths) / settings.width)  # (E,)
    weight = radial[first] * radial[second]
    squared_sine = _squared_sine(edges, first, second)
    angular_width = settings.gentle_width
    if angular_width is None:
        angular_width = settings.squared_sine_width
    angular = smooth_step((squared_sine - settings.squared_sine) / angular_width)  # q
    # SmoothMax of two lengths is their mean with weights exp(beta r)
    length = edges.lengths[first]
    difference = edges.lengths[second] - length
    smooth_maximum = length + difference * torch.sigmoid(beta * difference)
    value = smooth_maximum + GAP / beta  # v
    atom = edges.atom[first]
    if settings.gentle_width is None:
        return weight * angular, value, atom
    return weight, angular * value + (1 - angular) * outer, atom


def _squared_sine(edges: BlockEdges, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Squared sine (n_pairs,) of the angle between two edges.

    From the cross product, as 1 - cos^2 loses digits.
    """
    normal: torch.Tensor = torch.linalg.cross(edges.directions[first], edges.directions[second])
    return normal.square().sum(-1)


def pair_frames(edges: BlockEdges, outer: float, settings: Settings) -> Frames:
    """Frames of all ordered pairs (j, k) of neighbours with a weight above zero.

        w_jk = f(r_j | R_in) f(r_k | R_in) q(s_jk)

        e1 = u_j,     e2 = u_j x u_k / |u_j x u_k|,     e3 = e1 x e2

    with q and two optional factors as in `pair_weights`. An atom with a pair of s > W inside R_out
    has a total weight of 2 at least.

    Parameters
    ----------
    edges:
        Edges of n atoms.
    outer:
        R_out in A.
    settings:
        Settings of the weights.
    """
    inner = inner_cutoff(edges, outer, settings)
    margin = inner[edges.atom] - edges.lengths
    inside = torch.nonzero(margin.detach() > 0)[:, 0]
    first, second = pairs(inside, edges.atom[inside], edges.n_atoms)
    u_j = edges.directions[first]
    u_k = edges.directions[second]
    normal = torch.linalg.cross(u_j, u_k)  # (n_pairs, 3)
    weight = pair_weights(margin, normal, first, second, settings)
    if settings.pruning is not None:
        weight = weight * pruning_factors(
            weight, edges.atom[first], edges.n_atoms, settings.pruning, settings.pruning_width
        )

    # only pairs of nonzero weight, whose normals are far from zero
    kept = torch.nonzero(weight.detach() > 0)[:, 0]
    weight = weight[kept]
    first = first[kept]
    second = second[kept]
    axes = _axes(u_j[kept], u_k[kept], normal[kept])
    # of the ordered pairs (j, k) and (k, j)
    shares = order_shares(edges.lengths[first], edges.lengths[second], settings.order_width)
    ordered = (weight[:, None] * shares).flatten()  # (2 n_pairs,)
    counted = torch.nonzero(ordered.detach() > 0)[:, 0]
    atom = edges.atom[first]
    return Frames(
        axes=axes.flatten(0, 1)[counted],
        weights=ordered[counted],
        atom=atom.repeat_interleave(2)[counted],
        inner_cutoff=inner,
        total=2 * edges.sum(weight, atom),
    )


def _axes(u_j: torch.Tensor, u_k: torch.Tensor, normal: torch.Tensor) -> torch.Tensor:
    """Axes (n_pairs, 2, 3, 3) of the ordered pairs (j, k) and (k, j), as columns."""
    e2 = normal / normal.square().sum(-1, keepdim=True).sqrt()
    of_jk = torch.stack([u_j, e2, torch.linalg.cross(u_j, e2)], -1)
    of_kj = torch.stack([u_k, -e2, torch.linalg.cross(e2, u_k)], -1)
    return torch.stack([of_jk, of_kj], 1)
