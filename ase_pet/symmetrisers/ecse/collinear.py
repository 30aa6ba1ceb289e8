"""Collinear environments, of atoms without a usable frame: isolated, or with collinear neighbours.

No frame varies continuously through such an environment, so its energy must come from environments
that do not depend on the orientation. For neighbour j, P_j projects every vector v that the model
depends on onto the x axis:

    P_j v = sign(v . u_j) L e_x
    L = kappa |v| + (1 - kappa) cutoff

where kappa is 1 for v along the axis u_j, and 0 off it, where the edge vanishes smoothly at the
cutoff. This is exact for linear molecules. The published code needs a second, auxiliary model here,
so that the weight of collinear environments is w_aux in formulas. Here it is the network itself:

    eps_aux = [sum_j a_j eps(P_j) + o eps(isolated atom)] / [sum_j a_j + o]
    a_j = f(r_j | R_out)
    o = 1 - smooth_step(sum_j a_j / w0)

Vectors and tensors are rotated back to u_j: of a vector the component along x, (v_j . e_x) u_j, and
of a tensor its mean over rotations about x and reflections that keep x. Without neighbours a vector
is zero and a tensor a multiple of 1. They rotate with the structure exactly, and they are as smooth
as u_j: everywhere, since no r_j is zero.

Projected environments have another energy than those that are slightly bent, and ECSE interpolates
between both where a molecule begins to bend. With `n_azimuthal` = N, nearly collinear environments
keep their shape, and eps(P_j) is the mean over N rotations about u_j:

    v -> lambda v + (1 - lambda) sign(v . u_j) L u_j,   with the length lambda |v| + (1 - lambda) L
    in the axes [u_j, e2, e3], rotated by 2 pi n / N about u_j,     n = 0 ... N - 1

where lambda is 1 near the axis of j and 0 beyond. The length of a neighbour at the cutoff is the
cutoff, where it vanishes. The directions e2 and e3 are any two across u_j: the energy depends on
them by terms of the order sin^N of the angles to the axis, which is the rounding error for N = 32
and the angles at which these environments have a weight. They cost N times as much, with mirror
images twice that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn.functional import one_hot

from .block_edges import BlockEdges
from .frames import outer_cutoff
from .settings import Settings
from .switching import smooth_step

# squared sine of the angle to the axis from which kappa falls from 1 to 0, and over which
OFF_AXIS_SINE = 0.2
OFF_AXIS_WIDTH = 0.3
# the same of lambda
BENT_SINE = 0.04
BENT_WIDTH = 0.06


@dataclass(frozen=True)
class CollinearEnvironments:
    """Environments along the axes through an atom and its neighbours, and those of isolated atoms.

    The first ones are sorted by atom, those of isolated atoms follow.

    Attributes
    ----------
    atom:
        Atom (m,) of each environment.
    weights:
        Weights (m,) that add up to 1 for each atom that has any.
    directions:
        Directions u_j (m, 3), zero without neighbours.
    has_axis:
        Whether (m,) there are neighbours.
    cutoff:
        Cutoff of the model in A.
    """

    atom: torch.Tensor
    weights: torch.Tensor
    directions: torch.Tensor
    has_axis: torch.Tensor
    cutoff: float


def collinear_environments(
    edges: BlockEdges, required: torch.Tensor, cutoff: float, settings: Settings
) -> CollinearEnvironments:
    """CollinearEnvironments of some atoms.

    Parameters
    ----------
    edges:
        Edges of n atoms.
    required:
        Whether (n,) an atom needs them.
    cutoff:
        Cutoff of the model in A.
    settings:
        Settings of the weights.
    """
    margin = outer_cutoff(cutoff, settings) - edges.lengths
    along = smooth_step(margin / settings.width) * required[edges.atom]  # a_j, (E,)
    total = edges.sum(along, edges.atom)
    isolated = (1 - smooth_step(total / settings.least_weight)) * required  # o, (n,)
    normalisation = total + isolated

    axis = torch.nonzero(along.detach() > 0)[:, 0]
    alone = torch.nonzero(isolated.detach() > 0)[:, 0]
    atom = torch.cat([edges.atom[axis], alone])
    weights = torch.cat([along[axis], isolated[alone]])
    no_direction = edges.directions.new_zeros(len(alone), 3)
    return CollinearEnvironments(
        atom=atom,
        weights=weights / normalisation[atom],
        directions=torch.cat([edges.directions[axis], no_direction]),
        has_axis=torch.arange(len(atom), device=atom.device) < len(axis),
        cutoff=cutoff,
    )


def projected(
    environments: CollinearEnvironments,
    environment: torch.Tensor,
    vectors: torch.Tensor,
    n_azimuthal: int | None,
) -> torch.Tensor:
    """Vectors (m, 3) in A as the model receives them in collinear environments.

    Along x; or near the axis, in the axes of the structure, if `n_azimuthal` is not None.

    Parameters
    ----------
    environments:
        Collinear environments.
    environment:
        Environment (m,) of each vector.
    vectors:
        Vectors (m, 3) in A.
    n_azimuthal:
        Number of rotations about the axis, or None.
    """
    axis = environments.directions[environment]
    lengths = vectors.square().sum(-1).sqrt()
    directions = vectors / lengths[:, None]
    normal = torch.linalg.cross(axis, directions)
    squared_sine = normal.square().sum(-1)
    cosine = (axis * directions).sum(-1)

    off_axis = (squared_sine - OFF_AXIS_SINE) / OFF_AXIS_WIDTH
    kappa = 1 - smooth_step(off_axis)
    length = kappa * lengths + (1 - kappa) * environments.cutoff  # L, (m,)
    position = torch.where(cosine < 0, -length, length)
    if n_azimuthal is None:
        zero = torch.zeros_like(position)
        return torch.stack([position, zero, zero], -1)
    far_off_axis = (squared_sine - BENT_SINE) / BENT_WIDTH
    bent = 1 - smooth_step(far_off_axis)[:, None]  # lambda, (m, 1)
    on_axis = position[:, None] * axis
    between = bent * vectors + (1 - bent) * on_axis
    # a mean of two vectors is shorter than these: a neighbour at the cutoff would be inside of it
    shortened = between.square().sum(-1, keepdim=True).sqrt()
    length_between = bent * lengths[:, None] + (1 - bent) * length[:, None]
    return between * (length_between / shortened)


@dataclass(frozen=True)
class CollinearOrientations:
    """Orientations in which collinear environments are evaluated.

    Attributes
    ----------
    environment:
        Collinear environment (k,) of each orientation.
    axes:
        Axes (k, 3, 3) in which its vectors are evaluated, as columns.
    back:
        Matrices B (k, 3, 3) that rotate outputs back, see `_equivariance`.
    share:
        Share (k,) of the weight of the environment.
    """

    environment: torch.Tensor
    axes: torch.Tensor
    back: torch.Tensor
    share: torch.Tensor


def collinear_orientations(
    environments: CollinearEnvironments, n_azimuthal: int | None, mirrors: torch.Tensor
) -> CollinearOrientations:
    """Orientations of all collinear environments: one of those that are projected onto x.

    Parameters
    ----------
    environments:
        Collinear environments, m of them.
    n_azimuthal:
        Number of rotations about the axis, None where environments are projected onto it.
    mirrors:
        Signs (h, 3) of the axes of a frame, and of its mirror image.
    """
    directions = environments.directions
    m = len(environments.atom)
    identity = torch.eye(3, dtype=directions.dtype, device=directions.device).expand(m, 3, 3)
    # u e_x^T: outputs along x are rotated to u
    from_x = torch.cat([directions[:, :, None], torch.zeros_like(identity[:, :, 1:])], 2)
    if n_azimuthal is None:
        every = torch.arange(m, device=directions.device)
        return CollinearOrientations(
            environment=every,
            axes=identity,
            back=from_x,
            share=environments.weights.new_ones(m),
        )

    has_axis = environments.has_axis
    isolated = ~has_axis
    axes = _azimuthal_axes(directions[has_axis], n_azimuthal)
    # (environments with an axis, n_azimuthal * h, 3, 3)
    axes = (axes[:, :, None] * mirrors[:, None]).flatten(1, 2)
    count = axes.shape[1]
    with_axis = torch.nonzero(has_axis)[:, 0].repeat_interleave(count)
    environment = torch.cat([with_axis, torch.nonzero(isolated)[:, 0]])
    axes = axes.flatten(0, 1)
    share = torch.where(has_axis, 1 / count, 1.0).to(axes.dtype)
    return CollinearOrientations(
        environment=environment,
        axes=torch.cat([axes, identity[isolated]]),
        back=torch.cat([axes, from_x[isolated]]),
        share=share[environment],
    )


def _azimuthal_axes(directions: torch.Tensor, n_azimuthal: int) -> torch.Tensor:
    """Axes (n, n_azimuthal, 3, 3) with e1 along directions (n, 3), at equal angles about it."""
    dtype = directions.dtype
    # the coordinate axis that is farthest from the direction, (n, 3)
    farthest = directions.detach().abs().argmin(1)
    other = one_hot(farthest, 3).to(dtype)
    second = torch.linalg.cross(directions, other)
    squared_norm = second.square().sum(-1, keepdim=True)
    second = second / squared_norm.sqrt()
    third = torch.linalg.cross(directions, second)
    # rotations about the direction
    steps = torch.arange(n_azimuthal, dtype=dtype, device=directions.device)
    angle = 2 * math.pi / n_azimuthal * steps
    angle = angle[:, None]  # (n_azimuthal, 1)
    cosine = angle.cos()
    sine = angle.sin()
    e2 = cosine * second[:, None] + sine * third[:, None]  # (n, n_azimuthal, 3)
    e1 = directions[:, None].expand_as(e2)
    e3 = torch.linalg.cross(e1, e2)
    return torch.stack([e1, e2, e3], -1)
