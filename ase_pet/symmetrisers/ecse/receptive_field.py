"""Receptive fields: everything that the energy of one atom depends on.

Of a local model these are the edges of the atom. Of a message-passing model it is a cluster: the
atoms that are some number of edges away, the hops, and all of their edges.

A receptive field here is that of all atoms of a block. Its vectors are a table of entries, those of
one atom after the other: edges for local models, pairs for message-passing ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from ...graph import Graph
from ...models.base import AtomisticModel
from .edges import Block, GraphEdges, ranges


@dataclass(frozen=True)
class ReceptiveField:
    """Receptive fields of n atoms, with K entries in all.

    Attributes
    ----------
    graph:
        Graph of these and other atoms.
    start:
        First entry (n,) of each atom.
    count:
        Number of entries (n,) of each atom.
    groups:
        Group (n,) of each atom, for `ChunkedSum`.
    entry_groups:
        Group (K,) of each entry, which does not act on atoms of other groups.
    edges_per_entry:
        Directed edges that the model evaluates for an entry.
    """

    graph: Graph
    start: torch.Tensor
    count: torch.Tensor
    groups: torch.Tensor
    entry_groups: torch.Tensor

    edges_per_entry: ClassVar[int]

    def vectors(self, edge_vectors: torch.Tensor) -> torch.Tensor:
        """Vectors (K, 3) in A of the entries.

        Parameters
        ----------
        edge_vectors:
            Vectors in A of the edges of the block, or for clusters of all GraphEdges.
        """
        raise NotImplementedError

    def n_tokens(self, atom: torch.Tensor) -> torch.Tensor:
        """Number of central tokens (m,) that the model evaluates for copies around these atoms.

        Parameters
        ----------
        atom:
            Atoms (m,), 0 .. n - 1.
        """
        raise NotImplementedError

    def copies(
        self,
        atom: torch.Tensor,
        field_entry: torch.Tensor,
        environment: torch.Tensor,
        vectors: torch.Tensor,
    ) -> tuple[Graph, torch.Tensor]:
        """Graph of copies of receptive fields, and the index (m,) of their central atoms in it.

        Parameters
        ----------
        atom:
            Central atom (m,) of each copy, 0 .. n - 1.
        field_entry:
            Entries (k,) of the copies, 0 .. K - 1, those of one copy after the other.
        environment:
            Copy (k,) that each of them is of.
        vectors:
            Their vectors (k, 3) in A.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class LocalEnvironments(ReceptiveField):
    """Receptive fields of local models: the edges of each atom, as a one-sided graph.

    Attributes
    ----------
    atoms:
        Slice of the atoms of the graph.
    numbers:
        Atomic number (K,) of the neighbour of each entry.
    """

    atoms: slice
    numbers: torch.Tensor

    edges_per_entry = 1

    def vectors(self, edge_vectors: torch.Tensor) -> torch.Tensor:
        """Vectors (K, 3) in A of the entries: those of the edges.

        Parameters
        ----------
        edge_vectors:
            Vectors (K, 3) in A of the edges of the block.
        """
        return edge_vectors

    def n_tokens(self, atom: torch.Tensor) -> torch.Tensor:
        """Number of central tokens (m,) of copies around these atoms: 1.

        Parameters
        ----------
        atom:
            Atoms (m,), 0 .. n - 1.
        """
        return torch.ones_like(atom)

    def copies(
        self,
        atom: torch.Tensor,
        field_entry: torch.Tensor,
        environment: torch.Tensor,
        vectors: torch.Tensor,
    ) -> tuple[Graph, torch.Tensor]:
        """Graph of copies of environments, and the index (m,) of their central atoms in it.

        Parameters
        ----------
        atom:
            Central atom (m,) of each copy, 0 .. n - 1.
        field_entry:
            Entries (k,) of the copies, 0 .. K - 1, those of one copy after the other.
        environment:
            Copy (k,) that each of them is of.
        vectors:
            Their vectors (k, 3) in A.
        """
        numbers = self.graph.numbers[self.atoms][atom]
        structure = self.graph.structure[self.atoms][atom]
        # A local model needs only the element of a neighbour: one atom represents all neighbours of
        # an element, after the m central atoms.
        elements, kind = self.numbers.index_select(0, field_entry).unique(return_inverse=True)
        any_structure = torch.zeros_like(elements)  # of the nodes that represent neighbours
        graph = replace(
            self.graph,
            one_sided=True,
            route=None,
            pair_centre=environment,
            pair_neighbour=len(atom) + kind,
            pair_vectors=vectors.to(self.graph.pair_vectors.dtype),
            numbers=torch.cat([numbers, elements]),
            structure=torch.cat([structure, any_structure]),
        )
        centre = torch.arange(len(atom), device=atom.device)
        return graph, centre


def local_environments(edges: GraphEdges, block: Block) -> LocalEnvironments:
    """LocalEnvironments of the atoms of a block.

    Parameters
    ----------
    edges:
        Edges of all atoms.
    block:
        Atoms, and their edges.
    """
    count = edges.count[block.atoms]
    every_atom = torch.arange(edges.graph.n_atoms, device=count.device)
    return LocalEnvironments(
        graph=edges.graph,
        start=count.cumsum(0) - count,
        count=count,
        groups=every_atom[block.atoms],
        entry_groups=edges.centre[block.edges],
        atoms=block.atoms,
        numbers=edges.graph.numbers[edges.neighbour[block.edges]],
    )


@dataclass(frozen=True)
class MessagePassingClusters(ReceptiveField):
    """Receptive fields of message-passing models: all pairs within some hops of each atom.

    An atom and its periodic images are one atom of a cluster: their environments are the same, also
    when the structure is rotated.

    Attributes
    ----------
    edge:
        Edge (K,) among the GraphEdges of each pair.
    first:
        First atom (K,) of each pair, among those of its cluster.
    second:
        Second atom (K,) of each pair, among those of its cluster.
    node:
        Atoms (M,) of the graph, those of one cluster after the other.
    node_start:
        First node (n,) of each cluster.
    node_count:
        Number of nodes (n,) of each cluster.
    centre:
        Central atom (n,), among the nodes of its cluster.
    """

    edge: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor
    node: torch.Tensor
    node_start: torch.Tensor
    node_count: torch.Tensor
    centre: torch.Tensor

    edges_per_entry = 2

    def vectors(self, edge_vectors: torch.Tensor) -> torch.Tensor:
        """Vectors (K, 3) in A of the entries: those of the pairs.

        Parameters
        ----------
        edge_vectors:
            Vectors (E, 3) in A of all GraphEdges.
        """
        return edge_vectors.index_select(0, self.edge)

    def n_tokens(self, atom: torch.Tensor) -> torch.Tensor:
        """Number of central tokens (m,) of copies around these atoms: those of the cluster.

        Parameters
        ----------
        atom:
            Atoms (m,), 0 .. n - 1.
        """
        return self.node_count[atom]

    def copies(
        self,
        atom: torch.Tensor,
        field_entry: torch.Tensor,
        environment: torch.Tensor,
        vectors: torch.Tensor,
    ) -> tuple[Graph, torch.Tensor]:
        """Graph of copies of clusters, and the index (m,) of their central atoms in it.

        Parameters
        ----------
        atom:
            Central atom (m,) of each copy, 0 .. n - 1.
        field_entry:
            Entries (k,) of the copies, 0 .. K - 1, those of one copy after the other.
        environment:
            Copy (k,) that each of them is of.
        vectors:
            Their vectors (k, 3) in A.
        """
        size = self.node_count[atom]
        index, _ = ranges(self.node_start[atom], size)
        node = self.node[index]
        offset = size.cumsum(0) - size  # first node of each copy, (m,)
        first_node = offset[environment]  # (k,)
        graph = replace(
            self.graph,
            pair_centre=first_node + self.first[field_entry],
            pair_neighbour=first_node + self.second[field_entry],
            pair_vectors=vectors.to(self.graph.pair_vectors.dtype),
            numbers=self.graph.numbers[node],
            structure=self.graph.structure[node],
        )
        centre = offset + self.centre[atom]
        return graph, centre


def message_passing_clusters(edges: GraphEdges, atoms: slice, hops: int) -> MessagePassingClusters:
    """MessagePassingClusters of some atoms.

    Parameters
    ----------
    edges:
        Edges of all atoms.
    atoms:
        Slice of the atoms of the graph.
    hops:
        Number of edges between the central atom and the farthest atoms all of whose pairs count.
    """
    graph = edges.graph
    n_atoms = graph.n_atoms
    n_pairs = max(1, len(graph.pair_centre))
    centre = torch.arange(n_atoms, device=edges.count.device)[atoms]
    # An atom in a cluster is the number cluster * n_atoms + atom, and a pair alike, so that
    # `unique` sorts them by cluster.
    central = torch.arange(len(centre), device=centre.device) * n_atoms + centre
    within = central
    for _ in range(hops):
        edge, cluster = _edges_of(edges, within)
        reached = cluster * n_atoms + edges.neighbour[edge]
        within = torch.cat([within, reached]).unique()
    edge, cluster = _edges_of(edges, within)
    # both directions of a pair are one entry
    entry = (cluster * n_pairs + edges.index[edge] % n_pairs).unique()
    cluster = entry // n_pairs
    pair = entry % n_pairs

    first_node = cluster * n_atoms + graph.pair_centre[pair]
    second_node = cluster * n_atoms + graph.pair_neighbour[pair]
    node = torch.cat([within, first_node, second_node]).unique()
    count = torch.bincount(cluster, minlength=len(centre))
    node_count = torch.bincount(node // n_atoms, minlength=len(centre))
    node_start = node_count.cumsum(0) - node_count

    # position of each directed edge of the graph among the GraphEdges
    position = edge.new_empty(2 * n_pairs)
    position[edges.index] = torch.arange(len(edges.index), device=edge.device)
    groups = graph.structure[atoms]
    return MessagePassingClusters(
        graph=graph,
        start=count.cumsum(0) - count,
        count=count,
        groups=groups,
        entry_groups=groups[cluster],
        edge=position[pair],
        first=torch.searchsorted(node, first_node) - node_start[cluster],
        second=torch.searchsorted(node, second_node) - node_start[cluster],
        node=node % n_atoms,
        node_start=node_start,
        node_count=node_count,
        centre=torch.searchsorted(node, central) - node_start,
    )


def _edges_of(edges: GraphEdges, within: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Edges of atoms in clusters, given as cluster * n_atoms + atom, and their clusters."""
    n_atoms = edges.graph.n_atoms
    atom = within % n_atoms
    edge, which = ranges(edges.start[atom], edges.count[atom])
    return edge, (within // n_atoms)[which]


def message_passing_hops(model: AtomisticModel) -> int:
    """Number of edges between an atom and the farthest atom whose edges affect its energy.

    Parameters
    ----------
    model:
        Model that is symmetrised.

    Raises
    ------
    ValueError
        The number is unknown.
    """
    depth = model.message_passing_depth
    if depth is None:
        raise ValueError(
            "`symmetrise` 'ecse': the settings of this model do not say how many message-passing"
            " layers it has (`num_gnn_layers`): use group:O, group:I or quadrature:L"
        )
    return depth
