"""What a model must be shown for the energy of one atom: its own edges, or all that messages reach
it from.

Two kinds of fields serve `_rows`, Stars and Clusters, each for the atoms of a block. Both have a
table of vectors with the entries of one atom after the other:

    start, count (n,)      entries of each atom
    groups (n,)            group of each atom, owner (K,) of each entry: no entry acts on atoms of
                           another group
    edges_per_entry        directed edges that the model sees for an entry
    table(vectors)         (K, 3) of the edges of the block, for clusters of all edges, sorted by
                           atom
    tokens(atom)           central tokens that the model sees for a row of that atom
    scene(atom, entry, row, seen)   Graph of rows around the atoms (n_rows,), with entries (m,) of
                                    the rows (m,) seen
                           along vectors (m, 3), and the place (n_rows,) of these atoms in it
"""

from dataclasses import dataclass, replace

import torch

from ..graph import Graph
from . import _chunks
from ._frames import ranges

CHUNK_PAIRS = 2**18  # ordered pairs of neighbours, or entries of clusters, that are treated at once


@dataclass(frozen=True)
class Neighbours:
    """Directed edges of a graph within the cutoff, sorted by centre.

    index (E,) among the edges of the graph; centre, neighbour (E,) atoms; start, count (n_atoms,)
    edges of each atom.
    """

    graph: Graph
    index: torch.Tensor
    centre: torch.Tensor
    neighbour: torch.Tensor
    start: torch.Tensor
    count: torch.Tensor

    @property
    def vectors(self):
        """(E, 3) in A, float64."""
        return self.graph.edge_vectors.index_select(0, self.index).double()

    def blocks(self, hops):
        """List of (atoms, edges).

        Slices of all atoms and of their edges, about CHUNK_PAIRS pairs of edges each.
        """
        sizes = self.count.square() * self.count.clamp_min(1) ** min(hops, 2)
        atoms = _chunks.cuts(sizes + 1, CHUNK_PAIRS)
        edges = torch.cat([self.count.new_zeros(1), self.count.cumsum(0)])[atoms].tolist()
        return [
            (slice(*atom), slice(*edge))
            for atom, edge in zip(
                zip(atoms, atoms[1:], strict=False),
                zip(edges, edges[1:], strict=False),
                strict=True,
            )
        ]


def neighbours(graph, cutoff):
    """Neighbours of all atoms of a graph within the cutoff in A."""
    index = torch.nonzero(graph.edge_vectors.detach().double().square().sum(-1) < cutoff**2)[:, 0]
    index = index[torch.argsort(graph.centre[index], stable=True)]
    count = torch.bincount(graph.centre[index], minlength=graph.n_atoms)
    return Neighbours(
        graph, index, graph.centre[index], graph.neighbour[index], count.cumsum(0) - count, count
    )


@dataclass(frozen=True)
class Stars:
    """Fields of local models: the edges of each atom. A row is an atom of a one-sided graph."""

    graph: Graph
    atoms: slice
    numbers: torch.Tensor
    start: torch.Tensor
    count: torch.Tensor
    groups: torch.Tensor
    owner: torch.Tensor
    edges_per_entry = 1

    def table(self, vectors):
        return vectors

    def tokens(self, atom):
        return torch.ones_like(atom)

    def scene(self, atom, entry, row, seen):
        """An atom for each row, then one atom for each element among the neighbours."""
        elements, kind = self.numbers.index_select(0, entry).unique(return_inverse=True)
        numbers, structure = (
            self.graph.numbers[self.atoms][atom],
            self.graph.structure[self.atoms][atom],
        )
        graph = replace(
            self.graph,
            one_sided=True,
            pair_centre=row,
            pair_neighbour=len(atom) + kind,
            pair_vectors=seen.to(self.graph.pair_vectors.dtype),
            numbers=torch.cat([numbers, elements]),
            structure=torch.cat([structure, torch.zeros_like(elements)]),
        )
        return graph, torch.arange(len(atom), device=atom.device)


def stars(near, atoms, edges):
    """Stars of a block of Neighbours."""
    count = near.count[atoms]
    groups = torch.arange(near.graph.n_atoms, device=count.device)[atoms]
    return Stars(
        graph=near.graph,
        atoms=atoms,
        numbers=near.graph.numbers[near.neighbour[edges]],
        start=count.cumsum(0) - count,
        count=count,
        groups=groups,
        owner=near.centre[edges],
    )


@dataclass(frozen=True)
class Clusters:
    """Fields of models that pass messages: the pairs of each atom within some hops, and the atoms
    that they join.

    edge (K,) of each pair, first and second (K,): its ends among the atoms of the cluster; node
    (M,) atoms of the graph, one cluster after the other, node_start and node_count (n,); place (n,)
    of the atom itself in its cluster. An atom and its periodic images are one: they see the same,
    however the structure is turned.
    """

    graph: Graph
    edge: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor
    start: torch.Tensor
    count: torch.Tensor
    node: torch.Tensor
    node_start: torch.Tensor
    node_count: torch.Tensor
    place: torch.Tensor
    groups: torch.Tensor
    owner: torch.Tensor
    edges_per_entry = 2

    def table(self, vectors):
        return vectors.index_select(0, self.edge)

    def tokens(self, atom):
        return self.node_count[atom]

    def scene(self, atom, entry, row, seen):
        """A copy of the cluster of its atom for each row."""
        node, _ = ranges(self.node_start[atom], self.node_count[atom])
        before = self.node_count[atom].cumsum(0) - self.node_count[atom]
        node = self.node[node]
        graph = replace(
            self.graph,
            pair_centre=before[row] + self.first[entry],
            pair_neighbour=before[row] + self.second[entry],
            numbers=self.graph.numbers[node],
            pair_vectors=seen.to(self.graph.pair_vectors.dtype),
            structure=self.graph.structure[node],
        )
        return graph, before + self.place[atom]


def clusters(near, atoms, hops):
    """Clusters of a block of Neighbours.

    All pairs of the atoms that are no more than `hops` edges away.
    """
    graph, n_atoms, n_pairs = near.graph, near.graph.n_atoms, len(near.graph.pair_centre)
    centre = torch.arange(n_atoms, device=near.count.device)[atoms]
    own = (
        torch.arange(len(centre), device=centre.device) * n_atoms + centre
    )  # cluster * n_atoms + atom
    whole = own
    for _ in range(hops):
        edge, cluster = _edges(near, whole)
        whole = torch.cat([whole, cluster * n_atoms + near.neighbour[edge]]).unique()
    edge, cluster = _edges(near, whole)
    pair = (cluster * n_pairs + near.index[edge] % max(1, n_pairs)).unique()
    cluster, pair = pair // max(1, n_pairs), pair % max(1, n_pairs)
    ends = [cluster * n_atoms + end[pair] for end in (graph.pair_centre, graph.pair_neighbour)]
    node = torch.cat([whole, *ends]).unique()
    count, node_count = (
        torch.bincount(values, minlength=len(centre)) for values in (cluster, node // n_atoms)
    )
    node_start = node_count.cumsum(0) - node_count
    first, second = (torch.searchsorted(node, end) - node_start[cluster] for end in ends)
    position = torch.empty(2 * n_pairs, dtype=torch.int64, device=edge.device)
    position[near.index] = torch.arange(len(near.index), device=edge.device)
    return Clusters(
        graph=graph,
        edge=position[pair],
        first=first,
        second=second,
        start=count.cumsum(0) - count,
        count=count,
        node=node % n_atoms,
        node_start=node_start,
        node_count=node_count,
        place=torch.searchsorted(node, own) - node_start,
        groups=graph.structure[atoms],
        owner=graph.structure[atoms][cluster],
    )


def _edges(near, whole):
    """Edges of atoms in clusters, given as cluster * n_atoms + atom, and their clusters."""
    atom, cluster = whole % near.graph.n_atoms, whole // near.graph.n_atoms
    edge, which = ranges(near.start[atom], near.count[atom])
    return edge, cluster[which]


def hops(model):
    """Number of edges between an atom and the farthest atom whose edges affect its energy.

    Raises ValueError for a model that does not say.
    """
    depth = model.message_passing_depth
    if depth is None:
        raise ValueError(
            "`symmetrise` 'ecse': the settings of this model do not say how many message-passing"
            " layers it has (`num_gnn_layers`): use group:O, group:I or quadrature:L"
        )
    return depth
