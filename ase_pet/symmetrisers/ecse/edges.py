"""Directed edges of a graph within the cutoff, sorted by centre, in blocks of atoms."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from ...graph import Graph, chunking


@dataclass(frozen=True)
class Block:
    """Consecutive atoms of a graph, and their edges among the GraphEdges."""

    atoms: slice
    edges: slice


@dataclass(frozen=True)
class GraphEdges:
    """Directed edges of a graph within the cutoff, sorted by centre.

    Attributes
    ----------
    graph:
        Graph of n_atoms atoms.
    index:
        Edges (E,) of the graph.
    centre:
        Central atom (E,) of each.
    neighbour:
        Neighbour (E,) of each.
    start:
        First edge (n_atoms,) of each atom.
    count:
        Number of edges (n_atoms,) of each atom.
    """

    graph: Graph
    index: torch.Tensor
    centre: torch.Tensor
    neighbour: torch.Tensor
    start: torch.Tensor
    count: torch.Tensor

    @classmethod
    def from_graph(cls, graph: Graph, cutoff: float) -> GraphEdges:
        """Edges of all atoms of a graph that are shorter than the cutoff.

        Parameters
        ----------
        graph:
            Structures, with all pairs within the cutoff.
        cutoff:
            Cutoff in A.
        """
        graph = replace(graph, room=None)  # environments have lengths of their own
        squared_lengths = graph.edge_vectors.detach().double().square().sum(-1)
        index = torch.nonzero(squared_lengths < cutoff**2)[:, 0]
        # stable: the order of the edges of an atom, and with it all rounding, is that of the graph
        by_centre = torch.argsort(graph.centre[index], stable=True)
        index = index[by_centre]
        centre = graph.centre[index]
        count = torch.bincount(centre, minlength=graph.n_atoms)
        return cls(
            graph=graph,
            index=index,
            centre=centre,
            neighbour=graph.neighbour[index],
            start=count.cumsum(0) - count,
            count=count,
        )

    @property
    def vectors(self) -> torch.Tensor:
        """Vectors (E, 3) in A, float64."""
        return self.graph.edge_vectors.index_select(0, self.index).double()

    def blocks(self, hops: int) -> list[Block]:
        """Blocks of atoms whose frames are constructed at once.

        Parameters
        ----------
        hops:
            Number of edges that receptive fields extend beyond the neighbours.
        """
        # (n_atoms,) pairs of edges of an atom, and about as many entries of its cluster
        growth = self.count.clamp_min(1) ** min(hops, 2)
        sizes = self.count.square() * growth + 1
        limit = chunking.budget("pairs", self.count.device)
        bounds = [0, *self.count.cumsum(0).tolist()]  # edges of atom i: bounds[i] .. bounds[i + 1]
        blocks = []
        for atoms in chunking.split(sizes, limit):
            edges = slice(bounds[atoms.start], bounds[atoms.stop])
            blocks.append(Block(atoms, edges))
        return blocks


def ranges(start: torch.Tensor, count: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices start, start + 1, ... of n ranges, one range after the other, and their ranges.

    Parameters
    ----------
    start:
        First index (n,) of each range.
    count:
        Number of indices (n,) of each range.

    Returns
    -------
    tuple
        Indices (m,), and the range 0 .. n - 1 (m,) that each is of.
    """
    which = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
    before = count.cumsum(0) - count
    index = torch.arange(len(which), device=count.device) + (start - before)[which]
    return index, which
