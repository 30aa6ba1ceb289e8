"""Sums evaluated in pieces: bounded memory, exact derivatives.

A sum of many terms that each need a network is split into parts. Where only the derivative with
respect to geometry is wanted, each part is differentiated as soon as it is evaluated, and its graph
is dropped. Derivatives of derivatives evaluate the parts again and keep the graph; so does
training, whose weights are no inputs here.
"""

from dataclasses import dataclass

import torch

EDGES = {"cpu": 8192, "cuda": 262144}  # edges that a model sees at once


@dataclass(frozen=True)
class Part:
    """Some terms of a sum.

    The slice that they read of each input, the slice of results they add to, anything else.
    """

    reads: tuple[slice, ...]
    writes: slice
    data: object


@dataclass(frozen=True)
class Sum:
    """results (size, columns) = sum over parts of function(data, *slices of the inputs), a slice of
    the results each.

    owners: for each input, the group of results (len(input),) that an element of it acts on, and on
    no other group;
    groups (size,): the group of each result. With them one gradient, that of the first column,
    serves all weightings of it that are the same within each group. Gradients of other columns
    evaluate the parts again.
    """

    function: object
    parts: list[Part]
    owners: tuple[torch.Tensor, ...]
    groups: torch.Tensor
    columns: int

    def __call__(self, inputs, trainable):
        """(size, columns) results, float64. trainable.

        Whether the function has weights that want a gradient.
        """
        if (
            torch.is_grad_enabled()
            and not trainable
            and any(value.requires_grad for value in inputs)
        ):
            return _Differentiated.apply(self, *inputs)
        return self.evaluate(inputs)

    def evaluate(self, inputs):
        """(size, columns) results by plain automatic differentiation.

        Keeps the graph where gradients are enabled.
        """
        results = inputs[0].new_zeros(len(self.groups), self.columns, dtype=torch.float64)
        for part in self.parts:
            pieces = [value[piece] for value, piece in zip(inputs, part.reads, strict=True)]
            results[part.writes] += self.function(part.data, *pieces)
        return results

    def differentiate(self, inputs, weights, keep_graph=False):
        """Results and the gradient of sum(weights * results) with respect to each input."""
        results = torch.zeros_like(weights)
        gradients = [torch.zeros_like(value) for value in inputs]
        for part in self.parts:
            pieces = [
                _leaf(value[piece], keep_graph)
                for value, piece in zip(inputs, part.reads, strict=True)
            ]
            with torch.enable_grad():
                value = self.function(part.data, *pieces)
                slopes = _slopes(value, pieces, weights[part.writes], keep_graph)
            results[part.writes] += value.detach()
            for gradient, piece, slope in zip(gradients, part.reads, slopes, strict=True):
                gradient[piece] += slope
        return results, gradients


class _Differentiated(torch.autograd.Function):
    """A Sum whose gradient is made together with its results, part by part."""

    @staticmethod
    def forward(ctx, terms, *inputs):
        first = inputs[0].new_zeros(len(terms.groups), terms.columns, dtype=torch.float64)
        first[:, 0] = 1
        results, gradients = terms.differentiate(inputs, first)
        ctx.terms = terms
        ctx.save_for_backward(*inputs, *gradients)
        return results

    @staticmethod
    def backward(ctx, weights):
        terms, count = ctx.terms, len(ctx.terms.owners)
        inputs, gradients = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        if (
            not torch.is_grad_enabled() and not weights[:, 1:].any()
        ):  # nobody asks for the derivative of this gradient
            first = weights[:, 0]
            of_group = first.new_zeros(int(terms.groups.max()) + 1).index_copy(
                0, terms.groups, first
            )
            if torch.equal(of_group[terms.groups], first):
                return None, *(
                    gradient * _as(gradient, of_group[owner])
                    for gradient, owner in zip(gradients, terms.owners, strict=True)
                )
        return None, *terms.differentiate(inputs, weights, keep_graph=torch.is_grad_enabled())[1]


def cuts(sizes, budget):
    """Bounds [0, ....

    N] that cut a list of things of these sizes (n,) into runs of about the budget, one at least.
    """
    if not len(sizes):
        return [0]
    run = torch.div(sizes.cumsum(0) - sizes, budget, rounding_mode="floor")
    starts = torch.nonzero(run.diff(prepend=run[:1] - 1))[:, 0]
    return [*starts.tolist(), len(sizes)]


def _leaf(piece, keep_graph):
    return piece if keep_graph and piece.requires_grad else piece.detach().requires_grad_()


def _slopes(value, pieces, weights, keep_graph):
    """Gradients of sum(weights * value), zero where the value does not depend on a piece."""
    if not value.requires_grad:
        return [torch.zeros_like(piece) for piece in pieces]
    return torch.autograd.grad(
        value, pieces, weights, create_graph=keep_graph, materialize_grads=True
    )


def _as(like, values):
    """Values (n,) in the shape of one that multiplies `like` (n, ...), in its dtype."""
    return values.to(like.dtype).view(-1, *[1] * (like.dim() - 1))
