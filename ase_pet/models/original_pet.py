"""The original PET: attention among the neighbours of each atom, energies read after each layer.

Symbols are those of `pet`, with a factor R on messages. A layer of message passing is

    e_ij = compress([W (r_ij, |r_ij|), S(Z_j), m_ij])           `MessageLayer`
    n_i, e_i1, ... e_ik <- attention among these tokens         `TransformerLayer`
    m_ij <- R (m_ij + e_ji)

where the first messages are S(Z_j), and some layers have central tokens n_i and others have not.
Energies are sums over layers,

    E_i = sum over layers of [head(n_i or sum_j f_ij e_ij) + sum_j f_ij bond_head(e_ij)]

With the cosine as cutoff function f only first derivatives are continuous. Means over neighbours,
which replace these sums in some settings, are discontinuous where the last neighbour crosses the
cutoff, and are zero for an atom without neighbours. The original program adds 1e-15 to the sum of
attention weights, over edges and padding; here there is no padding that gets attention.

Where linear maps follow each other, the method `plain` of a `MessageLayer` is its equation, and the
method `folded`, which is used while `fast` is True, multiplies their weights first.

Architecture: S. Pozdnyakov and M. Ceriotti, arXiv:2305.19302; github.com/spozdn/pet (MIT),
equations only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from .. import ranges
from ..choices import one_of_each
from ..graph import Graph
from ..layers import cutoff, ragged
from ..layers.attention_layout import AttentionLayout, attention_layout
from ..layers.linear import Embedding, Linear, derived, linear, stack
from .base import AtomisticModel, Parts

ACTIVATIONS = {"silu": nn.SiLU, "mish": nn.Mish}


@ranges.checked
class Settings:
    """Hyper-parameters of an original PET, with the names of its program in small letters."""

    species: ranges.Species  # atomic numbers, in the order of the embedding rows
    r_cut: ranges.Cutoff = 5.0  # A
    cutoff_delta: ranges.SwitchWidth = 0.2  # A, width over which an edge is switched off
    cutoff_function: str = "cosine"  # bump, cosine, step; the original has the cosine
    n_gnn_layers: ranges.Layers = 3  # message-passing layers
    n_trans_layers: ranges.BlockLayers = 3  # transformer layers in each message-passing layer
    transformer_d_model: ranges.LayerWidth = 128  # width of tokens
    transformer_n_head: ranges.LayerWidth = 4  # attention heads
    transformer_dim_feedforward: ranges.LayerWidth = 512  # hidden width of the MLP on tokens
    head_n_neurons: ranges.LayerWidth = 128  # hidden width of heads
    activation: str = "silu"  # silu, mish
    transformer_type: str = "PostLN"  # PostLN, PreLN
    compress_mode: str = "mlp"  # mlp, linear
    use_length: bool = True  # geometry of an edge is vector and length, else the vector
    use_only_length: bool = False  # geometry is the length: energies are invariant to rotations
    r_embedding_activation: bool = False  # activation after the embedding of geometry
    blend_neighbor_species: bool = False  # species of neighbours enter all layers, not the first
    add_token_first: bool = True  # central tokens in all layers but the last
    add_token_second: bool = True  # central tokens in the last layer
    use_bond_energies: bool = True  # whether edge tokens have readouts, too
    average_pooling: bool = False  # without central tokens: mean over neighbours, not sum
    average_bond_energies: bool = False  # mean over neighbours, not sum
    # False, as before April 2024: bond energies without f, means by number of neighbours
    weigh_bonds: bool = True
    residual_factor: ranges.Factor = 0.5  # R
    heads: ranges.Heads = field(default_factory=lambda: {"energy": 1})  # name -> components

    def __post_init__(self) -> None:
        choices = {
            "cutoff_function": cutoff.FUNCTIONS,
            "activation": ACTIVATIONS,
            "compress_mode": ("mlp", "linear"),
            "transformer_type": ("PostLN", "PreLN"),
        }
        one_of_each(self, choices)
        if self.transformer_d_model % self.transformer_n_head:
            raise ValueError(
                f"`transformer_d_model` {self.transformer_d_model} must be a multiple of "
                f"`transformer_n_head` {self.transformer_n_head}"
            )
        if self.use_only_length and not self.use_length:
            raise ValueError(
                "`use_only_length` is True and `use_length` is False: nothing is left to see of an"
                " edge"
            )

    def has_central_tokens(self, layer: int) -> bool:
        """Whether atoms have central tokens in a message-passing layer, counted from 0."""
        is_last = layer + 1 == self.n_gnn_layers
        return self.add_token_second if is_last else self.add_token_first


@dataclass(frozen=True)
class Inputs:
    """Inputs that all layers share, computed from a graph by `Model.prepare`."""

    graph: Graph  # padded to a round number of pairs with pairs beyond the cutoff
    geometry: Tensor  # (2P, 1, 3 or 4) edge vectors, lengths or both in A
    species_rows: Tensor  # (n_atoms,) row of each atom in the embedding tables
    neighbour_rows: Tensor  # (2P,) the same of each edge's neighbour
    layout: AttentionLayout  # of layers with central tokens
    edge_layout: AttentionLayout  # of layers without
    pool_weight: Tensor  # (2P, 1) weights in sums of edge tokens
    bond_weight: Tensor  # (2P, 1) weights in sums of bond energies


def _mlp(settings: Settings, widths: Sequence[int]) -> nn.Sequential:
    """Linear maps from width to width, entries 0, 2, ..., with activations between them."""
    layers: list[nn.Module] = [Linear(widths[0], widths[1])]
    for width, following in zip(widths[1:-1], widths[2:], strict=True):
        activation = ACTIVATIONS[settings.activation]()
        layers += [activation, Linear(width, following)]
    return nn.Sequential(*layers)


class TransformerLayer(nn.Module):
    """Attention among the tokens of each atom, and an MLP on each token.

        softmax(q k^T / sqrt(c) + log f) v      with f = 1 for the central token

    Widths and variants are those of the settings.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        d = settings.transformer_d_model
        self.is_pre_norm = settings.transformer_type == "PreLN"
        self.attention = ragged.Attention(d, settings.transformer_n_head, temperature=1.0)
        self.norm_attention = nn.LayerNorm(d)
        self.norm_mlp = nn.LayerNorm(d)
        self.mlp = _mlp(settings, (d, settings.transformer_dim_feedforward, d))

    def forward(self, tokens: Tensor, layout: AttentionLayout) -> Tensor:
        """Tokens (n_atoms + 2P, d) for tokens in the cells of a layout."""
        if self.is_pre_norm:
            tokens = tokens + self.attention(self.norm_attention(tokens), layout)
            return tokens + self.mlp(self.norm_mlp(tokens))
        tokens = self.norm_attention(tokens + self.attention(tokens, layout))
        return self.norm_mlp(tokens + self.mlp(tokens))


class MessageLayer(nn.Module):
    """Edge tokens from geometry, neighbour species and messages, then transformer layers.

        e_ij = compress([act(W (r_ij, |r_ij|) + b), S(Z_j), m_ij])

    In the first layer S is the embedding that becomes the first messages, and there are no m_ij. In
    others S has weights of its own or is left out, and the activation act too.

    Parameters
    ----------
    settings:
        Those of the model.
    index:
        Number of the layer, from 0.
    """

    fast = True  # False: `plain` instead of `folded`, for comparison

    def __init__(self, settings: Settings, index: int) -> None:
        super().__init__()
        d = settings.transformer_d_model
        n_species = len(settings.species)
        n_components = 1 if settings.use_only_length else 3 + settings.use_length
        activation = ACTIVATIONS[settings.activation]
        self.blended = index > 0 and settings.blend_neighbor_species
        self.r_embedding = Linear(n_components, d)
        self.r_activation = activation() if settings.r_embedding_activation else None
        # geometry and, of species and message, one or both
        widths = [(2 + self.blended) * d, d]
        if settings.compress_mode == "mlp":
            widths.append(d)
        self.compress = _mlp(settings, widths)
        if self.blended:
            self.neighbor_embedder = Embedding(n_species, d)
        has_central = settings.has_central_tokens(index)
        self.central_embedder = Embedding(n_species, d) if has_central else None
        self.transformer_layers = stack(settings.n_trans_layers, TransformerLayer, settings)
        is_pre_norm = settings.transformer_type == "PreLN"
        self.final_norm = nn.LayerNorm(d) if is_pre_norm else nn.Identity()

    def forward(
        self, message: Tensor | None, species_table: Tensor | None, inputs: Inputs
    ) -> tuple[Tensor, Tensor]:
        """Central tokens (n_atoms, d), meaningless in layers without, and edge tokens (2P, d).

        Parameters
        ----------
        message:
            Messages (2P, d), None in the first layer.
        species_table:
            Embedding S (n_species, d) of neighbour species, or None.
        inputs:
            Those of `Model.prepare`.

        """
        embed = self.folded if self.fast else self.plain
        edge = embed(message, species_table, inputs)
        n_atoms = inputs.graph.n_atoms
        if self.central_embedder is None:
            node = edge.new_zeros(n_atoms, edge.shape[1])
            layout = inputs.edge_layout
        else:
            node = self.central_embedder(inputs.species_rows)
            layout = inputs.layout
        tokens = torch.cat([node, edge])  # (n_atoms + 2P, d)
        for layer in self.transformer_layers:
            tokens = layer(tokens, layout)
        tokens = self.final_norm(tokens)
        return tokens[:n_atoms], tokens[n_atoms:]

    def plain(self, message: Tensor | None, species_table: Tensor | None, inputs: Inputs) -> Tensor:
        """Edge tokens (2P, d) before attention, of message, species_table and inputs."""
        parts = [self._activated(self.r_embedding(inputs.geometry))]
        if species_table is not None:
            parts.append(functional.embedding(inputs.neighbour_rows, species_table))
        if message is not None:
            parts.append(message)
        return self.compress(torch.cat(parts, 1))  # from (2P, 2 or 3 times d)

    def _activated(self, embedded: Tensor) -> Tensor:
        return embedded if self.r_activation is None else self.r_activation(embedded)

    def folded(
        self, message: Tensor | None, species_table: Tensor | None, inputs: Inputs
    ) -> Tensor:
        """Edge tokens (2P, d) as of `plain`, of message, species_table and inputs.

        With [A B C] for the first map of compress and c its bias, that map is A W (r_ij, |r_ij|) +
        (B S(Z_j) + A b + c) + C m_ij where the embedding of geometry has no activation.
        """
        parameters = [*self.r_embedding.parameters(), *self.compress[0].parameters()]
        if species_table is not None:
            parameters.append(species_table)
        to_geometry, bias, to_message = derived(
            self, "folded", parameters, lambda: self._folded_weights(species_table)
        )
        geometry = inputs.geometry
        if self.r_activation is not None:
            geometry = self.r_activation(self.r_embedding(geometry))  # (2P, d)
        if species_table is None:
            edge = linear(geometry, to_geometry, bias)
        else:
            edge = linear(geometry, to_geometry)
            edge = edge + functional.embedding(inputs.neighbour_rows, bias)
        if message is not None:
            edge = edge + linear(message, to_message)
        for module in list(self.compress)[1:]:
            edge = module(edge)
        return edge

    def _folded_weights(self, species_table: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """A W (d, 1, 3 or 4) or A (d, d), bias (d,) or one per species (n_species, d), and C."""
        first_map = self.compress[0]
        blocks = first_map.weight.split(first_map.out_features, dim=1)  # (d, d) each
        to_geometry = blocks[0].contiguous()
        bias: Tensor = first_map.bias
        if self.r_activation is None:
            to_geometry = blocks[0] @ self.r_embedding.weight
            bias = bias + blocks[0] @ self.r_embedding.bias
        if species_table is not None:
            bias = bias + species_table @ blocks[1].T
        return to_geometry, bias, blocks[-1].contiguous()


class Model(AtomisticModel):
    """Original PET: `forward(graph)` returns energies (n_atoms,) in eV, `predict` any heads.

    Parameters
    ----------
    settings:
        Hyper-parameters.
    """

    # second derivatives do not exist at the two ends of the cosine; lengths and cutoff factors are
    # in the dtype of the pair vectors, which may be above the weights'
    exact_geometry = True
    fixed_lengths = True
    supports_domains = True
    parts = Parts(readouts=("heads", "bond_heads"), layers=("gnn_layers",))

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, settings.r_cut, settings.species)
        d = settings.transformer_d_model
        n_layers = settings.n_gnn_layers
        self.embedding = Embedding(len(settings.species), d)
        layers = [MessageLayer(settings, index) for index in range(n_layers)]
        self.gnn_layers = nn.ModuleList(layers)
        self.heads = nn.ModuleDict()
        self.bond_heads = nn.ModuleDict()
        # one head per layer
        for name, components in settings.heads.items():
            widths = (d, settings.head_n_neurons, settings.head_n_neurons, components)
            self.heads[name] = stack(n_layers, _mlp, settings, widths)
            if settings.use_bond_energies:
                self.bond_heads[name] = stack(n_layers, _mlp, settings, widths)

    @property
    def message_passing_depth(self) -> int:
        """Number of exchanges of messages, which is one less than the number of layers."""
        return self.settings.n_gnn_layers - 1

    def predict(self, graph: Graph, names: tuple[str, ...]) -> dict[str, Tensor]:
        """{head: values (n_atoms, components)}, scaled, without composition energies.

        Parameters
        ----------
        graph:
            Structures, with all pairs within `cutoff`.
        names:
            Names of heads.
        """
        inputs = self.prepare(graph)
        tokens = list(self._tokens(inputs))
        return {name: self._read(name, tokens, inputs) for name in names}

    def prepare(self, graph: Graph) -> Inputs:
        """Inputs of all layers for the structures of graph, with all pairs within `cutoff`."""
        settings = self.settings
        # pads to a round number of pairs with pairs beyond the cutoff, which have no effect
        if graph.room is None:
            graph = graph.filled(2 * self.cutoff)
        distances = graph.pair_vectors.square().sum(-1).sqrt()  # (P,)
        cutoff_function = cutoff.FUNCTIONS[settings.cutoff_function]
        factor = cutoff_function(distances, settings.r_cut, settings.cutoff_delta)
        factor = factor.to(self.embedding.weight.dtype)
        # bonds of early versions count fully within the cutoff
        bond_factor = factor
        if not settings.weigh_bonds:
            bond_factor = (distances < settings.r_cut).to(factor.dtype)
        pool_norm = bond_factor if settings.average_pooling else None
        bond_norm = bond_factor if settings.average_bond_energies else None
        pool_weight = _edge_weights(graph, factor, pool_norm)
        bond_weight = _edge_weights(graph, bond_factor, bond_norm)
        species_rows = self.species_rows[graph.numbers]
        edge_factor = graph.per_edge(factor)
        n_heads = settings.transformer_n_head
        layout = attention_layout(graph.centre, graph.n_atoms, edge_factor, n_heads, graph.lengths)
        return Inputs(
            graph=graph,
            geometry=self._geometry(graph).to(factor.dtype),
            species_rows=species_rows,
            neighbour_rows=species_rows[graph.neighbour],
            layout=layout,
            edge_layout=layout.without_central(),
            pool_weight=pool_weight,
            bond_weight=bond_weight,
        )

    def _geometry(self, graph: Graph) -> Tensor:
        """Edge vectors, lengths or both, (2P, 1, 3 or 4) in A."""
        if not self.settings.use_length:
            return graph.edge_vectors
        squared = graph.pair_vectors.square().sum(-1, keepdim=True)
        # 1e-15 as in the original program
        lengths = graph.per_edge((squared + 1e-15).sqrt())  # (2P, 1)
        if self.settings.use_only_length:
            return lengths
        return torch.cat([graph.edge_vectors, lengths], -1)

    def _tokens(self, inputs: Inputs) -> Iterator[tuple[Tensor, Tensor]]:
        """Central tokens, or sums of edge tokens in layers without, and edge tokens, per layer."""
        message = self.embedding(inputs.neighbour_rows)  # S(Z_j)
        for index, layer in enumerate(self.gnn_layers):
            if index == 0:
                # the first messages S(Z_j) enter as the species term: one row per species
                node, edge = layer(None, self.embedding.weight, inputs)
            else:
                received = inputs.graph.partner(edge)
                message = self.settings.residual_factor * (message + received)
                species_table = layer.neighbor_embedder.weight if layer.blended else None
                node, edge = layer(message, species_table, inputs)
            if layer.central_embedder is None:
                node = _sum_over_edges(inputs.graph, edge * inputs.pool_weight)
            yield node, edge

    def _read(self, name: str, tokens: list[tuple[Tensor, Tensor]], inputs: Inputs) -> Tensor:
        """Values (n_atoms, components) of one head, scaled."""
        total: Tensor | float = 0.0
        for index, (node, edge) in enumerate(tokens):
            total = total + self.heads[name][index](node)
            if not self.settings.use_bond_energies:
                continue
            bonds = self.bond_heads[name][index](edge)  # (2P, components)
            bonds = bonds * inputs.bond_weight
            total = total + _sum_over_edges(inputs.graph, bonds)
        return self.scaled(name, total, inputs.species_rows)


def _sum_over_edges(graph: Graph, per_edge: Tensor) -> Tensor:
    """Sums (n_atoms, k) of values (2P, k) over the edges of each atom."""
    total = per_edge.new_zeros(graph.n_atoms, per_edge.shape[1])
    return total.index_add(0, graph.centre, per_edge)


def _edge_weights(graph: Graph, per_pair: Tensor, norm: Tensor | None) -> Tensor:
    """Weights (2P, 1) of edges in sums over neighbours, from those (P,) of pairs.

    With norm (P,) they are divided by the sum of that over the neighbours of the same centre.
    """
    weight = graph.per_edge(per_pair)[:, None]
    if norm is None:
        return weight
    total = _sum_over_edges(graph, graph.per_edge(norm)[:, None])  # (n_atoms, 1)
    total = torch.where(total > 0, total, 1.0)
    return weight / total.index_select(0, graph.centre)
