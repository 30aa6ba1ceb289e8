"""Environments of single atoms as rows, each seen in some axes, evaluated in chunks."""

from dataclasses import dataclass

import torch

from . import _auxiliary, _chunks, _fields
from ._frames import ranges

HANDS = ((1.0, 1.0, 1.0), (1.0, -1.0, 1.0))  # signs of the axes of a frame and of its mirror image


@dataclass(frozen=True)
class Rows:
    """Environments to evaluate, and how much each counts for its atom.

    vectors (m, 3) in A, which rows may share, and source (m,), the entry of the field that each
    stands for. Of each
    row: start, count (n_rows,): its vectors; axes (n_rows, 3, 3): the frame in which it is seen,
    columns e1 e2 e3; back (n_rows, 3, 3): B of `_readings`, which turns back what is read there;
    atom and weights (n_rows,). All float64.
    """

    field: _fields.Stars | _fields.Clusters
    vectors: torch.Tensor
    source: torch.Tensor
    start: torch.Tensor
    count: torch.Tensor
    axes: torch.Tensor
    back: torch.Tensor
    atom: torch.Tensor
    weights: torch.Tensor

    @property
    def edges(self):
        """(n_rows,) directed edges that the model sees for each row."""
        return self.field.edges_per_entry * self.count

    def sums(self, model, reading, chunk_edges, trainable):
        """(n_atoms, columns) sums over the rows of each atom of weight times what is read.

        Turned back.
        """
        groups = self.field.groups

        def evaluate(chunk, vectors, axes, back, weights):
            entry, row = ranges(self.start[chunk], self.count[chunk])
            seen = (vectors.index_select(0, entry)[:, :, None] * axes.index_select(0, row)).sum(1)
            scene, place = self.field.scene(self.atom[chunk], self.source[entry], row, seen)
            found = reading(model, scene).index_select(0, place)
            found = weights[:, None] * reading.turned_back(found, back)
            return found.new_zeros(len(groups), reading.columns).index_add(
                0, self.atom[chunk], found
            )

        parts = [
            _chunks.Part((slice(None), chunk, chunk, chunk), slice(None), chunk)
            for chunk in self.chunks(chunk_edges)
        ]
        owner = groups[self.atom]
        terms = _chunks.Sum(
            evaluate,
            parts,
            (self.field.owner[self.source], owner, owner, owner),
            groups,
            reading.columns,
        )
        return terms((self.vectors, self.axes, self.back, self.weights), trainable)

    def chunks(self, chunk_edges):
        """Slices of the rows that the model sees at once."""
        bounds = _chunks.cuts(self.edges + 1, chunk_edges)
        return [slice(*pair) for pair in zip(bounds, bounds[1:], strict=False)]


def rows(field, table, frames, auxiliary, lines, options):
    """Rows of all environments of the atoms of a field: in each frame, in its mirror image, on
    lines.

    table (K, 3): vectors of the field; auxiliary (n,): w_aux; options: `parity`, whether mirror
    images count, `turns`.
    """
    share, hands = (
        1 / (frames.total + auxiliary),
        frames.axes.new_tensor(HANDS[: 1 + options.parity]),
    )
    axes = (frames.axes[:, None] * hands[:, None]).flatten(0, 1)
    weights = (frames.weights * share[frames.atom] / len(hands)).repeat_interleave(len(hands))
    atom = frames.atom.repeat_interleave(len(hands))
    entries = field.count[lines.atom] * lines.has_axis
    entry, line = ranges(field.start[lines.atom], entries)
    view, straight, back, part = _auxiliary.views(lines, options.turns, hands)
    owner = lines.atom[view]
    return Rows(
        field=field,
        vectors=torch.cat([table, _auxiliary.seen(lines, line, table[entry], options.turns)]),
        source=torch.cat([torch.arange(len(table), device=entry.device), entry]),
        start=torch.cat([field.start[atom], (entries.cumsum(0) - entries)[view] + len(table)]),
        count=torch.cat([field.count[atom], entries[view]]),
        axes=torch.cat([axes, straight]),
        back=torch.cat([axes, back]),
        atom=torch.cat([atom, owner]),
        weights=torch.cat([weights, part * lines.weights[view] * (auxiliary * share)[owner]]),
    )
