"""Norms of rows, with derivatives that take few passes over the rows.

The function of each norm is written plainly in `plain_...`. Automatic differentiation of it takes
about three times as many operators as the formulas here, which are differentiated automatically in
turn: derivatives of any order are exact.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import nn

from .linear import is_executed


class RMSNorm(nn.RMSNorm):
    """Rows (n, d) divided by their root mean square, times a weight for each column."""

    fast = True  # False: the plain equation, for comparison

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Rows (n, d) for x (n, d)."""
        if not self.fast:
            return super().forward(x)
        # a view, because `is_executed` knows no leaves
        weight = self.weight.view(-1) if self.weight.requires_grad else self.weight
        rows: torch.Tensor = _RMSNorm.apply(x, weight, self.eps)
        return rows


class _RMSNorm(torch.autograd.Function):
    """y w with y = x r and r = (|x|^2 / d + eps)^(-1/2), for x (n, d) and w (d,).

    The gradient of x is (h - y mean(h y)) r for the gradient h of y.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        y, inverse = _divided(x, eps)
        ctx.eps = eps
        ctx.save_for_backward(x, weight, y, inverse)
        return y * weight

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        x, weight, y, inverse = ctx.saved_tensors
        if torch.is_grad_enabled():  # what was saved has no derivative with respect to x
            y, inverse = _divided(x, ctx.eps)
        needs_x, needs_weight, _ = ctx.needs_input_grad
        to_x = None
        to_weight = None
        if needs_x:
            of_y = gradient * weight
            products = of_y * y
            share = products.mean(-1, keepdim=True)
            to_x = torch.addcmul(of_y, y, share, value=-1)
            to_x = to_x * inverse
        # the derivative with respect to positions passes here, too, and needs none of the weight
        if needs_weight and is_executed(ctx.next_functions[1][0]):
            to_weight = gradient * y
            to_weight = to_weight.sum(0)
        return to_x, to_weight, None


def _divided(x: torch.Tensor, eps: float) -> tuple[torch.Tensor, torch.Tensor]:
    """x r (n, d) and r = (|x|^2 / d + eps)^(-1/2), (n, 1)."""
    inverse = torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
    return x * inverse, inverse


def pair_norm(
    forwards: torch.Tensor, backwards: torch.Tensor, eps: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised sum and difference, (P, d) each, of the two directions of pairs.

    The layer norm of [e_ij, e_ji] has one mean m and one variance v for both directions. Their sum
    and difference after it are

        (e_ij + e_ji - 2 m) / (v + eps)^(1/2)    and    (e_ij - e_ji) / (v + eps)^(1/2)

    Parameters
    ----------
    forwards, backwards:
        Rows e_ij and e_ji (P, d).
    eps:
        Number that is added to the variance.
    """
    total, difference = _PairNorm.apply(forwards, backwards, eps)
    return total, difference


def plain_pair_norm(
    forwards: torch.Tensor, backwards: torch.Tensor, eps: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """As `pair_norm`, and the factor (v + eps)^(-1/2), (P, 1).

    Parameters
    ----------
    forwards, backwards:
        Rows e_ij and e_ji (P, d).
    eps:
        Number that is added to the variance.
    """
    total = forwards + backwards
    mean = total.mean(-1, keepdim=True)
    total = total - mean
    difference = forwards - backwards
    # (e_ij - m)^2 + (e_ji - m)^2 = (total^2 + difference^2) / 2
    squares = total.square()
    squares = squares.addcmul(difference, difference)
    variance = squares.mean(-1, keepdim=True)
    variance = variance / 4
    inverse = torch.rsqrt(variance + eps)
    scaled_total = total * inverse
    scaled_difference = difference * inverse
    return scaled_total, scaled_difference, inverse


class _PairNorm(torch.autograd.Function):
    """Results s and t of `pair_norm`.

    With the gradients g of s and h of t, and c = mean(g s + h t) / 4, those of the sum and the
    difference of the rows are (g - c s) r less its mean, and (h - c t) r, r = (v + eps)^(-1/2).
    """

    @staticmethod
    def forward(
        ctx: Any, forwards: torch.Tensor, backwards: torch.Tensor, eps: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        total, difference, inverse = plain_pair_norm(forwards, backwards, eps)
        ctx.eps = eps
        ctx.save_for_backward(forwards, backwards, total, difference, inverse)
        return total, difference

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor, h: torch.Tensor) -> tuple[Any, ...]:
        forwards, backwards, total, difference, inverse = ctx.saved_tensors
        if torch.is_grad_enabled():  # what was saved has no derivative with respect to the rows
            total, difference, inverse = plain_pair_norm(forwards, backwards, ctx.eps)
        products = g * total
        products = products.addcmul(h, difference)
        share = products.mean(-1, keepdim=True)
        share = share / 4
        of_total = torch.addcmul(g, total, share, value=-1)
        of_total = of_total * inverse
        mean = of_total.mean(-1, keepdim=True)
        of_total = of_total - mean
        of_difference = torch.addcmul(h, difference, share, value=-1)
        of_difference = of_difference * inverse
        of_forwards = of_total + of_difference
        of_backwards = of_total - of_difference
        return of_forwards, of_backwards, None


# With torch's default, the eps of the dtype, a model would be another function in float32 than in
# float64.
NORMS = {
    "RMSNorm": functools.partial(RMSNorm, eps=torch.finfo(torch.float64).eps),
    "LayerNorm": nn.LayerNorm,
}
