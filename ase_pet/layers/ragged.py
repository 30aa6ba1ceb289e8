"""Attention among the tokens of each atom, stored as flat rows without padding.

A token array has one row per atom, its central token, followed by one row per directed edge. The
neighbourhood of an atom is its central token and the edges that start at it. Within it, with
queries q, keys k and values v of width c in each head, temperature T and cutoff factor f of the
attended token (key), which is 1 for the central one,

    out = softmax(q k^T / (sqrt(c) T) + log f) v

`plain_attention` is this equation on arrays that are padded to the largest neighbourhood.
`attention` gives the same numbers faster: padding is a gather in both directions, and the first two
derivatives are written out.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from .attention_layout import AttentionLayout
from .linear import Linear


class Attention(nn.Module):
    """Multi-head attention of tokens (n_tokens, d) within neighbourhoods.

    Parameters
    ----------
    d:
        Width of tokens.
    n_heads:
        Number of heads H, of width c = d / H each.
    temperature:
        Number that scores are divided by, in addition to sqrt(c).
    """

    fast = True  # False: `plain_attention`, for comparison

    def __init__(self, d: int, n_heads: int, temperature: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.temperature = temperature
        self.input_linear = Linear(d, 3 * d)
        self.output_linear = Linear(d, d)

    def forward(self, tokens: torch.Tensor, layout: AttentionLayout) -> torch.Tensor:
        """Outputs (n_tokens, d) for tokens (n_tokens, d) in the cells of a layout."""
        attend = attention if self.fast else plain_attention
        out = attend(self.input_linear(tokens), layout, self.temperature)
        return self.output_linear(out)


def plain_attention(
    qkv: torch.Tensor, layout: AttentionLayout, temperature: float = 1.0
) -> torch.Tensor:
    """Outputs (n_tokens, d) of softmax(q k^T / (sqrt(c) temperature) + log f) v, padded.

    Parameters
    ----------
    qkv:
        Queries, keys and values (n_tokens, 3 d), each of H heads of width c.
    layout:
        Cell of each token, and log f.
    temperature:
        Number that scores are divided by.
    """
    n_atoms, width = layout.bias.shape
    n_cells = n_atoms * width
    cells = qkv.new_zeros(n_cells, qkv.shape[1])
    cells = cells.index_copy(0, layout.cell, qkv)
    cells = cells.view(n_atoms, width, 3, layout.n_heads, -1)
    q, k, v = cells.permute(2, 0, 3, 1, 4)  # (n_atoms, H, T, c) each
    c = q.shape[-1]
    scale = 1 / (c**0.5 * temperature)
    log_factor = layout.bias[:, None, None]  # (n_atoms, 1, 1, T), of the attended token (key)
    weights = torch.softmax(scale * q @ k.mT + log_factor, -1)  # (n_atoms, H, T, T)
    out = weights @ v
    out = out.transpose(1, 2)  # (n_atoms, T, H, c)
    out = out.reshape(n_cells, -1)  # (n_atoms T, d)
    return out[layout.cell]


def attention(qkv: torch.Tensor, layout: AttentionLayout, temperature: float = 1.0) -> torch.Tensor:
    """Outputs (n_tokens, d) of `plain_attention`, faster.

    Parameters
    ----------
    qkv:
        Queries, keys and values (n_tokens, 3 d), each of H heads of width c.
    layout:
        Cell of each token, and log f.
    temperature:
        Number that scores are divided by.
    """
    n_tokens = qkv.shape[0]
    n_atoms, width = layout.bias.shape
    n_heads = layout.n_heads
    c = qkv.shape[1] // (3 * n_heads)
    scale = 1 / (c**0.5 * temperature)
    # empty cells hold a copy of some token: their attention weight is 0, their outputs are unused
    qkv = qkv.view(-1, c)  # (n_tokens 3 H, c)
    cells = _ToCells.apply(qkv, layout.qkv_rows, layout.qkv_cells, None)
    cells = cells.view(3, n_atoms * n_heads, width, c)
    out = _Attention.apply(cells, layout.bias, scale)  # (n_atoms H, T, c)
    out = out.view(-1, c)
    out = _ToRows.apply(out, layout.out_rows, layout.out_cells, layout.occupied)
    return out.view(n_tokens, -1)  # (n_tokens, d)


class _ToCells(torch.autograd.Function):
    """Rows in their cells, times `occupied`.

    The transpose, `_ToRows`, is a gather too, which is much faster than a scatter.
    """

    @staticmethod
    def forward(
        ctx: Any,
        rows: torch.Tensor,
        row_of_cell: torch.Tensor,
        cell_of_row: torch.Tensor,
        occupied: torch.Tensor | None,
    ) -> torch.Tensor:
        ctx.save_for_backward(row_of_cell, cell_of_row, occupied)
        cells = rows.index_select(0, row_of_cell)
        return cells if occupied is None else cells.mul_(occupied)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        return _ToRows.apply(gradient, *ctx.saved_tensors), None, None, None


class _ToRows(torch.autograd.Function):
    """Rows from their cells; the transpose of `_ToCells`."""

    @staticmethod
    def forward(
        ctx: Any,
        cells: torch.Tensor,
        row_of_cell: torch.Tensor,
        cell_of_row: torch.Tensor,
        occupied: torch.Tensor | None,
    ) -> torch.Tensor:
        ctx.save_for_backward(row_of_cell, cell_of_row, occupied)
        return cells.index_select(0, cell_of_row)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        return _ToCells.apply(gradient, *ctx.saved_tensors), None, None, None


class _Attention(torch.autograd.Function):
    """o = p v with p = softmax(s), s = scale q k^T + bias.

    qkv (3, n_atoms H, T, c), bias (n_atoms, T), o (n_atoms H, T, c).
    """

    @staticmethod
    def forward(ctx: Any, qkv: torch.Tensor, bias: torch.Tensor, scale: float) -> torch.Tensor:
        q, k, v = qkv
        n_atoms, width = bias.shape
        n_heads = q.shape[0] // n_atoms
        bias_per_head = bias[:, None, None].expand(-1, n_heads, 1, -1)
        bias_per_head = bias_per_head.reshape(-1, 1, width)  # (n_atoms H, 1, T)
        scores = torch.baddbmm(bias_per_head, q, k.mT, alpha=scale)  # (n_atoms H, T, T)
        p = torch.softmax(scores, -1)
        ctx.save_for_backward(qkv, bias, p)
        ctx.scale = scale
        return torch.bmm(p, v)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        with_bias = ctx.needs_input_grad[1]
        to_qkv, to_bias = _AttentionGradient.apply(
            gradient, *ctx.saved_tensors, ctx.scale, with_bias
        )
        return to_qkv, to_bias, None


class _AttentionGradient(torch.autograd.Function):
    """Gradients of `_Attention` with respect to qkv and bias, for the gradient g of o.

    dv = p^T g, ds = p (g v^T - rowsum(p g v^T)), dq = scale ds k, dk = scale ds^T q, dbias = sum of
    ds over queries and heads. Its own derivative is written out because it takes a third of the
    passes over (T, T) arrays that automatic differentiation takes. Third derivatives raise an
    error.
    """

    @staticmethod
    def forward(
        ctx: Any,
        g: torch.Tensor,
        qkv: torch.Tensor,
        bias: torch.Tensor,
        p: torch.Tensor,
        scale: float,
        with_bias: bool,
    ) -> tuple[Any, ...]:
        q, k, v = qkv
        ds = _softmax_gradient(torch.bmm(g, v.mT), p)  # (n_atoms H, T, T)
        ctx.save_for_backward(g, qkv, p, ds)
        ctx.scale = scale
        ctx.bias_shape = bias.shape
        to_qkv = torch.empty_like(qkv)
        dq, dk, dv = to_qkv
        torch.bmm(ds, k, out=dq).mul_(scale)
        torch.bmm(ds.mT, q, out=dk).mul_(scale)
        torch.bmm(p.mT, g, out=dv)
        if not with_bias:
            return to_qkv, None
        return to_qkv, _sum_over_queries(ds, bias.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_qkv: torch.Tensor, to_bias: torch.Tensor | None) -> tuple[Any, ...]:
        """Gradients with respect to g, qkv and bias, by the chain rule backwards.

        t_x is the derivative of the loss with respect to x: first that of ds, then those of dp = g
        v^T and of s.
        """
        g, qkv, p, ds = ctx.saved_tensors
        q, k, v = qkv
        tq, tk, tv = to_qkv
        scale = ctx.scale
        # all of these are (n_atoms H, T, T)
        t_ds = torch.bmm(tq, k.mT)
        t_ds = t_ds.baddbmm_(q, tk.mT).mul_(scale)
        if to_bias is not None:
            per_head = t_ds.view(len(to_bias), -1, *t_ds.shape[1:])  # (n_atoms, H, T, T)
            per_head.add_(to_bias[:, None, None])
        weighted = p * t_ds
        t_ds -= weighted.sum(-1, keepdim=True)
        t_dp = p * t_ds
        t_p = torch.bmm(g, tv.mT)
        ts = t_ds.mul_(ds).addcmul_(p, t_p)
        ts_sum = ts.sum(-1, keepdim=True)
        ts.addcmul_(p, ts_sum, value=-1)
        t_qkv = torch.empty_like(to_qkv)  # (3, n_atoms H, T, c)
        torch.bmm(ds, tk, out=t_qkv[0])
        t_qkv[0].baddbmm_(ts, k).mul_(scale)
        torch.bmm(ds.mT, tq, out=t_qkv[1])
        t_qkv[1].baddbmm_(ts.mT, q).mul_(scale)
        torch.bmm(t_dp.mT, g, out=t_qkv[2])
        t_g = torch.bmm(p, tv).baddbmm_(t_dp, v)
        return t_g, t_qkv, _sum_over_queries(ts, ctx.bias_shape), None, None, None


def _softmax_gradient(gradient: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """Gradient (..., T, T) of the scores from that of their softmax p."""
    return torch.ops.aten._softmax_backward_data(gradient, p, -1, p.dtype)


def _sum_over_queries(scores: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Sums (n_atoms, T) over heads and queries of (n_atoms H, T, T)."""
    return scores.view(shape[0], -1, shape[1]).sum(1)
