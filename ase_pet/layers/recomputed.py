"""Functions whose intermediate results are computed again for derivatives, instead of being kept.

`torch.utils.checkpoint` does the same, but imports a compiler for it, which takes 1.4 s.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch

Tensors: TypeAlias = tuple[torch.Tensor, ...]


def recomputed(function: Callable[..., Tensors], *inputs: torch.Tensor) -> Tensors:
    """Results of a function of tensors, with derivatives of any order.

    Parameters
    ----------
    function:
        Function of the inputs, which must depend on no other tensor that has a derivative.
    inputs:
        Arguments of the function.
    """
    results: Tensors = _Recomputed.apply(function, *inputs)
    return results


class _Recomputed(torch.autograd.Function):
    """The function in a forward pass without graph; its graph is made in the backward pass."""

    @staticmethod
    def forward(ctx: Any, function: Callable[..., Tensors], *inputs: torch.Tensor) -> Tensors:
        ctx.function = function
        ctx.save_for_backward(*inputs)
        return function(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        _, *needed = ctx.needs_input_grad
        again = torch.is_grad_enabled()  # whether derivatives of this derivative are asked for
        inputs = ctx.saved_tensors
        if not again:
            inputs = [x.detach().requires_grad_(n) for x, n in zip(inputs, needed, strict=True)]
        with torch.enable_grad():
            # results that do not need the inputs themselves: aliases keep gradients apart
            copies = [x.view_as(x) for x in inputs]
            results = ctx.function(*copies)
        wanted = [x for x, n in zip(copies, needed, strict=True) if n]
        found = iter(
            torch.autograd.grad(results, wanted, gradients, create_graph=again, allow_unused=True)
        )
        return (None, *(next(found) if n else None for n in needed))
