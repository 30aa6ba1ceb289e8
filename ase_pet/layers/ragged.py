"""Attention among the neighbours of each atom, stored as flat rows without padding.

A token array has one row per atom (its central token) followed by one row per directed edge.
Everything but the attention itself works on these rows; only q k^T, softmax and p v see the padded
arrangement of T cells per atom.
"""

from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from .linear import Linear

HOLE = -1e4  # bias of an empty cell: exp(-1e4) is 0 in every dtype
# weight of an edge that just leaves: what softmax makes of it must vanish, float32 must hold it
LEAST = 1e-37


@dataclass(frozen=True)
class Layout:
    """Where each token lies in the padded arrangement, one list of indices for each way between the
    two.

    qkv (3 n_atoms H T,) row of the (tokens 3 H, c) array for each cell of (3, n_atoms, H, T),
    qkv_back its inverse; out (n_atoms H T,) row of the (tokens H, c) array for each cell of
    (n_atoms, H, T), out_back its inverse;
    real (n_atoms H T, 1): 1 where a cell holds a token, 0 where it is empty;
    bias (n_atoms, T): log of the cutoff weight of each token, 0 for the central one, -1e4 where
    there is none.
    """

    qkv: torch.Tensor
    qkv_back: torch.Tensor
    out: torch.Tensor
    out_back: torch.Tensor
    real: torch.Tensor
    bias: torch.Tensor
    n_heads: int

    def without_central(self):
        """The layout in which nobody attends to central tokens.

        They keep their rows, whose outputs mean nothing.
        """
        return replace(
            self, bias=torch.cat([torch.full_like(self.bias[:, :1], HOLE), self.bias[:, 1:]], 1)
        )


def layout(centre, n_atoms, weight, n_heads):
    """Layout of edges with these centres (n_edges,) and cutoff weights (n_edges,).

    An edge of weight 0 is in nobody's neighbourhood: its token belongs to some empty cell, where
    nothing acts on it and it acts on nothing.
    """

    def count(n):
        return torch.arange(n, device=centre.device)

    edge = torch.nonzero(weight.detach())[:, 0]
    counts, slot = _slots(centre[edge], n_atoms)
    least, most = int(counts.min()), int(counts.max())
    width = (
        1 + most + int(least == most and len(edge) < len(centre))
    )  # of T cells, one is empty where edges need it
    atom, slot = (
        torch.cat([count(n_atoms), centre[edge]]),
        torch.cat([count(n_atoms) * 0, slot + 1]),
    )
    token, cell, n_cells = (
        torch.cat([count(n_atoms), n_atoms + edge]),
        atom * width + slot,
        n_atoms * width,
    )
    tokens = cell.new_zeros(n_cells).index_copy_(0, cell, token).view(n_atoms, 1, width)
    real = weight.new_zeros(n_cells).index_fill_(0, cell, 1.0).view(n_atoms, 1, width)
    log_weight = torch.cat(
        [weight.new_zeros(n_atoms), weight.index_select(0, edge).clamp_min(LEAST).log()]
    )
    bias = weight.new_full((n_cells,), HOLE).index_copy(0, cell, log_weight)
    empty = int(counts.argmin()) * n_heads * width + 1 + least
    out_back = cell.new_full((n_atoms + len(centre),), empty).index_copy_(
        0, token, atom * n_heads * width + slot
    )
    out_back = out_back[:, None] + count(n_heads) * width  # (tokens, H)
    head, part = count(n_heads)[:, None], count(3)[:, None, None, None]
    return Layout(
        qkv=((tokens * 3 + part) * n_heads + head).flatten(),
        qkv_back=(out_back[:, None] + count(3)[:, None] * n_heads * n_cells).flatten(),
        out=(tokens * n_heads + head).flatten(),
        out_back=out_back.flatten(),
        real=real.expand(n_atoms, n_heads, width).reshape(-1, 1),
        bias=bias.view(n_atoms, width),
        n_heads=n_heads,
    )


def _slots(centre, n_atoms):
    """Number of edges of each atom, and the place of each edge among those of its centre."""
    counts = torch.bincount(centre, minlength=n_atoms)
    order = torch.argsort(centre, stable=True)
    slot = torch.empty_like(centre)
    slot[order] = (
        torch.arange(len(centre), device=centre.device) - (counts.cumsum(0) - counts)[centre[order]]
    )
    return counts, slot


class Attention(nn.Module):
    """Multi-head attention of tokens (n, d) within neighbourhoods.

    Each key weighted by its cutoff factor.
    """

    def __init__(self, d, n_heads, temperature):
        super().__init__()
        self.n_heads, self.temperature = n_heads, temperature
        self.input_linear = Linear(d, 3 * d)
        self.output_linear = Linear(d, d)

    def forward(self, tokens, where):
        return self.output_linear(attention(self.input_linear(tokens), where, self.temperature))


def attention(qkv, where, temperature=1.0):
    """(tokens, d) outputs of softmax(q k^T / (sqrt(c) temperature) + log f) v within each
    neighbourhood.

    qkv (tokens, 3 d) in the order q, k, v, each of H heads of width c; where: Layout.
    """
    n_atoms, width = where.bias.shape
    c = qkv.shape[1] // (3 * where.n_heads)
    # Empty cells hold a copy of some token: their weight is 0, and as queries nobody reads them.
    cells = _Pad.apply(qkv.view(-1, c), where.qkv, where.qkv_back, None)
    cells = cells.view(3, n_atoms * where.n_heads, width, c)
    out = _Attention.apply(cells, where.bias, 1 / (c**0.5 * temperature))
    out = _Unpad.apply(out.view(-1, c), where.out, where.out_back, where.real)
    return out.view(qkv.shape[0], -1)


class _Pad(torch.autograd.Function):
    """Rows into cells, times `real`.

    The transpose is a gather too, which is much faster than a scatter.
    """

    @staticmethod
    def forward(ctx, rows, index, back, real):
        ctx.save_for_backward(index, back, real)
        cells = rows.index_select(0, index)
        return cells if real is None else cells.mul_(real)

    @staticmethod
    def backward(ctx, gradient):
        return _Unpad.apply(gradient, *ctx.saved_tensors), None, None, None


class _Unpad(torch.autograd.Function):
    """Rows out of their cells; the transpose of _Pad."""

    @staticmethod
    def forward(ctx, cells, index, back, real):
        ctx.save_for_backward(index, back, real)
        return cells.index_select(0, back)

    @staticmethod
    def backward(ctx, gradient):
        return _Pad.apply(gradient, *ctx.saved_tensors), None, None, None


class _Attention(torch.autograd.Function):
    """o = p v, p = softmax(s), s = scale q k^T + bias, for qkv (3, n_atoms H, T.

    C) and bias (n_atoms, T).
    """

    @staticmethod
    def forward(ctx, qkv, bias, scale):
        q, k, v = qkv
        heads = q.shape[0] // bias.shape[0]
        per_head = bias[:, None, None].expand(-1, heads, 1, -1).reshape(-1, 1, bias.shape[1])
        p = torch.softmax(torch.baddbmm(per_head, q, k.mT, alpha=scale), -1)
        ctx.save_for_backward(qkv, bias, p)
        ctx.scale = scale
        return torch.bmm(p, v)

    @staticmethod
    def backward(ctx, gradient):
        return (
            *_AttentionGradient.apply(
                gradient, *ctx.saved_tensors, ctx.scale, ctx.needs_input_grad[1]
            ),
            None,
        )


class _AttentionGradient(torch.autograd.Function):
    """Gradients of _Attention with respect to qkv and bias, for the gradient g of o.

    dv = p^T g, ds = p (g v^T - rowsum(p g v^T)), dq = scale ds k, dk = scale ds^T q, dbias = sum of
    ds over queries and heads. Its own derivative is written out because it takes a third of the
    passes over (T, T) arrays that automatic differentiation takes. Third derivatives raise an
    error.
    """

    @staticmethod
    def forward(ctx, g, qkv, bias, p, scale, with_bias):
        q, k, v = qkv
        ds = _through_softmax(torch.bmm(g, v.mT), p)
        ctx.save_for_backward(g, qkv, p, ds)
        ctx.scale, ctx.shape = scale, bias.shape
        to_qkv = torch.empty_like(qkv)
        torch.bmm(ds, k, out=to_qkv[0]).mul_(scale)
        torch.bmm(ds.mT, q, out=to_qkv[1]).mul_(scale)
        torch.bmm(p.mT, g, out=to_qkv[2])
        return to_qkv, _sum_of_queries(ds, bias.shape) if with_bias else None

    @staticmethod
    @once_differentiable
    def backward(ctx, to_qkv, to_bias):
        """With t_x the derivative of the loss with respect to x.

        T_ds first, then g v^T (t_dp), then s.
        """
        g, (q, k, v), p, ds = ctx.saved_tensors
        scale, (tq, tk, tv) = ctx.scale, to_qkv
        t_ds = torch.bmm(tq, k.mT).baddbmm_(q, tk.mT).mul_(scale)
        if to_bias is not None:
            t_ds.view(len(to_bias), -1, *t_ds.shape[1:]).add_(to_bias[:, None, None])
        t_ds -= (p * t_ds).sum(-1, keepdim=True)
        t_dp = p * t_ds
        ts = t_ds.mul_(ds).addcmul_(p, torch.bmm(g, tv.mT))
        ts.addcmul_(p, ts.sum(-1, keepdim=True), value=-1)
        t_qkv = torch.empty_like(to_qkv)
        torch.bmm(ds, tk, out=t_qkv[0]).baddbmm_(ts, k).mul_(scale)
        torch.bmm(ds.mT, tq, out=t_qkv[1]).baddbmm_(ts.mT, q).mul_(scale)
        torch.bmm(t_dp.mT, g, out=t_qkv[2])
        t_g = torch.bmm(p, tv).baddbmm_(t_dp, v)
        return t_g, t_qkv, _sum_of_queries(ts, ctx.shape), None, None, None


def _through_softmax(gradient, p):
    return torch.ops.aten._softmax_backward_data(gradient, p, -1, p.dtype)


def _sum_of_queries(scores, shape):
    """(n_atoms, T) from (n_atoms H, T, T)."""
    return scores.view(shape[0], -1, shape[1]).sum(1)
