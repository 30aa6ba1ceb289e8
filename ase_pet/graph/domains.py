"""The atoms of one process of a larger structure: their edges, and the route to partner edges.

A simulation engine that divides a structure among processes gives each of them local atoms, which
it owns, and copies of the atoms around them, ghosts, up to one cutoff (and a skin) away. Periodic
images are ghosts, too. A one-sided graph has the directed edges that start at local atoms. No ghost
is evaluated: it is the end of edges, and one atom per element represents all of them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from .batch import Graph
from .neighbours import pairs
from .partners import OneProcess, Route, Transport
from .routes import find_route
from .structure import Structure


class Domain(NamedTuple):
    """Atoms that one process knows: n local ones, then ghosts, m in all.

    Attributes
    ----------
    n_local:
        Number n of local atoms.
    tags:
        Numbers (m,) of the atoms, the same in all processes and for a ghost and its atom.
    numbers:
        Atomic numbers (m,).
    positions:
        Positions (m, 3) in A.
    """

    n_local: int
    tags: np.ndarray
    numbers: np.ndarray
    positions: np.ndarray


class DomainList:
    """Edges of the local atoms of a process, searched again only when the engine exchanges atoms.

    The search includes edges up to cutoff + skin, and finds the route to their partners. Between
    searches the edges within the cutoff are selected. All processes call its methods together.

    Parameters
    ----------
    cutoff:
        Largest length of an edge in A.
    skin:
        Additional search radius in A.
    species:
        Atomic numbers that may occur.
    transport:
        How rows pass between processes; None where there is one.
    """

    def __init__(
        self,
        cutoff: float,
        skin: float,
        species: tuple[int, ...],
        transport: Transport | None = None,
    ) -> None:
        self.cutoff = float(cutoff)
        self.skin = float(skin)
        self.species = np.unique(np.array(species, dtype=np.int64))
        self.transport = transport or OneProcess()
        self.searches = 0  # number of searches so far
        self._searched: Domain | None = None  # domain of the latest search
        # central atoms and neighbours (E,) of that search, as indices of its atoms, and their route
        self._edges: tuple[np.ndarray, np.ndarray]
        self._route: Route

    def is_same_system(self, domain: Domain) -> bool:
        """Whether a domain has the atoms of the latest search, in the same order.

        Parameters
        ----------
        domain:
            Atoms of this process now.
        """
        old = self._searched
        return (
            old is not None
            and old.n_local == domain.n_local
            and np.array_equal(old.tags, domain.tags)
            and np.array_equal(old.numbers, domain.numbers)
        )

    def covers(self, domain: Domain) -> bool:
        """Whether no edge within the cutoff can be missing, for atoms as of the latest search.

        The length of an edge has changed by at most the displacements of a local atom and of any
        other atom.

        Parameters
        ----------
        domain:
            Atoms of this process now, the same as in the latest search.
        """
        assert self._searched is not None  # there was a search
        displacements = domain.positions - self._searched.positions
        distances = np.sqrt(np.einsum("ik,ik->i", displacements, displacements))
        of_local = distances[: domain.n_local].max(initial=0.0)
        return bool(of_local + distances.max(initial=0.0) <= self.skin)

    def search(self, domain: Domain) -> None:
        """Search the edges of a domain, and the route to their partners.

        Parameters
        ----------
        domain:
            Atoms of this process, with all ghosts up to cutoff + skin from local ones.

        Raises
        ------
        ValueError
            Processes disagree about the edges between their atoms.
        """
        reach = self.cutoff + self.skin
        centre, neighbour = _directed_edges(domain, reach)  # (E,) each
        owner = self._owners(domain)
        tags = np.column_stack([domain.tags[centre], domain.tags[neighbour]])
        vectors = domain.positions[neighbour] - domain.positions[centre]
        keep, self._route = find_route(tags, owner[neighbour], vectors, reach, self.transport)
        kept = keep.numpy()
        self._edges = (centre[kept], neighbour[kept])
        self._searched = domain
        self.searches += 1

    def edges(self, domain: Domain) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Centres (E,), neighbours (E,) and vectors (E, 3) in A of the edges of the search.

        Parameters
        ----------
        domain:
            Atoms of this process now, the same as in the latest search.
        """
        centre, neighbour = self._edges
        vectors = domain.positions.take(neighbour, axis=0)
        vectors -= domain.positions.take(centre, axis=0)
        return centre, neighbour, vectors

    def graph(self, domain: Domain, charge: int = 0, spin: int = 1) -> Graph:
        """One-sided graph of the edges within the cutoff, with vectors in float64, on the CPU.

        Its atoms are the n local ones, in structure 0, and one of each species, in structure 1.

        Parameters
        ----------
        domain:
            Atoms of this process now, the same as in the latest search.
        charge:
            Total charge of the structure in e.
        spin:
            Its spin multiplicity 2S+1.
        """
        centre, neighbour, vectors = self.edges(domain)
        squared_lengths = np.einsum("ik,ik->i", vectors, vectors)
        is_short = squared_lengths <= self.cutoff**2
        is_within = torch.from_numpy(is_short)
        # two processes may round the length of an edge to different sides of the cutoff
        is_within = is_within & self._route.swap(is_within)
        keep = torch.nonzero(is_within)[:, 0]
        kind = np.searchsorted(self.species, domain.numbers[neighbour])
        of_local = domain.numbers[: domain.n_local]
        with_species = np.concatenate([of_local, self.species])
        numbers = torch.from_numpy(with_species)
        structure = torch.zeros_like(numbers)
        structure[domain.n_local :] = 1
        return Graph(
            numbers=numbers,
            structure=structure,
            n_structures=2,
            pair_centre=torch.from_numpy(centre)[keep],
            pair_neighbour=torch.from_numpy(domain.n_local + kind)[keep],
            pair_vectors=torch.from_numpy(vectors)[keep],
            volume=torch.zeros(2, dtype=torch.float64),
            periodic=torch.ones(2, dtype=torch.bool),
            charge=torch.full((2,), charge),
            spin=torch.full((2,), spin),
            one_sided=True,
            route=self._route.select(keep),
        )

    def _owners(self, domain: Domain) -> np.ndarray:
        """Process (m,) that owns each atom of a domain."""
        of_ranks = self.transport.gather(domain.tags[: domain.n_local])
        tags = np.concatenate(of_ranks)  # of all atoms
        counts = [len(part) for part in of_ranks]
        rank = np.repeat(np.arange(len(counts)), counts)
        order = np.argsort(tags)
        place = np.searchsorted(tags[order], domain.tags)
        owned = order[np.minimum(place, len(tags) - 1)]
        if (tags[owned] != domain.tags).any():
            raise ValueError("a ghost atom is a copy of an atom that no process owns")
        return rank[owned]


def _directed_edges(domain: Domain, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Centres (E,), local atoms, and neighbours (E,) of all edges up to a length in A."""
    n_local = domain.n_local
    if n_local == 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    cell = np.zeros((3, 3))
    structure = Structure(domain.numbers, domain.positions, cell, np.zeros(3, dtype=bool))
    i, j, _ = pairs(structure, reach)
    is_local = i < n_local
    is_local_too = j < n_local
    centre = np.concatenate([i[is_local], j[is_local_too]])
    neighbour = np.concatenate([j[is_local], i[is_local_too]])
    return centre, neighbour
