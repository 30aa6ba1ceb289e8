"""ECSE layer by layer: messages that are averages over frames, for PET trained with it.

Each layer evaluates each atom i in all environments m of `model`, in frames and collinear ones,
with their weights c_im, which add up to 1. Its outputs are averaged before the next layer uses
them:

    E_i  = sum over layers l of sum_m c_im eps_l(environment of i in m; messages of layer l - 1)
    e_ij = sum_m c_im f_ijm e_ijm
    n_i  = sum_m c_im n_im

Tokens e_ij become the messages of their edges, as the model exchanges them; n_i is the central
token of the next layer where there is one (featuriser `feedforward`). Both are invariant, so that
layer l receives invariant messages along the edges of atom i, in a frame of atom i. Energies are
exact under O(3), as smooth as those of ECSE, size-extensive and as local as the model: layers times
its cutoff. A layer costs as much as ECSE of a local model, and for one layer of the type residual
it is the same. The featuriser `feedforward` has one readout, of the averages themselves.

f is 1 in frames. In collinear environments neighbours off the axis are moved to the cutoff, where
their tokens must vanish: f is the cutoff factor of the moved edge.

A model that was trained without it sends other messages, and its result here is no average of its
energies. Frames and weights: S. Pozdnyakov and M. Ceriotti, NeurIPS 2023, arXiv:2305.19302, who
symmetrise the network as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch.nn.functional import pad
from torch.utils.checkpoint import checkpoint

from ...graph import Graph
from ...models import pet
from ...models.base import AtomisticModel
from .._equivariance import OutputSpec
from .edges import GraphEdges
from .framed import FramedEnvironments, in_frames
from .model import EcseModel
from .settings import PRESETS as ALL_PRESETS
from .settings import Settings

# a layer costs as much as a local model, so there is no limit
PRESETS = {name: changes for name, changes in ALL_PRESETS.items() if "limit" not in changes}


@dataclass(frozen=True)
class LayerBlock:
    """Some atoms in all their environments.

    Attributes
    ----------
    atoms:
        Slice of the n atoms of the graph.
    edges:
        Directed edges (K,) of the graph that are the entries of their receptive fields.
    environments:
        Environments of these atoms.
    """

    atoms: slice
    edges: torch.Tensor
    environments: FramedEnvironments


@dataclass(frozen=True)
class Tokens:
    """Tokens between two layers, averaged over environments.

    Attributes
    ----------
    node:
        Central tokens (n_atoms, d_node), None before the first layer.
    message:
        Messages (2P, d_pet) along the directed edges. Those before the first layer are in the
        embedding of species already, and those after the last one are unused by `residual`.
    """

    node: torch.Tensor | None
    message: torch.Tensor


class LayerSums(NamedTuple):
    """Weighted sums over environments of the n atoms of a block, of the outputs of one layer.

    Attributes
    ----------
    values:
        Readouts (n, columns), float64.
    node:
        Central tokens (n, d_node).
    edge:
        Edge tokens (K, d_pet).
    """

    values: torch.Tensor
    node: torch.Tensor
    edge: torch.Tensor

    def plus(self, other: LayerSums) -> LayerSums:
        """Sums over these and other environments of the same atoms.

        Parameters
        ----------
        other:
            Sums over the other environments.
        """
        return LayerSums(
            values=self.values + other.values,
            node=self.node + other.node,
            edge=self.edge + other.edge,
        )


class EcseLayersModel(EcseModel):
    """PET with fixed cutoffs, symmetrised layer by layer.

    Where more than one chunk of environments is differentiated, each is evaluated once more for
    that.

    Parameters
    ----------
    model:
        PET that is symmetrised.
    options:
        Settings of the weights, None for the defaults.
    chunk_edges:
        Largest number of directed edges that are evaluated at once, as for ECSE.

    Raises
    ------
    ValueError
        The model is another one.
    """

    model: pet.Model
    uncertainty = None  # the covariance is that of features of another function
    n_features = 0

    def __init__(
        self,
        model: AtomisticModel,
        options: Settings | None = None,
        chunk_edges: int | None = None,
    ) -> None:
        if not isinstance(model, pet.Model) or model.settings.num_neighbors_adaptive is not None:
            raise ValueError(
                "`symmetrise` 'ecse_layers' is for models `pet` with fixed cutoffs"
                " (`num_neighbors_adaptive` None): use ecse, group:O, group:I or quadrature:L"
            )
        super().__init__(model, options, chunk_edges)
        self.hops = 0  # each layer is local

    def averaged(self, graph: Graph, outputs: OutputSpec) -> torch.Tensor:
        """Outputs (n_atoms, columns), float64, of layers that are averaged one by one.

        Parameters
        ----------
        graph:
            Structures, with all pairs within `cutoff`.
        outputs:
            Outputs that are averaged.
        """
        outputs = self._supported(outputs)
        inputs = self._prepare(graph)
        graph_edges = GraphEdges.from_graph(inputs.graph, self.cutoff)
        blocks = self._blocks(graph_edges)
        n_edges = len(inputs.graph.centre)

        total = graph_edges.vectors.new_zeros(graph.n_atoms, outputs.columns)
        tokens = Tokens(None, self.model.first_message(inputs))
        for layer in range(self.settings.num_gnn_layers):
            averages = [self._layer(layer, block, tokens, outputs) for block in blocks]
            values = torch.cat([average.values for average in averages])  # (n_atoms, columns)
            node = torch.cat([average.node for average in averages])  # (n_atoms, d_node)
            edge = torch.cat([average.edge for average in averages])  # (E, d_pet)
            total = total + values
            edge = edge.new_zeros(n_edges, edge.shape[1]).index_copy(0, graph_edges.index, edge)
            message = self.model.exchange(layer, tokens.message, edge, inputs.graph)
            tokens = Tokens(node, message)
        if not self._reads_each_layer:
            total = total + self._read(outputs, {0: (tokens.node, tokens.message)}, inputs)
        repulsion = [
            self.model.repulsion(name, inputs.graph) + total.new_zeros(len(total), components)
            for name, components in outputs.heads.items()
        ]
        return total + torch.cat(repulsion, 1)

    def _prepare(self, graph: Graph) -> pet.PetInputs:
        """Inputs of the layers of PET."""
        return self.model.prepare(graph)

    @staticmethod
    def _cutoff_factor(inputs: pet.PetInputs) -> torch.Tensor:
        """Cutoff factor (2P,) of each directed edge of a one-sided graph."""
        return inputs.cutoff_factor

    @property
    def _reads_each_layer(self) -> bool:
        """Whether each layer has a readout, and the last one sends no messages."""
        return bool(self.settings.featurizer_type == "residual")

    def _supported(self, outputs: OutputSpec) -> OutputSpec:
        """The outputs with their heads; ValueError for vectors from invariant tokens."""
        heads = outputs.heads or {self.model.energy_head: 1}
        directed = [name for name, components in heads.items() if components > 1]
        if directed and not self._reads_each_layer:
            raise ValueError(
                f"head `{directed[0]}` has {heads[directed[0]]} components, which `symmetrise`"
                " 'ecse_layers' reads of models with `featurizer_type` 'residual' only"
            )
        return OutputSpec(heads)

    def _blocks(self, graph_edges: GraphEdges) -> list[LayerBlock]:
        """Environments of all atoms."""
        vectors = graph_edges.vectors
        return [
            LayerBlock(
                block.atoms,
                graph_edges.index[block.edges],
                self._block_environments(graph_edges, block, vectors[block.edges]).environments,
            )
            for block in graph_edges.blocks(0)
        ]

    def _read(
        self, outputs: OutputSpec, tokens: dict[int, tuple[Any, Any]], inputs: pet.PetInputs
    ) -> torch.Tensor:
        """Readouts (n, columns), float64, of {number of the readout: (node, edge) tokens}."""
        values = [self.model.read(name, tokens, inputs).double() for name in outputs.heads]
        return torch.cat(values, 1)

    def _layer_environments(self, layer: int, block: LayerBlock) -> FramedEnvironments:
        """Environments that one layer evaluates."""
        return block.environments

    def _layer(
        self, layer: int, block: LayerBlock, tokens: Tokens, outputs: OutputSpec
    ) -> LayerSums:
        """Averages over the environments of a block."""
        environments = self._layer_environments(layer, block)
        limit = self._edge_limit(environments.field.graph)
        chunks = environments.chunks(limit)
        again = len(chunks) > 1 and torch.is_grad_enabled() and not self.trainable

        def sums(chunk: slice) -> LayerSums:
            evaluate = partial(self._chunk_sums, layer, block, environments, chunk, tokens, outputs)
            if again:
                # each chunk is evaluated once more for derivatives, instead of keeping all graphs
                return checkpoint(evaluate, use_reentrant=False, preserve_rng_state=False)
            return evaluate()

        total = sums(chunks[0])
        for chunk in chunks[1:]:
            total = total.plus(sums(chunk))
        return total

    def _chunk_sums(
        self,
        layer: int,
        block: LayerBlock,
        environments: FramedEnvironments,
        chunk: slice,
        tokens: Tokens,
        outputs: OutputSpec,
    ) -> LayerSums:
        """Weighted sums over a chunk of environments."""
        field = environments.field
        n_atoms = len(field.count)
        n_entries = len(block.edges)
        # m environments with k vectors in all
        atom = environments.atom[chunk]
        axes = environments.axes[chunk]
        weights = environments.weights[chunk, None]  # (m, 1)
        vector_index, environment = environments.vector_indices(chunk)
        field_entry = environments.field_entry[vector_index]

        rotated = in_frames(environments.vectors, vector_index, axes, environment)
        graph, _ = field.copies(atom, field_entry, environment, rotated)
        inputs = self._prepare(graph)
        factor = self._cutoff_factor(inputs)
        node, message = self._layer_inputs(block, tokens, atom, field_entry, inputs)
        node, edge = self.model.layer(layer, node, message, inputs)

        values = weights.new_zeros(n_atoms, outputs.columns)
        if self._reads_each_layer:
            read = self._read(outputs, {layer: (node, edge)}, inputs)
            read = outputs.rotated_back(read[: len(atom)], environments.back[chunk])
            values = values.index_add(0, atom, weights * read)

        # the other nodes represent elements of neighbours, the other edges fill up the graph
        node = node[: len(atom)] * weights.to(node.dtype)
        share = edge_token_weights(vector_index, n_entries, factor)
        share = weights[environment] * share[:, None]  # c f, (k, 1)
        edge = edge[: len(vector_index)] * share.to(edge.dtype)
        node_sums = node.new_zeros(n_atoms, node.shape[1])
        edge_sums = edge.new_zeros(n_entries, edge.shape[1])
        return LayerSums(
            values=values,
            node=node_sums.index_add(0, atom, node),
            edge=edge_sums.index_add(0, field_entry, edge),
        )

    def _layer_inputs(
        self,
        block: LayerBlock,
        tokens: Tokens,
        atom: torch.Tensor,
        field_entry: torch.Tensor,
        inputs: pet.PetInputs,
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Central tokens and messages in the order of the atoms and edges of `inputs`."""
        if tokens.node is None:  # before the first layer
            return None, None
        node = tokens.node[block.atoms][atom]
        message = tokens.message.index_select(0, block.edges[field_entry])
        # zeros for nodes of elements of neighbours, and for edges that fill up the graph
        n_nodes = inputs.graph.n_atoms
        n_edges = len(self._cutoff_factor(inputs))
        node = pad(node, (0, 0, 0, n_nodes - len(node)))
        message = pad(message, (0, 0, 0, n_edges - len(message)))
        return node, message


def edge_token_weights(
    vector_index: torch.Tensor, n_entries: int, cutoff_factor: torch.Tensor
) -> torch.Tensor:
    """Weight f (k,) of each edge token: 1 in frames, the cutoff factor in collinear environments.

    Parameters
    ----------
    vector_index:
        Vector (k,) of each edge; those of collinear environments come after the entries of the
        receptive fields.
    n_entries:
        Number of entries K of the receptive fields.
    cutoff_factor:
        Cutoff factors of these edges, and of others after them.
    """
    return torch.where(vector_index < n_entries, 1.0, cutoff_factor[: len(vector_index)])
