"""Environments of single atoms as rows of one-sided graphs, evaluated in chunks."""

from dataclasses import dataclass, replace

import torch

from . import _chunks
from ._frames import ranges


@dataclass(frozen=True)
class Rows:
    """Environments to evaluate, and how much each counts for its atom.

    vectors (n_edges, 3) in A, atomic numbers (n_edges,) of the neighbours, owner (n_edges,), the atom that they are
    around: edges, which rows may share. Of each row: start, count (n_rows,): its edges; axes (n_rows, 3, 3): the frame
    in which it is seen, columns e1 e2 e3; back (n_rows, 3, 3): B of `_readings`, which turns back what is read there;
    atom and weights (n_rows,). All float64.
    """

    vectors: torch.Tensor
    numbers: torch.Tensor
    owner: torch.Tensor
    start: torch.Tensor
    count: torch.Tensor
    axes: torch.Tensor
    back: torch.Tensor
    atom: torch.Tensor
    weights: torch.Tensor

    def sums(self, model, reading, graph, chunk_edges, trainable):
        """(n_atoms, columns) sums over the rows of each atom of weight times what is read, turned back.

        graph: its atoms are those that the rows are around, its vectors have the dtype of the model.
        """
        def evaluate(chunk, vectors, axes, back, weights):
            found = reading(model, self._graph(chunk, graph, vectors, axes))[:len(weights)]
            found = weights[:, None] * reading.turned_back(found, back)
            return found.new_zeros(graph.n_atoms, reading.columns).index_add(0, self.atom[chunk], found)

        parts = [_chunks.Part((slice(None), chunk, chunk, chunk), slice(None), chunk)
                 for chunk in self.chunks(chunk_edges)]
        groups = torch.arange(graph.n_atoms, device=self.atom.device)
        terms = _chunks.Sum(evaluate, parts, (self.owner, self.atom, self.atom, self.atom), groups, reading.columns)
        return terms((self.vectors, self.axes, self.back, self.weights), trainable)

    def chunks(self, chunk_edges):
        """Slices of the rows that the model sees at once."""
        bounds = _chunks.cuts(self.count + 1, chunk_edges)
        return [slice(*pair) for pair in zip(bounds, bounds[1:], strict=False)]

    def _graph(self, chunk, graph, vectors, axes):
        """One-sided graph: an atom for each row of the chunk, then one atom for each element among the neighbours."""
        edge, row = ranges(self.start[chunk], self.count[chunk])
        seen = (vectors.index_select(0, edge)[:, :, None] * axes.index_select(0, row)).sum(1)
        elements, kind = self.numbers.index_select(0, edge).unique(return_inverse=True)
        atom = self.atom[chunk]
        return replace(
            graph, one_sided=True, pair_centre=row, pair_neighbour=len(atom) + kind,
            pair_vectors=seen.to(graph.pair_vectors.dtype), numbers=torch.cat([graph.numbers[atom], elements]),
            structure=torch.cat([graph.structure[atom], torch.zeros_like(elements)]))
