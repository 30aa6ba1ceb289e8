"""Attention among the neighbours of each atom, stored as flat rows without padding.

A token array has one row per atom (its central token) followed by one row per directed edge. Everything but the
attention itself works on these rows; only q k^T, softmax and p v see the padded (n_atoms, T) arrangement.
"""

from dataclasses import dataclass

import torch

HOLE = -1e4  # bias of an empty cell: exp(-1e4) is 0 in every dtype


@dataclass(frozen=True)
class Layout:
    """Where each token lies in the padded arrangement.

    cell (n_atoms + n_edges,): flat index, row of the centre times T plus slot; slot 0 is the central token.
    bias (n_atoms, T): log of the cutoff weight of each token, 0 for the central one, -1e4 where there is none.
    """

    cell: torch.Tensor
    bias: torch.Tensor

    @property
    def shape(self):
        return self.bias.shape


def layout(centre, n_atoms, log_weight):
    """Layout of edges with these centres (n_edges,) and logarithms of their cutoff weights (n_edges,)."""
    counts = torch.bincount(centre, minlength=n_atoms)
    width = 1 + int(counts.max())
    order = torch.argsort(centre, stable=True)
    slot = torch.empty_like(centre)
    slot[order] = torch.arange(len(centre), device=centre.device) - (counts.cumsum(0) - counts)[centre[order]]
    cell = torch.cat([torch.arange(n_atoms, device=centre.device) * width, centre * width + 1 + slot])
    bias = log_weight.new_full((n_atoms * width,), HOLE)
    bias = bias.index_copy(0, cell, torch.cat([log_weight.new_zeros(n_atoms), log_weight]))
    return Layout(cell, bias.view(n_atoms, width))


class _Pad(torch.autograd.Function):
    """Rows into their cells, zeros elsewhere. Its transpose is a gather, not a scatter."""

    @staticmethod
    def forward(ctx, rows, cell, n_cells):
        ctx.save_for_backward(cell)
        return rows.new_zeros(n_cells, *rows.shape[1:]).index_copy_(0, cell, rows)

    @staticmethod
    def backward(ctx, gradient):
        return _Unpad.apply(gradient, *ctx.saved_tensors), None, None


class _Unpad(torch.autograd.Function):
    """Rows out of their cells; the transpose of _Pad."""

    @staticmethod
    def forward(ctx, cells, cell):
        ctx.save_for_backward(cell)
        ctx.n_cells = cells.shape[0]
        return cells.index_select(0, cell)

    @staticmethod
    def backward(ctx, gradient):
        return _Pad.apply(gradient, *ctx.saved_tensors, ctx.n_cells), None


def attention(qkv, where, n_heads, temperature=1.0):
    """(tokens, d) outputs of softmax(q k^T / (sqrt(c) temperature) + log f) v within each neighbourhood.

    qkv (tokens, 3 d) in the order q, k, v, each of n_heads heads of width c; where: Layout.
    """
    n_atoms, width = where.shape
    d = qkv.shape[1] // 3
    padded = _Pad.apply(qkv, where.cell, n_atoms * width)
    q, k, v = padded.view(n_atoms, width, 3, n_heads, d // n_heads).permute(2, 0, 3, 1, 4).contiguous()
    scale = 1 / ((d // n_heads)**0.5 * temperature)  # q, k, v (n_atoms, heads, T, c)
    weights = torch.softmax(q @ k.transpose(-1, -2) * scale + where.bias[:, None, None, :], dim=-1)
    out = (weights @ v).transpose(1, 2).reshape(n_atoms * width, d)
    return _Unpad.apply(out, where.cell)
