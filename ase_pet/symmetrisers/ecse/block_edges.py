"""Edges of a block of atoms, pairs of them, and smooth extrema."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .edges import ranges


@dataclass(frozen=True)
class BlockEdges:
    """Edges within the cutoff of n atoms, sorted by atom.

    Attributes
    ----------
    vectors:
        Vectors (E, 3) in A from an atom to its neighbours.
    lengths:
        Their lengths (E,) in A.
    directions:
        Their directions (E, 3).
    atom:
        Atom (E,) of each edge, 0 .. n - 1.
    start:
        First edge (n,) of each atom.
    count:
        Number of edges (n,) of each atom.
    """

    vectors: torch.Tensor
    lengths: torch.Tensor
    directions: torch.Tensor
    atom: torch.Tensor
    start: torch.Tensor
    count: torch.Tensor

    @classmethod
    def from_vectors(
        cls, vectors: torch.Tensor, atom: torch.Tensor, count: torch.Tensor
    ) -> BlockEdges:
        """Edges with these vectors, which are sorted by atom.

        Parameters
        ----------
        vectors:
            Vectors (E, 3) in A.
        atom:
            Atom (E,) of each edge, 0 .. n - 1.
        count:
            Number of edges (n,) of each atom.
        """
        lengths = vectors.square().sum(-1).sqrt()
        return cls(
            vectors=vectors,
            lengths=lengths,
            directions=vectors / lengths[:, None],
            atom=atom,
            start=count.cumsum(0) - count,
            count=count,
        )

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.count)

    def sum(self, values: torch.Tensor, atom: torch.Tensor) -> torch.Tensor:
        """Sums (n,) over the values of each atom.

        Parameters
        ----------
        values:
            Values (m,).
        atom:
            Atom (m,) of each value.
        """
        return values.new_zeros(self.n_atoms).index_add(0, atom, values)


def pairs(
    edge: torch.Tensor, atom: torch.Tensor, n_atoms: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Unordered pairs of edges of the same atom: first and second edge of each, both (n_pairs,).

    Parameters
    ----------
    edge:
        Edges (m,), sorted by atom.
    atom:
        Atom (m,) of each.
    n_atoms:
        Number of atoms.
    """
    count = torch.bincount(atom, minlength=n_atoms)
    end = count.cumsum(0)[atom]
    # an edge is the first of the pairs with all later edges of its atom
    position = torch.arange(len(edge), device=edge.device)
    second, first = ranges(position + 1, end - position - 1)
    return edge[first], edge[second]


def squared_sine(edges: BlockEdges, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Squared sine (n_pairs,) of the angle between two edges.

    From the cross product, as 1 - cos^2 loses digits.

    Parameters
    ----------
    edges:
        Edges of n atoms.
    first:
        First edge (n_pairs,) of each pair.
    second:
        Second edge (n_pairs,) of each pair.
    """
    normal: torch.Tensor = torch.linalg.cross(edges.directions[first], edges.directions[second])
    return normal.square().sum(-1)


def smooth_maximum(
    edges: BlockEdges, first: torch.Tensor, second: torch.Tensor, beta: float
) -> torch.Tensor:
    """SmoothMax (n_pairs,) in A of two lengths: their mean with weights exp(beta r).

    Not above the larger length.

    Parameters
    ----------
    edges:
        Edges of n atoms.
    first:
        First edge (n_pairs,) of each pair.
    second:
        Second edge (n_pairs,) of each pair.
    beta:
        Sharpness in 1/A.
    """
    length = edges.lengths[first]
    difference = edges.lengths[second] - length
    return length + difference * torch.sigmoid(beta * difference)


def smooth_minimum(
    edges: BlockEdges,
    weight: torch.Tensor,
    value: torch.Tensor,
    atom: torch.Tensor,
    bound: float,
    beta: float,
) -> torch.Tensor:
    """Means (n,) of values z (n_pairs,) and of a bound, with weights p exp(-beta z).

    The p of the bound is 1.

    Parameters
    ----------
    edges:
        Edges of n atoms.
    weight:
        Weights p (n_pairs,).
    value:
        Values z (n_pairs,).
    atom:
        Atom (n_pairs,) of each pair, 0 .. n - 1.
    bound:
        Value that belongs to every atom.
    beta:
        Sharpness, in 1 over the unit of values.
    """
    # Exponents are relative to the least z of an atom, which cancels in the quotient: no overflow.
    counted = torch.where(weight > 0, value, bound).detach()
    least = counted.new_full((edges.n_atoms,), bound)
    least = least.scatter_reduce(0, atom, counted, "amin")
    excess = value - least[atom]
    bound_excess = bound - least  # (n,)
    share = weight * torch.exp(-beta * excess)
    bound_share = torch.exp(-beta * bound_excess)
    pair_sum = edges.sum(share * value, atom)
    numerator = pair_sum + bound_share * bound
    denominator = edges.sum(share, atom) + bound_share
    return numerator / denominator
