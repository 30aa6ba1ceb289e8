"""Adaptive cutoffs: each atom shrinks its cutoff until about `target` neighbours are left.

a_i solves n_i(a) = target with the smooth count n_i(r) = sum_j bump(d_ij, r, width) + (a term that
keeps sparse environments at the full cutoff). Both methods are differentiable in the distances, so
forces stay exact. Arguments of both: distances (P,) A of the pairs, centre and neighbour (P,) of
each pair, n_atoms, cutoff A, target number of neighbours, width A. Both return (n_atoms,) cutoffs
in A. Equations: metatrain PET (BSD-3).
"""

import torch

from .cutoff import bump

FIRST_PROBE = 0.5  # A
PROBES_PER_WIDTH = 4
NEWTON_STEPS = 10


def grid(distances, centre, neighbour, n_atoms, cutoff, target, width):
    """Mean of probe cutoffs.

    Weighted by a Gaussian around the one where the count crosses the target.
    """
    step = width / PROBES_PER_WIDTH
    probes = torch.arange(FIRST_PROBE, cutoff, step, dtype=distances.dtype, device=distances.device)
    counts = _probe_counts(distances, centre, neighbour, n_atoms, probes, step, width)
    excess = (
        counts
        - target
        + target * torch.linspace(0, 1, len(probes), dtype=probes.dtype, device=probes.device) ** 3
    )
    slope = torch.cat(
        [
            excess[:, 1:2] - excess[:, :1],
            (excess[:, 2:] - excess[:, :-2]) / 2,
            excess[:, -1:] - excess[:, -2:-1],
        ],
        1,
    )
    weights = torch.softmax(-0.5 * (excess / slope.abs().clamp_min(1e-12)) ** 2, 1)
    return weights @ probes


def _probe_counts(distances, centre, neighbour, n_atoms, probes, step, width):
    """(n_atoms, n_probes) smooth counts.

    A pair is partial at four probes only, whole beyond and absent before.
    """
    n_probes = len(probes)
    first = torch.floor((distances.detach() - FIRST_PROBE) / step).long() + 1
    partial = first[:, None] + torch.arange(PROBES_PER_WIDTH, device=first.device)
    inside = (partial >= 0) & (partial < n_probes)
    clamped = partial.clamp(0, n_probes - 1)
    values = bump(distances[:, None], probes[clamped], width) * inside
    whole = (first + PROBES_PER_WIDTH).clamp(0, n_probes)
    counts = distances.new_zeros(n_atoms * n_probes)
    starts = distances.new_zeros(n_atoms * (n_probes + 1))
    ones = torch.ones_like(distances.detach())
    for atom in (centre, neighbour):
        counts = counts.index_add(
            0, (atom[:, None] * n_probes + clamped).flatten(), values.flatten()
        )
        starts = starts.index_add(0, atom * (n_probes + 1) + whole, ones)
    return counts.view(n_atoms, n_probes) + starts.view(n_atoms, n_probes + 1)[:, :-1].cumsum(1)


def solver(distances, centre, neighbour, n_atoms, cutoff, target, width):
    """Root of n(r) = target, n(r) = sum_j bump(d_ij, r, width) + target (r / cutoff)^3, by Newton
    within a bracket.

    The gradient comes from one Newton step on the converged root (implicit function theorem): first
    derivatives are exact, second derivatives with respect to positions are not.
    """

    def count(r, d):
        total = target * (r / cutoff) ** 3
        for atom in (centre, neighbour):
            total = total.index_add(0, atom, bump(d, r[atom], width))
        return total

    fixed = distances.detach()
    low, high = fixed.new_zeros(n_atoms), fixed.new_full((n_atoms,), cutoff)
    r = fixed.new_full((n_atoms,), cutoff / 2)
    for _ in range(NEWTON_STEPS):
        excess = count(r, fixed) - target
        low, high = torch.where(excess <= 0, r, low), torch.where(excess <= 0, high, r)
        newton = r - excess / _count_slope(r, fixed, centre, neighbour, cutoff, target, width)
        r = torch.where((newton >= low) & (newton <= high), newton, (low + high) / 2)
    slope = _count_slope(r, fixed, centre, neighbour, cutoff, target, width)
    return (r - (count(r, distances) - target) / slope).clamp(cutoff / 16, cutoff)


def _count_slope(r, distances, centre, neighbour, cutoff, target, width):
    total = 3 * target * r**2 / cutoff**3
    for atom in (centre, neighbour):
        x = (distances - (r[atom] - width)) / width
        active = (x > 1e-6) & (x < 1 - 1e-6)
        angle = torch.pi * torch.where(active, x, 0.5)
        slope = torch.pi / (2 * width) / (torch.cosh(1 / torch.tan(angle)) * torch.sin(angle)) ** 2
        total = total.index_add(0, atom, torch.where(active, slope, 0.0))
    return total.clamp_min(1e-6)


METHODS = {"grid": grid, "solver": solver}
