"""Many structures as one graph of tensors: what every model is a function of."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from .neighbours import half_list


@dataclass(frozen=True)
class Graph:
    """A batch of structures; atoms and pairs of all of them one after the other.

    numbers (n,) int64          atomic numbers
    structure (n,) int64        which structure an atom belongs to, 0 .. n_structures - 1
    pair_centre, pair_neighbour (P,) int64    each pair once (half list)
    pair_vectors (P, 3)         v = r_j - r_i, in the model's dtype, made in float64
    volume (n_structures,)      float64, A^3; 0 for a cell without rank 3
    periodic (n_structures,)    bool, whether in any direction
    charge, spin (n_structures,) int64        total charge in e, multiplicity 2S+1

    one_sided                   whether the pairs are edges of their first atom only

    The 2P directed edges are [all pairs; all pairs reversed], so the reverse of an edge is a roll
    by P. Any engine may fill these arrays from a list of its own: nothing here needs ASE, and atoms
    that only serve as neighbours are ordinary atoms whose energies are not read. A one-sided graph
    has the P edges as given: environments of centres, for models whose energies depend on an atom's
    own edges only.
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

    @property
    def n_atoms(self):
        return self.numbers.shape[0]

    @property
    def centre(self):
        """(2P,) centre i of each directed edge."""
        return (
            self.pair_centre
            if self.one_sided
            else torch.cat([self.pair_centre, self.pair_neighbour])
        )

    @property
    def neighbour(self):
        """(2P,) neighbour j of each directed edge."""
        return (
            self.pair_neighbour
            if self.one_sided
            else torch.cat([self.pair_neighbour, self.pair_centre])
        )

    @property
    def edge_vectors(self):
        """(2P, 3) r_j - r_i of each directed edge."""
        return (
            self.pair_vectors
            if self.one_sided
            else torch.cat([self.pair_vectors, -self.pair_vectors])
        )

    def per_edge(self, per_pair):
        """(2P, ...) of what is the same for both directions of a pair, (P, ...)."""
        return per_pair if self.one_sided else torch.cat([per_pair, per_pair])

    def with_vectors(self, pair_vectors):
        """The same graph on other pair vectors (P, 3), for derivatives and rotated copies."""
        return replace(self, pair_vectors=pair_vectors)

    def select(self, keep):
        """The graph of the pairs where keep (P,) is True."""
        return replace(
            self,
            pair_centre=self.pair_centre[keep],
            pair_neighbour=self.pair_neighbour[keep],
            pair_vectors=self.pair_vectors[keep],
        )

    def filled(self, length):
        """The graph with pairs of atom 0 with itself at `length` (A) added at the end, up to a
        round number of pairs.

        Beyond the cutoff of a model they count nothing, but they bound the number of different
        array shapes: in a run or in training the number of pairs changes at each step, and a
        library that makes a kernel for each shape (oneDNN) spends 15-20 % of the time on that. At
        most 1/16 of the pairs is added, or three.
        """
        count = len(self.pair_vectors)
        extra = -count % 2 ** max(2, count.bit_length() - 5)
        atoms = self.pair_centre.new_zeros(extra)
        vectors = self.pair_vectors.new_zeros(extra, 3)
        vectors[:, 0] = length
        return replace(
            self,
            pair_centre=torch.cat([self.pair_centre, atoms]),
            pair_neighbour=torch.cat([self.pair_neighbour, atoms]),
            pair_vectors=torch.cat([self.pair_vectors, vectors]),
        )

    def to(self, device=None, dtype=None):
        """The graph on another device, its vectors in another dtype."""
        moved = {
            name: getattr(self, name).to(device)
            for name in (
                "numbers",
                "structure",
                "pair_centre",
                "pair_neighbour",
                "volume",
                "periodic",
                "charge",
                "spin",
            )
        }
        return replace(self, pair_vectors=self.pair_vectors.to(device, dtype), **moved)


def build(structures, lists, *, dtype=torch.float64, device="cpu"):
    """Graph of structures and their half lists.

    structures: list of Structure; lists: list of HalfList, or a cutoff in A to search with.
    """
    if not isinstance(lists, (list, tuple)):
        lists = [half_list(structure, lists) for structure in structures]
    sizes = [len(structure) for structure in structures]
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    offset = np.repeat(first, [len(pairs.centres) for pairs in lists])
    graph = Graph(
        numbers=_tensor([structure.numbers for structure in structures]),
        structure=torch.from_numpy(np.repeat(np.arange(len(sizes)), sizes)),
        n_structures=len(sizes),
        pair_centre=_tensor([pairs.centres for pairs in lists]) + torch.from_numpy(offset),
        pair_neighbour=_tensor([pairs.neighbours for pairs in lists]) + torch.from_numpy(offset),
        pair_vectors=_tensor([pairs.vectors for pairs in lists]),
        volume=torch.tensor([structure.volume for structure in structures], dtype=torch.float64),
        periodic=torch.tensor([bool(structure.pbc.any()) for structure in structures]),
        charge=torch.tensor([structure.charge or 0 for structure in structures]),
        spin=torch.tensor(
            [1 if structure.spin is None else structure.spin for structure in structures]
        ),
    )
    return graph.to(device, dtype)


def _tensor(arrays):
    return torch.from_numpy(np.concatenate(arrays))
