"""Sums that are evaluated in parts: bounded memory, exact derivatives.

Each part of a sum needs an evaluation of a network. Where only the derivative with respect to
geometry is wanted, each part is differentiated as soon as it is evaluated, and its graph of
operations is freed. Second derivatives evaluate the parts again and keep that graph; so does
training, as the weights of the network are not among the inputs here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Part:
    """Some terms of a sum.

    Attributes
    ----------
    reads:
        Slice of each input that the terms depend on.
    writes:
        Slice of the results that the terms contribute to.
    data:
        First argument of the function of the sum.
    """

    reads: tuple[slice, ...]
    writes: slice
    data: Any


@dataclass(frozen=True)
class ChunkedSum:
    """Results (n, columns): sum over parts of function(part.data, *slices of the inputs).

    One gradient, that of the first column, is computed together with the results. It is sufficient
    for any weights of the first column that are equal within each group. Gradients with other
    weights, or of other columns, evaluate the parts again.

    Attributes
    ----------
    function:
        Contribution (rows of part.writes, columns) of a part.
    parts:
        Parts that are evaluated one after the other.
    input_groups:
        Group (len(input),) of the elements of each input, which act on no results of other groups.
    groups:
        Group (n,) of each result.
    columns:
        Number of columns.
    """

    function: Callable[..., torch.Tensor]
    parts: Sequence[Part]
    input_groups: tuple[torch.Tensor, ...]
    groups: torch.Tensor
    columns: int

    def __call__(self, inputs: tuple[torch.Tensor, ...], trainable: bool) -> torch.Tensor:
        """Results (n, columns), float64, differentiable with respect to the inputs.

        Parameters
        ----------
        inputs:
            Tensors whose slices the function takes.
        trainable:
            Whether the function has weights that require a gradient.
        """
        wanted = any(value.requires_grad for value in inputs)
        if torch.is_grad_enabled() and wanted and not trainable:
            return _Differentiated.apply(self, *inputs)
        return self.evaluate(inputs)

    def evaluate(self, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Results (n, columns) by automatic differentiation, if gradients are enabled.

        Parameters
        ----------
        inputs:
            Tensors whose slices the function takes.
        """
        size = (len(self.groups), self.columns)
        results = inputs[0].new_zeros(size, dtype=torch.float64)
        for part in self.parts:
            pieces = [value[piece] for value, piece in zip(inputs, part.reads, strict=True)]
            results[part.writes] += self.function(part.data, *pieces)
        return results

    def differentiate(
        self, inputs: Sequence[torch.Tensor], weights: torch.Tensor, keep_graph: bool = False
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Results, and the gradient of sum(weights * results) with respect to each input.

        Parameters
        ----------
        inputs:
            Tensors whose slices the function takes.
        weights:
            Weights (n, columns) of the results.
        keep_graph:
            Whether the gradient itself is to be differentiable.
        """
        results = torch.zeros_like(weights)
        gradients = [torch.zeros_like(value) for value in inputs]
        for part in self.parts:
            sliced = [value[piece] for value, piece in zip(inputs, part.reads, strict=True)]
            # leaves, so that the graph of a part is freed as soon as it is differentiated
            pieces = [_differentiable(piece, keep_graph) for piece in sliced]
            with torch.enable_grad():
                value = self.function(part.data, *pieces)
                slopes = _gradients(value, pieces, weights[part.writes], keep_graph)
            results[part.writes] += value.detach()
            for gradient, piece, slope in zip(gradients, part.reads, slopes, strict=True):
                gradient[piece] += slope
        return results, gradients


class _Differentiated(torch.autograd.Function):
    """A ChunkedSum whose gradient is computed together with its results, part by part."""

    @staticmethod
    def forward(ctx: Any, terms: ChunkedSum, *inputs: torch.Tensor) -> torch.Tensor:
        size = (len(terms.groups), terms.columns)
        first_column = inputs[0].new_zeros(size, dtype=torch.float64)
        first_column[:, 0] = 1
        results, gradients = terms.differentiate(inputs, first_column)
        ctx.terms = terms
        ctx.save_for_backward(*inputs, *gradients)
        return results

    @staticmethod
    def backward(ctx: Any, weights: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        terms = ctx.terms
        count = len(terms.input_groups)
        inputs = ctx.saved_tensors[:count]
        gradients = ctx.saved_tensors[count:]
        # The saved gradient is no function of the inputs: it serves first derivatives only.
        has_others = weights.shape[1] > 1 and bool(weights[:, 1:].any())
        if not torch.is_grad_enabled() and not has_others:
            first = weights[:, 0]
            n_groups = int(terms.groups.max()) + 1
            per_group = first.new_zeros(n_groups)
            per_group = per_group.index_copy(0, terms.groups, first)
            if torch.equal(per_group[terms.groups], first):
                scaled = [
                    gradient * _broadcastable(per_group[group], gradient)
                    for gradient, group in zip(gradients, terms.input_groups, strict=True)
                ]
                return None, *scaled
        _, gradients = terms.differentiate(inputs, weights, keep_graph=torch.is_grad_enabled())
        return None, *gradients


def _differentiable(piece: torch.Tensor, keep_graph: bool) -> torch.Tensor:
    """The piece itself where it is part of a graph that is kept, else a leaf of a new graph."""
    return piece if keep_graph and piece.requires_grad else piece.detach().requires_grad_()


def _gradients(
    value: torch.Tensor, pieces: list[torch.Tensor], weights: torch.Tensor, keep_graph: bool
) -> Sequence[torch.Tensor]:
    """Gradients of sum(weights * value), zero where the value does not depend on a piece."""
    if not value.requires_grad:
        return [torch.zeros_like(piece) for piece in pieces]
    return torch.autograd.grad(
        value, pieces, weights, create_graph=keep_graph, materialize_grads=True
    )


def _broadcastable(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Values (n,) as a factor of `like` (n, ...), in its dtype."""
    trailing = [1] * (like.dim() - 1)
    return values.to(like.dtype).view([-1] + trailing)
