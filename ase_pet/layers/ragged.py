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

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from .constants import constant
from .linear import Linear

EMPTY = -1e4  # bias of an empty cell: exp(-1e4) is 0 in every dtype
# cutoff factor of an edge at the cutoff: its attention must vanish, float32 must hold it
SMALLEST_FACTOR = 1e-37


@dataclass(frozen=True)
class AttentionLayout:
    """Cell of each token in arrays that are padded to T cells per atom.

    The central token is in the first cell of its atom. Edges with cutoff factor 0 are in no
    neighbourhood: all of them are assigned to one empty cell, so that their outputs are finite but
    meaningless.

    Attributes
    ----------
    cell:
        Number (tokens,) of each token's cell, atom T + column.
    bias:
        Logarithm (n_atoms, T) of the cutoff factor in each cell, -1e4 in empty ones.
    n_heads:
        Number of attention heads H.
    qkv_rows, qkv_cells:
        Indices that take queries, keys and values (tokens 3 H, c) to cells (3 n_atoms H T, c), and
        the indices that take them back.
    out_rows, out_cells:
        The same for outputs (tokens H, c) and cells (n_atoms H T, c).
    occupied:
        1 in cells (n_atoms H T, 1) with a token, 0 in empty ones.
    """

    cell: torch.Tensor
    bias: torch.Tensor
    n_heads: int
    qkv_rows: torch.Tensor
    qkv_cells: torch.Tensor
    out_rows: torch.Tensor
    out_cells: torch.Tensor
    occupied: torch.Tensor

    def without_central(self) -> AttentionLayout:
        """The layout in which central tokens get no attention; their own outputs are unused."""
        central = torch.full_like(self.bias[:, :1], EMPTY)
        return replace(self, bias=torch.cat([central, self.bias[:, 1:]], 1))


def attention_layout(
    centre: torch.Tensor, n_atoms: int, cutoff_factor: torch.Tensor, n_heads: int
) -> AttentionLayout:
    """Layout of the tokens of n_atoms atoms and their directed edges.

    Parameters
    ----------
    centre:
        Atom (n_edges,) at which each edge starts.
    n_atoms:
        Number of atoms.
    cutoff_factor:
        Cutoff factor (n_edges,) of each edge.
    n_heads:
        Number of attention heads.
    """
    is_inside = cutoff_factor.detach() != 0
    counts, position = _positions(centre, is_inside, n_atoms)
    # shapes depend on these numbers: one transfer from a GPU
    sizes = torch.stack([*counts.aminmax(), counts.argmin(), counts.sum()])
    fewest, most, emptiest, n_inside = sizes.tolist()
    # edges beyond the cutoff need one empty cell, which is missing if all atoms have as many edges
    width = 1 + most + int(fewest == most and n_inside < len(centre))
    n_cells = n_atoms * width
    empty_cell = emptiest * width + fewest + 1

    atoms = torch.arange(n_atoms, device=centre.device)
    edge_cell = centre * width + 1 + position
    edge_cell = torch.where(is_inside, edge_cell, empty_cell)
    cell = torch.cat([atoms * width, edge_cell])  # (n_atoms + n_edges,)
    log_factor = cutoff_factor.clamp_min(SMALLEST_FACTOR).log()
    log_factor = torch.where(is_inside, log_factor, EMPTY)
    log_factor = torch.cat([cutoff_factor.new_zeros(n_atoms), log_factor])
    bias = cutoff_factor.new_full((n_cells,), EMPTY)
    bias = bias.index_copy(0, cell, log_factor)
    is_occupied = bias.detach() > EMPTY
    occupied = is_occupied.to(bias.dtype).view(n_atoms, 1, width)
    occupied = occupied.expand(n_atoms, n_heads, width)

    # empty cells get a copy of some token, which has no effect
    token = torch.arange(len(cell), device=centre.device)
    token_in_cell = cell.new_zeros(n_cells).index_copy_(0, cell, token)
    rows = token_in_cell.view(n_atoms, 1, width)
    # numbers of queries, keys and values of each head (3, 1, H, 1), and of heads (H, 1)
    part = constant(tuple(range(3 * n_heads)), cell).view(3, 1, n_heads, 1)
    head = part[0, 0]
    qkv_rows = rows * (3 * n_heads) + part  # (3, n_atoms, H, T)
    out_rows = rows * n_heads + head  # (n_atoms, H, T)
    first_head = cell + cell // width * ((n_heads - 1) * width)
    out_cells = first_head[:, None] + head[:, 0] * width  # (tokens, H)
    first_part = constant((0, 1, 2), cell) * (n_heads * n_cells)
    qkv_cells = out_cells[:, None] + first_part[:, None]  # (tokens, 3, H)
    return AttentionLayout(
        cell=cell,
        bias=bias.view(n_atoms, width),
        n_heads=n_heads,
        qkv_rows=qkv_rows.flatten(),
        qkv_cells=qkv_cells.flatten(),
        out_rows=out_rows.flatten(),
        out_cells=out_cells.flatten(),
        occupied=occupied.reshape(-1, 1),
    )


def _positions(
    centre: torch.Tensor, is_inside: torch.Tensor, n_atoms: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Number (n_atoms,) of edges inside the cutoff, and position (n_edges,) of each among them.

    Edges outside have no position: theirs are meaningless.
    """
    counts = centre.new_zeros(n_atoms)
    ones = is_inside.to(centre.dtype)
    counts = counts.index_add_(0, centre, ones)
    key = torch.where(is_inside, centre, n_atoms)  # edges outside go last
    order = torch.argsort(key, stable=True)
    first = counts.cumsum(0) - counts  # of each atom, in the sorted list
    rank = torch.arange(len(centre), device=centre.device)
    position = torch.empty_like(centre)
    position = position.index_copy_(0, order, rank)
    first_of_centre = first.index_select(0, centre)
    return counts, position - first_of_centre


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
