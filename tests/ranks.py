"""Ranks without MPI: threads that meet at a barrier, and a structure that is divided among them."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from ase_pet import graph
from ase_pet.graph.domains import Domain


class Threads:
    """Transport of one of several ranks that are threads of this process."""

    def __init__(self, rank, shared):
        self.rank = rank
        self.size = shared["size"]
        self.shared = shared
        self.swapped_rows = 0

    def _all(self, value):
        """Values of all ranks."""
        self.shared["values"][self.rank] = value
        self.shared["barrier"].wait(60)
        values = list(self.shared["values"])
        self.shared["barrier"].wait(60)
        return values

    def counts(self, sent):
        return [other[self.rank] for other in self._all(sent)]

    def rows(self, rows, sent, received):
        parts = self._all(rows.split(sent))
        self.swapped_rows += len(rows)
        mine = [part[self.rank] for part in parts]
        assert [len(part) for part in mine] == list(received)
        return torch.cat(mine)

    def largest(self, number):
        return max(self._all(number))

    def gather(self, values):
        return self._all(values)


class Deaf(Threads):
    """The same, but partners of other ranks are zero: the control of tests of the swap."""

    def rows(self, rows, sent, received):
        got = super().rows(rows, sent, received)
        return got if rows.dtype == torch.bool or rows.shape[1] == 5 else torch.zeros_like(got)


def on_ranks(size, function, transport=Threads):
    """Results of function(transport) of each of `size` ranks."""
    shared = {"size": size, "values": [None] * size, "barrier": threading.Barrier(size)}

    def run(rank):
        try:
            return function(transport(rank, shared))
        except BaseException:
            shared["barrier"].abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(run, rank) for rank in range(size)]
        errors = [future.exception() for future in futures]
    causes = [error for error in errors if error and not _is_consequence(error)]
    for error in causes or filter(None, errors):
        raise error
    return [future.result() for future in futures]


def _is_consequence(error):
    return isinstance(error, threading.BrokenBarrierError)


def owners(atoms, size):
    """Rank of each atom: slabs of equal thickness along x of the cell."""
    fractions = atoms.get_scaled_positions()[:, 0]
    return np.minimum((fractions * size).astype(int), size - 1)


def domain(atoms, owner, rank, reach):
    """Domain of a rank: its atoms, and all images of atoms within reach of them."""
    structure = graph.from_atoms(atoms, False)
    i, j, shifts = graph.neighbours.pairs(structure, reach)
    # both directions: atoms that are seen by local ones, with their images
    seen = np.concatenate([np.column_stack([i, j, shifts]), np.column_stack([j, i, -shifts])])
    seen = seen[owner[seen[:, 0]] == rank][:, 1:]
    images = np.unique(seen, axis=0)
    is_local = (owner[images[:, 0]] == rank) & (images[:, 1:] == 0).all(1)
    images = images[~is_local]
    local = np.flatnonzero(owner == rank)
    index = np.concatenate([local, images[:, 0]])
    positions = atoms.positions[index]
    positions[len(local) :] += images[:, 1:] @ atoms.cell.array
    return Domain(len(local), index + 1, structure.numbers[index], positions)
