"""Where the tokens of each atom are in arrays that are padded to equally many cells per atom."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from ..graph import AS_NEEDED, Lengths
from .constants import constant

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
    centre: torch.Tensor,
    n_atoms: int,
    cutoff_factor: torch.Tensor,
    n_heads: int,
    lengths: Lengths = AS_NEEDED,
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
    lengths:
        Those of the arrays of the graph, by default as many cells as its atoms need.
    """
    is_inside = cutoff_factor.detach() != 0
    counts, position = _positions(centre, is_inside, n_atoms)
    most = lengths.fixed("neighbours")
    if most is None:
        width, empty_cell, most = _smallest_width(counts, len(centre))
        lengths.measured("neighbours", most)
    else:
        lengths.needed("neighbours", counts.max())
        width = most + 2  # the central token, the edges, and a cell that is always empty
        empty_cell = width - 1
        is_inside = is_inside & (position < most)
    n_cells = n_atoms * width

    is_outside = ~is_inside
    atoms = torch.arange(n_atoms, device=centre.device)
    edge_cell = centre * width + 1 + position
    edge_cell = edge_cell.masked_fill(is_outside, empty_cell)
    cell = torch.cat([atoms * width, edge_cell])  # (n_atoms + n_edges,)
    log_factor = cutoff_factor.clamp_min(SMALLEST_FACTOR).log()
    log_factor = log_factor.masked_fill(is_outside, EMPTY)
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


def _smallest_width(counts: torch.Tensor, n_edges: int) -> tuple[int, int, int]:
    """Number of cells that an atom needs, an empty cell, and the largest of the counts.

    counts (n_atoms,): edges of each atom inside the cutoff, of n_edges edges in all.
    """
    # shapes depend on these numbers: one transfer from a GPU
    sizes = torch.stack([*counts.aminmax(), counts.argmin(), counts.sum()])
    fewest, most, emptiest, n_inside = sizes.tolist()
    width = 1 + most
    # edges beyond the cutoff need one empty cell, which is missing if all atoms have as many edges
    is_full = fewest == most
    has_outside = n_inside < n_edges
    if is_full and has_outside:
        width += 1
    empty_cell = emptiest * width + fewest + 1
    return width, empty_cell, most


def _positions(
    centre: torch.Tensor, is_inside: torch.Tensor, n_atoms: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Number (n_atoms,) of edges inside the cutoff, and position (n_edges,) of each among them.

    Edges outside have no position: theirs are meaningless.
    """
    ones = is_inside.to(centre.dtype)
    counts = centre.new_zeros(n_atoms)
    counts.index_add_(0, centre, ones)
    key = centre.masked_fill(~is_inside, n_atoms)  # edges outside go last
    order = torch.argsort(key, stable=True)
    first = counts.cumsum(0) - counts  # of each atom, in the sorted list
    rank = torch.arange(len(centre), device=centre.device)
    position = torch.empty_like(centre)
    position = position.index_copy_(0, order, rank)
    first_of_centre = first.index_select(0, centre)
    return counts, position - first_of_centre
