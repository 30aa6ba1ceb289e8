"""Edges on R^3 x S^2: invariants of an edge vector and an axis, and the weight of the edge.

With v the edge vector and o an axis of the grid:

    a = v . o,     b = |v - a o|, smooth on the axis where it is softened

Source: E. Bekkers et al., ICLR 2024, arXiv:2310.02970; the softening is ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import nn
from torch.nn import functional

from ..graph import Graph, Route
from ..graph.partners import swap
from . import cutoff
from .linear import Linear

WINDOWS = ("polynomial", "bump", "step", "none")


class WindowSettings(Protocol):
    """What the settings of a model have to say about its edges."""

    cutoff: float  # A
    cutoff_function: str  # one of WINDOWS
    cutoff_power: int  # of the polynomial
    cutoff_width: float  # A, of bump and step
    softening: float  # A, distance from an axis below which b is smooth
    scaled: bool  # whether invariants are divided by the cutoff


@dataclass(frozen=True)
class Edges:
    """Edges from neighbour j to centre i.

    Attributes
    ----------
    centre, neighbour:
        Atoms (E,).
    invariants:
        Invariants (E, O, n_invariants).
    window:
        Cutoff weight (E,).
    opposite:
        Index (O,) of the opposite of each axis where each edge stands for its reverse as well, else
        None. The reverse has the same invariants along the opposite axis.
    route:
        Where the partners of the edges are, if features of neighbours may be those of another
        process; else None.
    """

    centre: torch.Tensor
    neighbour: torch.Tensor
    invariants: torch.Tensor
    window: torch.Tensor
    opposite: torch.Tensor | None = None
    route: Route | None = None

    def of_neighbours(self, x: torch.Tensor) -> torch.Tensor | None:
        """Features (E, ...) of the neighbours where they take a `route`, of features `x` of atoms.

        None where they are rows of `x`.
        """
        return None if self.route is None else swap(x.index_select(0, self.centre), self.route)

    def part(self, piece: slice) -> Edges:
        """Edges of a slice `piece`."""
        return replace(
            self,
            centre=self.centre[piece],
            neighbour=self.neighbour[piece],
            invariants=self.invariants[piece],
            window=self.window[piece],
        )

    def to(self, dtype: torch.dtype) -> Edges:
        """Edges with invariants and weights of a `dtype`."""
        return replace(self, invariants=self.invariants.to(dtype), window=self.window.to(dtype))


def invariants(vectors: torch.Tensor, axes: torch.Tensor, softening: float) -> torch.Tensor:
    """Invariants (E, O, 2) in A: component along each axis, and distance from it.

    The distance s has a cusp on the axis, where forces would jump; softened with length eps it is
    sqrt(s^2 + eps^2) - eps.

    Parameters
    ----------
    vectors:
        Edge vectors (E, 3) in A.
    axes:
        Unit vectors (O, 3).
    softening:
        Length eps in A, 0 for none.
    """
    along = vectors @ axes.T  # (E, O)
    off_axis = vectors[:, None] - along[..., None] * axes  # (E, O, 3)
    squared = off_axis.square().sum(-1)
    if softening:
        # sqrt(s^2 + eps^2) - eps without the loss of digits near the axis
        across = squared / ((squared + softening**2).sqrt() + softening)
    else:
        on_axis = squared == 0  # where the slope is set to 0
        across = squared.masked_fill(on_axis, 1).sqrt().masked_fill(on_axis, 0)
    return torch.stack([along, across], -1)


def window(lengths: torch.Tensor, settings: WindowSettings) -> torch.Tensor:
    """Cutoff weights (E,) of edges.

    Parameters
    ----------
    lengths:
        Lengths (E,) in A.
    settings:
        Kind, length and width of the cutoff function.
    """
    if settings.cutoff_function == "none":
        return (lengths <= settings.cutoff).to(lengths.dtype)
    if settings.cutoff_function == "polynomial":
        return cutoff.polynomial(lengths, settings.cutoff, settings.cutoff_power)
    function = cutoff.FUNCTIONS[settings.cutoff_function]
    return function(lengths, settings.cutoff, settings.cutoff_width)


def edges_on_grid(
    vectors: torch.Tensor,
    centre: torch.Tensor,
    neighbour: torch.Tensor,
    axes: torch.Tensor,
    settings: WindowSettings,
) -> Edges:
    """Edges with two invariants for each axis, in the dtype of the vectors.

    Parameters
    ----------
    vectors:
        Edge vectors (E, 3) in A.
    centre:
        Atoms (E,) that the edges end at.
    neighbour:
        Atoms (E,) that they come from.
    axes:
        Unit vectors (O, 3). Without any (O = 0) the length is the only invariant, (E, 1, 1).
    settings:
        Cutoff function, softening and scale.
    """
    lengths = vectors.square().sum(-1).sqrt()
    if len(axes):
        values = invariants(vectors, axes.to(vectors.dtype), settings.softening)
    else:
        values = lengths[:, None, None]
    if settings.scaled:
        values = values / settings.cutoff
    return Edges(centre, neighbour, values, window(lengths, settings))


def has_all_pairs(graph: Graph) -> bool:
    """Whether all structures are molecules, with every pair of their atoms in the graph.

    Parameters
    ----------
    graph:
        Structures.
    """
    ends = torch.cat([graph.pair_centre, graph.pair_neighbour])
    partners = torch.bincount(ends, minlength=graph.n_atoms)
    n_others = torch.bincount(graph.structure)[graph.structure] - 1
    return not bool(graph.periodic.any()) and torch.equal(partners, n_others)


class KernelBasis(nn.Module):
    """Kernel basis gelu(W2 gelu(W1 p(x) + b1) + b2) of invariants x.

    p(x) are all monomials up to `degree`. Those that differ in the order of their factors only are
    counted as often as there are orders. Sizes: `n_invariants`, hidden `width`, `n_basis` K.
    """

    def __init__(self, n_invariants: int, degree: int, width: int, n_basis: int) -> None:
        super().__init__()
        self.degree = degree
        n_monomials = sum(n_invariants**power for power in range(1, degree + 1))
        self.embedder = Linear(n_monomials, width)
        self.hidden = Linear(width, n_basis)

    def forward(self, invariants: torch.Tensor) -> torch.Tensor:
        """Basis functions (..., K) of `invariants` (..., n_invariants)."""
        x = invariants.reshape(-1, invariants.shape[-1])  # (rows, n)
        powers = [x]
        for _ in range(self.degree - 1):
            products = powers[-1][:, :, None] * x[:, None]  # (rows, n^k, n)
            powers.append(products.flatten(1))
        monomials = torch.cat(powers, 1)  # (rows, n + n^2 + ... + n^degree)
        hidden = functional.gelu(self.embedder(monomials))
        basis = functional.gelu(self.hidden(hidden))
        return basis.view(*invariants.shape[:-1], basis.shape[1])
