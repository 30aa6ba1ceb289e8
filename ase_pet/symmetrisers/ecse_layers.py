"""ECSE layer by layer: messages that are means over the frames of their centre, for PET trained
with it.

Each layer sees each atom i in all environments m of `ecse`, its frames and lines, with their
weights c_im, which add up to 1. What it makes there is averaged before anybody else sees it:

    E_i = sum over layers l of sum_m c_im eps_l(star of i in m; messages of layer l - 1)
    e_ij = sum_m c_im f_ijm e_ijm,     n_i = sum_m c_im n_im

Tokens e_ij become the messages of their edges, as the model exchanges them; n_i is the central
token of the next layer where there is one (featuriser `feedforward`). Both are invariant, so that
layer l sees invariant messages along the edges of atom i in a frame of atom i. Energies are exact
under O(3), as smooth as those of `ecse`, size-extensive and as local as the model: layers times its
cutoff. A layer costs as much as `ecse` of a local model, and for one layer of the type residual it
is the same. The featuriser `feedforward` is read once, from the means themselves.

f is 1 in frames. On lines neighbours slide out to the cutoff, where their tokens belong to nobody:
f is the cutoff factor of the edge as the line shows it.

A model that was trained without it sends other messages, and what comes out is no mean of its
energies. Frames and
weights: S. Pozdnyakov and M. Ceriotti, NeurIPS 2023, arXiv:2305.19302, who symmetrise the network
as a whole.
"""

from dataclasses import dataclass

import torch
from torch.nn.functional import pad
from torch.utils.checkpoint import checkpoint

from ..models import pet
from . import _fields, _rows, ecse
from ._frames import ranges


@dataclass(frozen=True)
class Block:
    """Some atoms.

    The slice that they are, the edge of the graph (K,) that each entry of their field is, their
    rows.
    """

    atoms: slice
    edge: torch.Tensor
    rows: _rows.Rows


class Model(ecse.Model):
    """PET with fixed cutoffs, symmetrised layer by layer. Raises ValueError for other models.

    chunk_edges: as of `ecse`. Where more than one chunk is differentiated, each is evaluated once
    more for it.
    """

    uncertainty = None  # the covariance is that of features which this is no mean of

    def __init__(self, model, options=None, chunk_edges=None):
        if not isinstance(model, pet.Model) or model.settings.num_neighbors_adaptive is not None:
            raise ValueError(
                "`symmetrise` 'ecse_layers' is for models `pet` with fixed cutoffs"
                " (`num_neighbors_adaptive` None): use ecse, group:O, group:I or quadrature:L"
            )
        super().__init__(model, options, chunk_edges)
        self.hops = 0  # what is turned are the edges of an atom

    def mean(self, graph, reading):
        heads, scene = self._heads(reading), self.model.prepare(graph)
        near = _fields.neighbours(scene.graph, self.cutoff)
        vectors = near.vectors
        blocks = [
            Block(
                atoms,
                near.index[edges],
                self._environments(near, (atoms, edges), vectors[edges])[2],
            )
            for atoms, edges in near.blocks(0)
        ]
        total, node, message = 0.0, None, None
        for index in range(self.settings.num_gnn_layers):
            found = [self._layer(index, block, (node, message), reading, heads) for block in blocks]
            values, node, edge = (torch.cat(parts) for parts in zip(*found, strict=True))
            edge = edge.new_zeros(len(scene.graph.centre), edge.shape[1]).index_copy(
                0, near.index, edge
            )
            message = self.model.exchange(index, message, edge, scene)
            total = total + values
        if not self._each:
            total = total + self._read(heads, {0: (node, message)}, scene)
        repulsion = [
            self.model.repulsion(name, scene.graph) + total.new_zeros(len(total), size)
            for name, size in heads.items()
        ]
        return total + torch.cat(repulsion, 1)

    @property
    def _each(self):
        """Whether each layer is read out, and the last one sends nothing."""
        return self.settings.featurizer_type == "residual"

    def _heads(self, reading):
        """{name: components} of what is read.

        Raises ValueError for vectors that only invariant tokens would give.
        """
        heads = reading.heads or {self.model.energy_head: 1}
        directed = [name for name, components in heads.items() if components > 1]
        if directed and not self._each:
            raise ValueError(
                f"head `{directed[0]}` has {heads[directed[0]]} components, which `symmetrise`"
                " 'ecse_layers' reads of models with `featurizer_type` 'residual' only"
            )
        return heads

    def _read(self, heads, tokens, scene):
        """(n, columns) float64 of the heads."""
        return torch.cat([self.model.read(name, tokens, scene).double() for name in heads], 1)

    def _of_layer(self, rows):
        """The rows that one layer sees."""
        return rows

    def _layer(self, index, block, inputs, reading, heads):
        """Means over the rows of the atoms of a block: values (n, columns), central tokens (n,
        d_node), edges (K, d_pet).

        inputs: central tokens (n_atoms, d_node) and messages (2P, d_pet) of the layer before.
        """
        rows = self._of_layer(block.rows)
        chunks = rows.chunks(self._budget(rows.field.graph))
        again = len(chunks) > 1 and torch.is_grad_enabled() and not self.trainable
        total = None
        for chunk in chunks:
            arguments = index, block, rows, chunk, inputs, reading, heads
            found = (
                checkpoint(self._sums, *arguments, use_reentrant=False, preserve_rng_state=False)
                if again
                else self._sums(*arguments)
            )
            total = (
                found
                if total is None
                else [one + other for one, other in zip(total, found, strict=True)]
            )
        return total

    def _sums(self, index, block, rows, chunk, inputs, reading, heads):
        """What the rows of a chunk add to the means of `_layer`."""
        entry, row = ranges(rows.start[chunk], rows.count[chunk])
        atom, source, weights = rows.atom[chunk], rows.source[entry], rows.weights[chunk, None]
        seen = (
            rows.vectors.index_select(0, entry)[:, :, None] * rows.axes[chunk].index_select(0, row)
        ).sum(1)
        scene = self.model.prepare(rows.field.scene(atom, source, row, seen)[0])
        node, message = inputs
        if index > 0:
            message = message.index_select(0, block.edge[source])
            message = pad(message, (0, 0, 0, len(scene.cutoff_factor) - len(source)))
            node = pad(node[block.atoms][atom], (0, 0, 0, scene.graph.n_atoms - len(atom)))
        node, edge = self.model.layer(index, node, message, scene)
        n, n_entries = len(rows.field.count), len(block.edge)
        values = weights.new_zeros(n, reading.columns)
        if self._each:
            read = self._read(heads, {index: (node, edge)}, scene)[: len(atom)]
            values = values.index_add(
                0, atom, weights * reading.turned_back(read, rows.back[chunk])
            )
        share = weights[row] * _there(entry, n_entries, scene.cutoff_factor)[:, None]
        edge = edge[: len(entry)] * share.to(edge.dtype)
        node = node[: len(atom)] * weights.to(node.dtype)
        return (
            values,
            node.new_zeros(n, node.shape[1]).index_add(0, atom, node),
            edge.new_zeros(n_entries, edge.shape[1]).index_add(0, source, edge),
        )


def _there(entry, n_entries, factor):
    """How much of the token of each entry is there.

    On lines, whose entries are not those of the field, f.
    """
    return torch.where(entry < n_entries, 1.0, factor[: len(entry)])


WORDS = {word: changes for word, changes in ecse.WORDS.items() if "limit" not in changes}


def wrap(model, argument=""):
    """The model, symmetrised with the default settings.

    Or those that the argument names as for `ecse`: "so3", "o3".
    """
    return Model(model, ecse.named(argument, "ecse_layers", WORDS))
