"""Environments that stand in where an atom has no usable frame: isolated, with one neighbour, or on a line.

No frame varies continuously through such an environment, so the energy must come from environments that do not depend
on orientation: for neighbour j, every vector v that the model sees goes onto the x axis at sign(v.u_j) L with
L = kappa |v| + (1 - kappa) cutoff, where kappa is 1 for v along the axis of j and 0 off it, where the edge leaves
smoothly at the cutoff. Exact for straight molecules; the network serves as its own auxiliary model.

    eps_aux = [sum_j a_j eps(P_j) + o eps(none)] / [sum_j a_j + o], a_j = f(r_j | R_out), o = 1 - step(sum_j a_j / w0)

Vectors and tensors are turned back to u_j: of a vector the part along x counts, (v_j . e_x) u_j, and of a tensor its
mean over turns about x and reflections that keep x. Without neighbours a vector is zero and a tensor a multiple of 1.
So they turn with the structure exactly and are as smooth as u_j: everywhere, since no r_j is zero.
"""

from dataclasses import dataclass

import torch

from ._frames import outer_cutoff, step

OFF_AXIS = (0.2, 0.3)  # kappa falls from 1 to 0 as the squared sine goes from the first to the sum of both


@dataclass(frozen=True)
class Lines:
    """Environments of the second kind, sorted by atom, the empty ones last.

    atom (m,), weights (m,) that add up to 1 for each atom that has any; directions (m, 3): u_j, zero for an empty one;
    has_axis (m,): whether it is not empty; cutoff in A.
    """

    atom: torch.Tensor
    weights: torch.Tensor
    directions: torch.Tensor
    has_axis: torch.Tensor
    cutoff: float


def lines(edges, wanted, cutoff, settings):
    """Lines of the atoms `wanted` (n,) bool. settings: `width` of the cutoff in A, `least_weight` w0."""
    inside = step((outer_cutoff(cutoff, settings) - edges.lengths) / settings.width) * wanted[edges.atom]
    total = edges.sum(inside, edges.atom)
    empty = (1 - step(total / settings.least_weight)) * wanted
    axis, alone = torch.nonzero(inside.detach() > 0)[:, 0], torch.nonzero(empty.detach() > 0)[:, 0]
    atom = torch.cat([edges.atom[axis], alone])
    return Lines(atom=atom, weights=torch.cat([inside[axis], empty[alone]]) / (total + empty)[atom],
                 directions=torch.cat([edges.directions[axis], edges.directions.new_zeros(len(alone), 3)]),
                 has_axis=torch.arange(len(atom), device=atom.device) < len(axis), cutoff=cutoff)


def on_axis(axis, vectors, cutoff):
    """(n, 3) vectors put onto the x axis that stands for the directions `axis` (n, 3)."""
    lengths = vectors.square().sum(-1).sqrt()
    directions = vectors / lengths[:, None]
    sine = torch.linalg.cross(axis, directions).square().sum(-1)
    along = 1 - step((sine - OFF_AXIS[0]) / OFF_AXIS[1])
    length = along * lengths + (1 - along) * cutoff
    side = torch.where((axis * directions).sum(-1) < 0, -length, length)
    return torch.stack([side, torch.zeros_like(side), torch.zeros_like(side)], -1)
