"""Adaptive cutoffs: each atom shrinks its cutoff until about `target` neighbours are within it.

The cutoff a_i of an atom solves n_i(a_i) = target with a smooth count n_i(r) = sum_j bump(d_ij, r,
width) + (a term that keeps sparse environments at the full cutoff). Both methods are differentiable
in the distances, so forces stay exact. Equations: metatrain PET (BSD-3).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch

from ..graph import Graph
from .cutoff import bump, distances_of

FIRST_PROBE = 0.5  # A
PROBES_PER_WIDTH = 4
NEWTON_STEPS = 10


def grid(
    distances: torch.Tensor,
    centre: torch.Tensor,
    neighbour: torch.Tensor | None,
    n_atoms: int,
    cutoff: float,
    target: float,
    width: float,
) -> torch.Tensor:
    """Cutoffs (n_atoms,) in A: means of probe radii, with a Gaussian weight of their count.

    With probes r_k from 0 (k = 0) to the cutoff (k = K), x_k = n(r_k) - target + target (k / K)^3
    and its slope s_k by central differences,

        a = sum_k r_k softmax_k(-(x_k / s_k)^2 / 2)

    Parameters
    ----------
    distances:
        Distances (P,) of pairs in A.
    centre, neighbour:
        Atoms (P,) of each pair; neighbour is None where pairs are directed edges of their centre.
    n_atoms:
        Number of atoms.
    cutoff:
        Largest cutoff in A.
    target:
        Number of neighbours.
    width:
        Width in A over which a neighbour is counted partially.
    """
    probes = _probes(cutoff, target, width, distances.dtype, distances.device)
    counts = _probe_counts(distances, centre, neighbour, n_atoms, probes, width)
    excess = counts + probes.offset  # (n_atoms, n_probes)
    slope = (excess @ probes.differences).abs().clamp_min(1e-12)
    deviation = excess / slope
    weights = torch.softmax(-0.5 * deviation**2, 1)
    return weights @ probes.radii


class Probes(NamedTuple):
    """K probe radii and what else is the same for all structures.

    Attributes
    ----------
    radii:
        Radii r_k (K,) in A.
    padded:
        The same between margins (4 + K + 4,) whose values are of no importance.
    columns:
        Columns (4,) of the first four probes in `padded`.
    offset:
        target (k / K)^3 - target, (K,).
    differences:
        Matrix (K, K) whose product with a row of values is the row of their central differences,
        which are one-sided at both ends.
    """

    radii: torch.Tensor
    padded: torch.Tensor
    columns: torch.Tensor
    offset: torch.Tensor
    differences: torch.Tensor


@functools.lru_cache(maxsize=64)
def _probes(
    cutoff: float, target: float, width: float, dtype: torch.dtype, device: torch.device
) -> Probes:
    """Probes up to a cutoff in A; arguments are those of `grid`."""
    spacing = width / PROBES_PER_WIDTH
    with torch.inference_mode(False):
        radii = torch.arange(FIRST_PROBE, cutoff, spacing, dtype=dtype, device=device)
        n_probes = len(radii)
        margin = radii.new_zeros(PROBES_PER_WIDTH)
        ramp = torch.linspace(0, 1, n_probes, dtype=dtype, device=device)
        identity = torch.eye(n_probes, dtype=dtype, device=device)
        (differences,) = torch.gradient(identity, dim=1)
        return Probes(
            radii=radii,
            padded=torch.cat([margin, radii, margin]),
            columns=torch.arange(PROBES_PER_WIDTH, 2 * PROBES_PER_WIDTH, device=device),
            offset=target * ramp**3 - target,
            differences=differences,
        )


def _counting(centre: torch.Tensor, neighbour: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
    """Atoms (P,) that count each pair: both of its atoms, or its centre only."""
    return (centre,) if neighbour is None else (centre, neighbour)


def _probe_counts(
    distances: torch.Tensor,
    centre: torch.Tensor,
    neighbour: torch.Tensor | None,
    n_atoms: int,
    probes: Probes,
    width: float,
) -> torch.Tensor:
    """Smooth counts (n_atoms, n_probes) of neighbours within each probe radius.

    The weight of a pair is between 0 and 1 at four probes only, 0 at smaller and 1 at larger ones.
    """
    n_probes = len(probes.radii)
    margin = PROBES_PER_WIDTH  # columns on both sides, so that all pairs have four such probes
    n_columns = n_probes + 2 * margin
    fixed = distances.detach()
    first = torch.floor((fixed - FIRST_PROBE) / (width / PROBES_PER_WIDTH))
    first = first.long() + 1  # (P,) first partial probe
    first = first.clamp(-margin, n_probes)
    partial = first[:, None] + probes.columns  # (P, 4) columns of the partial probes
    values = bump(distances[:, None], probes.padded[partial], width)  # (P, 4)
    complete = (first + margin).clamp_max(n_probes)  # (P,) first probe with weight 1
    ones = torch.ones_like(fixed)
    counts = distances.new_zeros(n_atoms * n_columns)
    starts = distances.new_zeros(n_atoms * (n_probes + 1))  # n_probes: the pair is beyond all
    for atom in _counting(centre, neighbour):
        column = atom[:, None] * n_columns + partial
        counts = counts.index_add(0, column.flatten(), values.flatten())
        start = atom * (n_probes + 1) + complete
        starts = starts.index_add(0, start, ones)
    counts = counts.view(n_atoms, n_columns)[:, margin:-margin]
    starts = starts.view(n_atoms, n_probes + 1)[:, :-1]
    return counts + starts.cumsum(1)


def solver(
    distances: torch.Tensor,
    centre: torch.Tensor,
    neighbour: torch.Tensor | None,
    n_atoms: int,
    cutoff: float,
    target: float,
    width: float,
) -> torch.Tensor:
    """Cutoffs (n_atoms,) in A: roots of n(r) = target by Newton steps within a bracket.

        n(r) = sum_j bump(d_ij, r, width) + target (r / cutoff)^3

    The gradient comes from one Newton step on the converged root (implicit function theorem): first
    derivatives are exact, second derivatives with respect to positions are not.

    Parameters
    ----------
    distances:
        Distances (P,) of pairs in A.
    centre, neighbour:
        Atoms (P,) of each pair; neighbour is None where pairs are directed edges of their centre.
    n_atoms:
        Number of atoms.
    cutoff:
        Largest cutoff in A.
    target:
        Number of neighbours.
    width:
        Width in A over which a neighbour is counted partially.
    """

    def excess(r: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
        total = target * (r / cutoff) ** 3
        for atom in _counting(centre, neighbour):
            total = total.index_add(0, atom, bump(d, r[atom], width))
        return total - target

    def slope(r: torch.Tensor) -> torch.Tensor:
        return _count_slope(r, fixed, centre, neighbour, cutoff, target, width)

    fixed = distances.detach()
    low = fixed.new_zeros(n_atoms)
    high = fixed.new_full((n_atoms,), cutoff)
    r = fixed.new_full((n_atoms,), cutoff / 2)
    for _ in range(NEWTON_STEPS):
        value = excess(r, fixed)
        is_below = value <= 0
        low = torch.where(is_below, r, low)
        high = torch.where(is_below, high, r)
        newton = r - value / slope(r)
        in_bracket = (newton >= low) & (newton <= high)
        r = torch.where(in_bracket, newton, (low + high) / 2)
    # the value is 0, its derivative with respect to the distances is not
    r = r - excess(r, distances) / slope(r)
    return r.clamp(cutoff / 16, cutoff)


def _count_slope(
    r: torch.Tensor,
    distances: torch.Tensor,
    centre: torch.Tensor,
    neighbour: torch.Tensor | None,
    cutoff: float,
    target: float,
    width: float,
) -> torch.Tensor:
    """Derivative (n_atoms,) of the count of `solver` with respect to r, in 1/A."""
    total = 3 * target * r**2 / cutoff**3
    for atom in _counting(centre, neighbour):
        start = r[atom] - width
        x = (distances - start) / width
        is_partial = (x > 1e-6) & (x < 1 - 1e-6)
        # 0.5 where the slope is 0 keeps the formula finite
        angle = torch.pi * torch.where(is_partial, x, 0.5)
        cosh = torch.cosh(1 / torch.tan(angle))
        denominator = cosh * torch.sin(angle)
        slope = torch.pi / (2 * width) / denominator**2
        slope = torch.where(is_partial, slope, 0.0)
        total = total.index_add(0, atom, slope)
    return total.clamp_min(1e-6)


def pair_cutoffs(atom_cutoffs: torch.Tensor, graph: Graph) -> torch.Tensor:
    """Cutoff (P,) of each pair in A, the mean of the cutoffs of its atoms.

    Parameters
    ----------
    atom_cutoffs:
        Cutoffs (n_atoms,) in A.
    graph:
        Structures with P pairs.
    """
    of_centre = atom_cutoffs.index_select(0, graph.pair_centre)
    if graph.one_sided:
        of_neighbour = graph.partner(of_centre)
    else:
        of_neighbour = atom_cutoffs.index_select(0, graph.pair_neighbour)
    return (of_centre + of_neighbour) / 2


METHODS = {"grid": grid, "solver": solver}


def adaptive_pairs(
    graph: Graph, *, cutoff: float, target: float | None, width: float, method: str
) -> tuple[Graph, float | torch.Tensor]:
    """Graph with the pairs within their cutoffs, padded, and these cutoffs in A.

    The cutoffs are one number where they do not adapt, else one per pair (P,).

    Parameters
    ----------
    graph:
        Structures with all pairs within `cutoff`.
    cutoff:
        Largest cutoff in A.
    target:
        Number of neighbours, or None for the same cutoff everywhere.
    width:
        Width in A over which a neighbour is counted partially.
    method:
        Name of the method, one of `METHODS`.

    """
    # `filled` pads to a round number of pairs, with pairs beyond the cutoff, which have no effect
    length_of_padding = 2 * cutoff
    if target is None:
        # where lengths are kept from step to step, the pairs are padded already
        return (graph.filled(length_of_padding) if graph.room is None else graph), cutoff
    distances = distances_of(graph)  # (P,)
    atom_cutoffs = METHODS[method](
        distances=distances,
        centre=graph.pair_centre,
        neighbour=None if graph.one_sided else graph.pair_neighbour,
        n_atoms=graph.n_atoms,
        cutoff=cutoff,
        target=target,
        width=width,
    )  # (n_atoms,)
    is_within = distances <= pair_cutoffs(atom_cutoffs, graph)
    if graph.one_sided:  # another process may round the distance of the partner to the other side
        is_within = is_within & graph.partner(is_within)
    graph = graph.select_where(is_within, "adaptive pairs", length_of_padding)
    return graph, pair_cutoffs(atom_cutoffs, graph)
