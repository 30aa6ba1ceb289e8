"""Environments that stand in where an atom has no usable frame: isolated, with one neighbour, or on
a line.

No frame varies continuously through such an environment, so the energy must come from environments
that do not depend on orientation: for neighbour j, every vector v that the model sees goes onto the
x axis at sign(v.u_j) L with L = kappa |v| + (1 - kappa) cutoff, where kappa is 1 for v along the
axis of j and 0 off it, where the edge leaves smoothly at the cutoff. Exact for straight molecules;
the network serves as its own auxiliary model.

    eps_aux = [sum_j a_j eps(P_j) + o eps(none)] / [sum_j a_j + o], a_j = f(r_j | R_out), o = 1 -
    step(sum_j a_j / w0)

Vectors and tensors are turned back to u_j: of a vector the part along x counts, (v_j . e_x) u_j,
and of a tensor its mean over turns about x and reflections that keep x. Without neighbours a vector
is zero and a tensor a multiple of 1. So they turn with the structure exactly and are as smooth as
u_j: everywhere, since no r_j is zero.

Straight environments have another energy than those that are slightly bent, and ECSE goes from one
to the other where a molecule begins to bend. With `turns` environments keep their shape, and
eps(P_j) is the mean over so many turns about u_j:

    v -> lambda v + (1 - lambda) sign(v.u_j) L u_j, seen along [u_j, e2, e3] turned by 2 pi n /
    turns, n = 0 ... turns - 1

where lambda is 1 near the axis of j and 0 beyond. The directions e2 and e3 are any across u_j: what
depends on them is of the order sin^turns of the angles to the axis: for 16 turns, and angles at
which these environments count, rounding. They cost `turns` times as much, with mirror images twice
that.
"""

import math
from dataclasses import dataclass

import torch

from ._frames import outer_cutoff, step

OFF_AXIS = (
    0.2,
    0.3,
)  # kappa falls from 1 to 0 as the squared sine goes from the first to the sum of both
BENT = (0.12, 0.08)  # the same of lambda


@dataclass(frozen=True)
class Lines:
    """Environments of the second kind, sorted by atom, the empty ones last.

    atom (m,), weights (m,) that add up to 1 for each atom that has any; directions (m, 3): u_j,
    zero for an empty one;
    has_axis (m,): whether it is not empty; cutoff in A.
    """

    atom: torch.Tensor
    weights: torch.Tensor
    directions: torch.Tensor
    has_axis: torch.Tensor
    cutoff: float


def lines(edges, wanted, cutoff, settings):
    """Lines of the atoms `wanted` (n,) bool. settings.

    `width` of the cutoff in A, `least_weight` w0.
    """
    inside = (
        step((outer_cutoff(cutoff, settings) - edges.lengths) / settings.width) * wanted[edges.atom]
    )
    total = edges.sum(inside, edges.atom)
    empty = (1 - step(total / settings.least_weight)) * wanted
    axis, alone = torch.nonzero(inside.detach() > 0)[:, 0], torch.nonzero(empty.detach() > 0)[:, 0]
    atom = torch.cat([edges.atom[axis], alone])
    return Lines(
        atom=atom,
        weights=torch.cat([inside[axis], empty[alone]]) / (total + empty)[atom],
        directions=torch.cat([edges.directions[axis], edges.directions.new_zeros(len(alone), 3)]),
        has_axis=torch.arange(len(atom), device=atom.device) < len(axis),
        cutoff=cutoff,
    )


def seen(lines, line, vectors, turns):
    """Vectors (m, 3) of lines (m,) as the model sees them.

    Along x, or for `turns` in the axes of the structure.
    """
    axis = lines.directions[line]
    lengths = vectors.square().sum(-1).sqrt()
    directions = vectors / lengths[:, None]
    sine = torch.linalg.cross(axis, directions).square().sum(-1)
    along = 1 - step((sine - OFF_AXIS[0]) / OFF_AXIS[1])
    length = along * lengths + (1 - along) * lines.cutoff
    side = torch.where((axis * directions).sum(-1) < 0, -length, length)
    if turns is None:
        return torch.stack([side, torch.zeros_like(side), torch.zeros_like(side)], -1)
    bent = (1 - step((sine - BENT[0]) / BENT[1]))[:, None]
    return bent * vectors + (1 - bent) * side[:, None] * axis


def views(lines, turns, hands):
    """How lines are seen: line (k,), axes (k, 3, 3), B of `_readings` (k, 3, 3) and share (k,) of
    each view.

    hands (h, 3): signs of the axes of a frame and of its mirror image. Straight environments have
    one view.
    """
    n = len(lines.atom)
    straight = torch.eye(3, dtype=lines.directions.dtype, device=lines.directions.device).expand(
        n, 3, 3
    )
    along = torch.cat([lines.directions[:, :, None], torch.zeros_like(straight[:, :, 1:])], 2)
    if turns is None:
        return torch.arange(n, device=straight.device), straight, along, lines.weights.new_ones(n)
    axes = (_turned(lines.directions[lines.has_axis], turns)[:, :, None] * hands[:, None]).flatten(
        1, 2
    )
    count = axes.shape[1]
    empty = ~lines.has_axis
    line = torch.cat(
        [torch.nonzero(lines.has_axis)[:, 0].repeat_interleave(count), torch.nonzero(empty)[:, 0]]
    )
    axes, empty = axes.flatten(0, 1), (straight[empty], along[empty])
    share = torch.where(lines.has_axis, 1 / count, 1.0).to(axes.dtype)[line]
    return line, torch.cat([axes, empty[0]]), torch.cat([axes, empty[1]]), share


def _turned(directions, turns):
    """(n, turns, 3, 3) frames with e1 along directions (n.

    3) and e2 at so many equal angles about it.
    """
    least = directions.detach().abs().argmin(1)
    other = torch.linalg.cross(
        directions, torch.nn.functional.one_hot(least, 3).to(directions.dtype)
    )
    other = other / other.square().sum(-1, keepdim=True).sqrt()
    third = torch.linalg.cross(directions, other)
    angle = (
        2
        * math.pi
        / turns
        * torch.arange(turns, dtype=directions.dtype, device=directions.device)[:, None]
    )
    second = angle.cos() * other[:, None] + angle.sin() * third[:, None]
    first = directions[:, None].expand_as(second)
    return torch.stack([first, second, torch.linalg.cross(first, second)], -1)
