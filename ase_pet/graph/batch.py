"""Structures as one batched graph of tensors, the input of every model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from .neighbours import HalfList, half_list
from .partners import Route, swap
from .room import Lengths, Room
from .structure import Structure
from .transfer import moved


@dataclass(frozen=True)
class Graph:
    """A batch of structures, with their atoms and pairs concatenated.

    The 2P directed edges are [all pairs; all pairs reversed], so the partner j -> i of an edge
    i -> j is a roll by P. Any simulation engine may fill these tensors from its own neighbour list:
    nothing here needs ASE. A one-sided graph has the P edges as given, those of the centres that
    are evaluated here. Models whose atomic energies depend on the edges of that atom only need
    nothing else; others need a route to the partners, which may be rows of other processes. Of a
    neighbour a one-sided graph needs the element only: one atom may represent all of an element.

    Attributes
    ----------
    numbers:
        Atomic numbers (n,), int64.
    structure:
        Index of the structure of each atom (n,), int64, from 0 to n_structures - 1.
    n_structures:
        Number of structures.
    pair_centre:
        Index i of the first atom of each pair (P,), int64; each pair occurs once (half list).
    pair_neighbour:
        Index j of the second atom of each pair (P,), int64.
    pair_vectors:
        v = r_j - r_i (P, 3) in A, in the dtype of the model, computed in float64.
    volume:
        Volumes of the cells (n_structures,) in A^3, float64; 0 for a cell without rank 3.
    periodic:
        Whether each structure is periodic in any direction (n_structures,), bool.
    charge:
        Total charges (n_structures,) in e, int64.
    spin:
        Spin multiplicities 2S+1 (n_structures,), int64.
    one_sided:
        Whether the pairs are directed edges of their first atom only.
    route:
        Where the partners of the edges of a one-sided graph are; None where nothing needs them.
    room:
        Lengths of arrays that are kept from step to step; the pairs are padded then, with pairs
        beyond the cutoff. None for arrays as long as the positions ask for.
    """

    numbers: torch.Tensor
    structure: torch.Tensor
    n_structures: int
    pair_centre: torch.Tensor
    pair_neighbour: torch.Tensor
    pair_vectors: torch.Tensor
    volume: torch.Tensor
    periodic: torch.Tensor
    charge: torch.Tensor
    spin: torch.Tensor
    one_sided: bool = False
    route: Route | None = None
    room: Room | None = None

    def __post_init__(self) -> None:
        if self.route is not None and len(self.route.source) != len(self.pair_centre):
            raise ValueError("`route` is that of other edges")

    @property
    def n_atoms(self) -> int:
        """Number of atoms of all structures."""
        return self.numbers.shape[0]

    @property
    def lengths(self) -> Lengths:
        """Lengths of arrays of this graph, which may be kept from step to step."""
        return Lengths(self.room, self.n_atoms)

    @property
    def centre(self) -> torch.Tensor:
        """(2P,) index of the centre i of each directed edge."""
        if self.one_sided:
            return self.pair_centre
        return torch.cat([self.pair_centre, self.pair_neighbour])

    @property
    def neighbour(self) -> torch.Tensor:
        """(2P,) index of the neighbour j of each directed edge."""
        if self.one_sided:
            return self.pair_neighbour
        return torch.cat([self.pair_neighbour, self.pair_centre])

    @property
    def edge_vectors(self) -> torch.Tensor:
        """(2P, 3) r_j - r_i in A of each directed edge."""
        if self.one_sided:
            return self.pair_vectors
        return torch.cat([self.pair_vectors, -self.pair_vectors])

    def per_edge(self, per_pair: torch.Tensor) -> torch.Tensor:
        """(2P, ...) values of the directed edges.

        Parameters
        ----------
        per_pair:
            Values (P, ...) that are the same for both directions of a pair.
        """
        return per_pair if self.one_sided else torch.cat([per_pair, per_pair])

    def partner(self, rows: torch.Tensor) -> torch.Tensor:
        """(2P, ...) values of the partner j -> i of each directed edge i -> j.

        Parameters
        ----------
        rows:
            Values (2P, ...) of the directed edges.

        Raises
        ------
        ValueError
            The graph is one-sided, and the partners of its edges are unknown.
        """
        if not self.one_sided:
            return rows.roll(len(self.pair_centre), 0)
        if self.route is None:
            raise ValueError("a one-sided graph needs a `route` for models that exchange messages")
        return swap(rows, self.route)

    def directions(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(P, ...) values of each pair's two edges: rows and partners, of a one-sided graph too.

        Parameters
        ----------
        rows:
            Values (2P, ...) of the directed edges.
        """
        if self.one_sided:
            return rows, self.partner(rows)
        forwards, backwards = rows.chunk(2)
        return forwards, backwards

    def of_neighbours(self, per_atom: torch.Tensor) -> torch.Tensor:
        """(2P, ...) values of the neighbour of each directed edge.

        Where there is a route they come from the process that evaluates the neighbour.

        Parameters
        ----------
        per_atom:
            Values (n_atoms, ...).
        """
        if self.route is None:
            return per_atom.index_select(0, self.neighbour)
        return self.partner(per_atom.index_select(0, self.centre))

    def with_vectors(self, pair_vectors: torch.Tensor) -> Graph:
        """The same graph with other vectors, for derivatives and rotated copies.

        Parameters
        ----------
        pair_vectors:
            Vectors (P, 3) in A.
        """
        return replace(self, pair_vectors=pair_vectors)

    def select(self, keep: torch.Tensor) -> Graph:
        """The graph of some of the pairs.

        Parameters
        ----------
        keep:
            Indices of the pairs to keep. Of a graph with a route, they are each other's partners.
        """
        return replace(
            self,
            route=None if self.route is None else self.route.select(keep),
            pair_centre=self.pair_centre[keep],
            pair_neighbour=self.pair_neighbour[keep],
            pair_vectors=self.pair_vectors[keep],
        )

    def select_where(self, mask: torch.Tensor, name: str, length: float) -> Graph:
        """The graph of the pairs of a mask, padded with pairs that do not contribute.

        Parameters
        ----------
        mask:
            Whether to keep each pair (P,). Of a graph with a route, they are each other's partners.
        name:
            Name of this selection, for `lengths`.
        length:
            Length of the added pairs in A, beyond the cutoff of the model.
        """
        lengths = self.lengths
        count = lengths.fixed(name)
        if count is None:
            kept = torch.nonzero(mask)[:, 0]
            lengths.measured(name, len(kept))
            return self.select(kept).filled(length)
        lengths.needed(name, mask.sum())
        # places 0, 1, ... of the pairs to keep; the last one is of those that do not fit
        place = mask.cumsum(0) - 1
        place = torch.where(mask, place, count)
        place = place.clamp_max(count)
        rows = torch.arange(len(mask), device=mask.device)
        # places that stay empty get a new pair of atom 0 with itself, in row len(mask)
        kept = rows.new_full((count + 1,), len(mask))
        kept = kept.scatter(0, place, rows)
        return self.padded(1, length).select(kept[:count])

    def filled(self, length: float) -> Graph:
        """The graph padded to a round number of pairs, with pairs that do not contribute.

        The number of pairs changes at each step of a run or of training, and a library that
        compiles a kernel for each array shape (oneDNN) spends 15-20 % of the time on that. Padding
        bounds the number of shapes. At most 1/16 of the pairs is added, or three.

        Parameters
        ----------
        length:
            Length of the added pairs in A, beyond the cutoff of the model. They connect atom 0
            with itself.
        """
        count = len(self.pair_vectors)
        # The next multiple of a power of two that is at most 1/16 of the number of pairs.
        multiple = 2 ** max(2, count.bit_length() - 5)
        return self.padded(-count % multiple, length)

    def padded(self, extra: int, length: float) -> Graph:
        """The graph with pairs of atom 0 with itself at the end.

        Parameters
        ----------
        extra:
            Number of added pairs.
        length:
            Their length in A.
        """
        atoms = self.pair_centre.new_zeros(extra)
        vectors = self.pair_vectors.new_zeros(extra, 3)
        vectors[:, 0] = length
        return replace(
            self,
            route=None if self.route is None else self.route.padded(extra),
            pair_centre=torch.cat([self.pair_centre, atoms]),
            pair_neighbour=torch.cat([self.pair_neighbour, atoms]),
            pair_vectors=torch.cat([self.pair_vectors, vectors]),
        )

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Graph:
        """The graph on another device, with its vectors in another dtype.

        Parameters
        ----------
        device:
            Device of all tensors, None to keep it.
        dtype:
            Floating point type of `pair_vectors`, None to keep it. Volumes stay in float64.
        """
        tensors = [
            self.numbers,
            self.structure,
            self.pair_centre,
            self.pair_neighbour,
            self.pair_vectors.to(dtype=dtype),
            self.volume,
            self.periodic,
            self.charge,
            self.spin,
        ]
        numbers, structure, centre, neighbour, vectors, *of_structures = moved(tensors, device)
        volume, periodic, charge, spin = of_structures
        return replace(
            self,
            route=None if self.route is None else self.route.to(device),
            numbers=numbers,
            structure=structure,
            pair_centre=centre,
            pair_neighbour=neighbour,
            pair_vectors=vectors,
            volume=volume,
            periodic=periodic,
            charge=charge,
            spin=spin,
        )


def build(
    structures: Sequence[Structure],
    lists: Sequence[HalfList] | float,
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Graph:
    """Graph of structures and their half lists.

    Parameters
    ----------
    structures:
        Structures of the batch.
    lists:
        Half list of each structure, or a cutoff in A for which they are searched.
    dtype:
        Floating point type of the vectors.
    device:
        Device of all tensors.
    """
    if not isinstance(lists, (list, tuple)):
        lists = [half_list(structure, lists) for structure in structures]  # type: ignore[arg-type]
    sizes = [len(structure) for structure in structures]
    n_pairs = [len(pairs.centres) for pairs in lists]
    # Indices of atoms in the batch are those in the structure plus its first atom's index (P,).
    first_atoms = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    offset = torch.from_numpy(np.repeat(first_atoms, n_pairs))
    volumes = [structure.volume for structure in structures]
    periodic = [bool(structure.pbc.any()) for structure in structures]
    charges = [structure.charge or 0 for structure in structures]
    multiplicities = [1 if structure.spin is None else structure.spin for structure in structures]
    graph = Graph(
        numbers=_concatenated([structure.numbers for structure in structures]),
        structure=torch.from_numpy(np.repeat(np.arange(len(sizes)), sizes)),
        n_structures=len(sizes),
        pair_centre=_concatenated([pairs.centres for pairs in lists]) + offset,
        pair_neighbour=_concatenated([pairs.neighbours for pairs in lists]) + offset,
        pair_vectors=_concatenated([pairs.vectors for pairs in lists]),
        volume=torch.tensor(volumes, dtype=torch.float64),
        periodic=torch.tensor(periodic),
        charge=torch.tensor(charges),
        spin=torch.tensor(multiplicities),
    )
    return graph.to(device, dtype)


def _concatenated(arrays: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(arrays))
