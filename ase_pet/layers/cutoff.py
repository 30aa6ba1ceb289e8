"""Cutoff functions: weights in [0, 1] that let an edge leave the neighbourhood smoothly."""

from __future__ import annotations

from typing import Any

import torch

from ..graph import Graph


def distances_of(graph: Graph) -> torch.Tensor:
    """Lengths (P,) in A of the pairs of graph, plus 1e-15 A as in metatrain."""
    return graph.pair_vectors.square().sum(-1).sqrt() + 1e-15


def bump(distances: torch.Tensor, cutoff: float | torch.Tensor, width: float) -> torch.Tensor:
    """Weight of each distance: 1 below cutoff - width, 0 above cutoff, infinitely differentiable.

    f = (1 + tanh(1 / tan(pi x))) / 2 with x = (d - cutoff + width) / width in (0, 1). As a sigmoid
    it has no rounding of 1e-16 at the outer end, where softmax could make that large. Source:
    metatrain PET (BSD-3), equation only.

    Parameters
    ----------
    distances:
        Distances in A.
    cutoff:
        Cutoff in A, a number or one per distance.
    width:
        Width of the switching region in A.
    """
    x = (distances - (cutoff - width)) / width
    weights: torch.Tensor = _Bump.apply(x)
    return weights


def _plain_bump(x: torch.Tensor) -> torch.Tensor:
    """f of `bump`, from 1 for x = 0 to 0 for x = 1."""
    x = x.clamp(1e-6, 1 - 1e-6)
    return torch.sigmoid(2 / torch.tan(torch.pi * x))


class _Bump(torch.autograd.Function):
    """f of `bump` with df/dx = -2 pi f (1 - f) / sin^2(pi x).

    Automatic differentiation of it takes three times as many operators.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        f = _plain_bump(x)
        ctx.save_for_backward(x, f)
        return f

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        x, f = ctx.saved_tensors
        if torch.is_grad_enabled():  # what was saved has no derivative with respect to x
            f = _plain_bump(x)
        product = torch.ops.aten.sigmoid_backward(gradient, f)  # gradient f (1 - f)
        # which is 0 at both ends, where the sine is kept from being so
        sine = torch.sin(torch.pi * x.clamp(1e-6, 1 - 1e-6))
        to_x: torch.Tensor = -2 * torch.pi * product / sine.square()
        return to_x


def cosine(distances: torch.Tensor, cutoff: float | torch.Tensor, width: float) -> torch.Tensor:
    """Weight of each distance: half a cosine wave, with one continuous derivative.

    Written as sin^2(pi (cutoff - d) / (2 width)), which keeps its relative precision where the
    weight is small.

    Parameters
    ----------
    distances:
        Distances in A.
    cutoff:
        Cutoff in A, a number or one per distance.
    width:
        Width of the switching region in A.
    """
    return torch.sin(torch.pi / 2 * ((cutoff - distances) / width).clamp(0, 1)) ** 2


def step(distances: torch.Tensor, cutoff: float | torch.Tensor, width: float) -> torch.Tensor:
    """Weight of each distance: 1 below cutoff - width, 0 above cutoff, infinitely differentiable.

    f = (1 - tanh(1 / (y + 1) + 1 / (y - 1))) / 2 with y = 2 t - 1 and t = (cutoff - d) / width in
    (0, 1), which is a sigmoid of 1 / x - 1 / (1 - x) with x = 1 - t. Source: S. Pozdnyakov and M.
    Ceriotti, arXiv:2305.19302, the symmetrisation protocol; equation only.

    Parameters
    ----------
    distances:
        Distances in A.
    cutoff:
        Cutoff in A, a number or one per distance.
    width:
        Width of the switching region in A.
    """
    x = ((distances - (cutoff - width)) / width).clamp(1e-6, 1 - 1e-6)
    return torch.sigmoid(1 / x - 1 / (1 - x))


def polynomial(
    distances: torch.Tensor, cutoff: float | torch.Tensor, power: int = 6
) -> torch.Tensor:
    """Weight of each distance: 1 at 0, 0 from the cutoff on, with two continuous derivatives.

    f = 1 - (p+1)(p+2)/2 u^p + p(p+2) u^(p+1) - p(p+1)/2 u^(p+2) with u = d / cutoff and p the
    power, written as (1 - u)^3 sum_{k<p} (k+1)(k+2)/2 u^k, which keeps its relative precision where
    the weight is small. Source: J. Gasteiger et al., arXiv:2003.03123, equation only.

    Parameters
    ----------
    distances:
        Distances in A.
    cutoff:
        Cutoff in A, a number or one per distance.
    power:
        p, the power of the leading term.
    """
    u = (distances / cutoff).clamp(max=1)
    total = torch.zeros_like(u)
    for k in reversed(range(power)):
        total = total * u + (k + 1) * (k + 2) / 2
    return (1 - u) ** 3 * total


FUNCTIONS = {"bump": bump, "cosine": cosine, "step": step}
