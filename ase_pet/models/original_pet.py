"""The original PET: attention among the neighbours of each atom, with energies read after each
message-passing layer.

In each layer an edge i -> j gets a token from its vector, the species of j and its message m_ij.
The tokens of one centre, with or without a central token n_i, attend to each other. What comes out,
e_ij, is read as a bond energy and sent to the other end, m_ij <- R (m_ij + e_ji); central tokens,
or sums of e_ij where a layer has none, are read as energies of atoms:

    E_i = sum over layers of  head(n_i or sum_j f_ij e_ij) + sum_j f_ij bond_head(e_ij)

With the cosine as cutoff function f only first derivatives are continuous. Means over neighbours,
which take the place of these sums where the settings say so, jump where the last neighbour leaves
and are zero for an atom without any. The program adds 1e-15 to the sum of attention weights, over
edges and padding; here there is no padding to attend to.

Architecture: S. Pozdnyakov and M. Ceriotti, arXiv:2305.19302; github.com/spozdn/pet (MIT),
equations only.
"""

from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional

from ..layers import cutoff, ragged
from ..layers.linear import Embedding, Linear, derived, linear
from .base import AtomisticModel

ACTIVATIONS = {"silu": nn.SiLU, "mish": nn.Mish}


@dataclass(frozen=True)
class Settings:
    """What makes an original PET. Names are those of its hyper-parameters, in small letters."""

    species: tuple[int, ...]  # atomic numbers, in the order of the embedding rows
    r_cut: float = 5.0  # A
    cutoff_delta: float = 0.2  # A, width over which an edge leaves
    cutoff_function: str = "cosine"  # bump, cosine, step; the original has the cosine
    n_gnn_layers: int = 3
    n_trans_layers: int = 3  # in each of them
    transformer_d_model: int = 128  # width of tokens
    transformer_n_head: int = 4
    transformer_dim_feedforward: int = 512
    head_n_neurons: int = 128
    activation: str = "silu"  # silu, mish
    transformer_type: str = "PostLN"  # PostLN, PreLN
    compress_mode: str = "mlp"  # mlp, linear: what makes one token of geometry, species and message
    use_length: bool = True  # an edge is seen as vector and length, else as vector
    use_only_length: bool = False  # an edge is seen as length: energies are invariant to rotations
    r_embedding_activation: bool = False
    blend_neighbor_species: bool = (
        False  # species of neighbours enter every layer, not only the first
    )
    add_token_first: bool = True  # central tokens in all layers but the last
    add_token_second: bool = True  # central tokens in the last layer
    use_bond_energies: bool = True
    average_pooling: bool = False  # without central tokens: mean over neighbours, not sum
    average_bond_energies: bool = False
    weigh_bonds: bool = (
        True  # False, as before April 2024: bond energies without f, means by number of neighbours
    )
    residual_factor: float = 0.5
    heads: dict[str, int] = field(
        default_factory=lambda: {"energy": 1}
    )  # readouts per atom: name -> components

    def __post_init__(self):
        object.__setattr__(self, "species", tuple(int(z) for z in self.species))
        choices = {
            "cutoff_function": cutoff.FUNCTIONS,
            "activation": ACTIVATIONS,
            "compress_mode": ("mlp", "linear"),
            "transformer_type": ("PostLN", "PreLN"),
        }
        for name, valid in choices.items():
            if getattr(self, name) not in valid:
                raise ValueError(
                    f"`{name}` is {getattr(self, name)!r}: valid choices are {', '.join(valid)}"
                )
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

    def has_central_tokens(self, layer):
        """Whether atoms have central tokens in a message-passing layer, counted from 0."""
        return self.add_token_second if layer + 1 == self.n_gnn_layers else self.add_token_first


def _mlp(settings, *widths):
    """Linear maps from width to width with activations between them: maps are entries 0, 2, ...

    Of a Sequential.
    """
    layers = [Linear(widths[0], widths[1])]
    for width, following in zip(widths[1:-1], widths[2:], strict=True):
        layers += [ACTIVATIONS[settings.activation](), Linear(width, following)]
    return nn.Sequential(*layers)


class TransformerLayer(nn.Module):
    """One transformer layer on tokens (n_atoms + 2P, d)."""

    def __init__(self, settings):
        super().__init__()
        d = settings.transformer_d_model
        self.pre_norm = settings.transformer_type == "PreLN"
        self.attention = ragged.Attention(d, settings.transformer_n_head, temperature=1.0)
        self.norm_attention, self.norm_mlp = nn.LayerNorm(d), nn.LayerNorm(d)
        self.mlp = _mlp(settings, d, settings.transformer_dim_feedforward, d)

    def forward(self, tokens, where):
        if self.pre_norm:
            tokens = tokens + self.attention(self.norm_attention(tokens), where)
            return tokens + self.mlp(self.norm_mlp(tokens))
        tokens = self.norm_attention(tokens + self.attention(tokens, where))
        return self.norm_mlp(tokens + self.mlp(tokens))


class MessageLayer(nn.Module):
    """One message-passing layer.

    Edge tokens from geometry, neighbour species and messages, then transformer layers.
    """

    def __init__(self, settings, index):
        super().__init__()
        d, n_species = settings.transformer_d_model, len(settings.species)
        n_components = 1 if settings.use_only_length else 3 + settings.use_length
        self.first, self.blended = index == 0, index > 0 and settings.blend_neighbor_species
        self.r_embedding = Linear(n_components, d)
        self.r_activation = (
            ACTIVATIONS[settings.activation]() if settings.r_embedding_activation else None
        )
        self.compress = _mlp(
            settings, (2 + self.blended) * d, *([d, d] if settings.compress_mode == "mlp" else [d])
        )
        if self.blended:
            self.neighbor_embedder = Embedding(n_species, d)
        self.central_embedder = (
            Embedding(n_species, d) if settings.has_central_tokens(index) else None
        )
        self.transformer_layers = nn.ModuleList(
            TransformerLayer(settings) for _ in range(settings.n_trans_layers)
        )
        self.final_norm = nn.LayerNorm(d) if settings.transformer_type == "PreLN" else nn.Identity()

    def _folded(self, table):
        """compress.0 after linear embeddings.

        Weight for geometry, bias or a row per species, weight for messages.
        """
        embed, compress = self.r_embedding, self.compress[0]
        blocks = compress.weight.split(compress.out_features, dim=1)
        to_geometry, rows = blocks[0].contiguous(), compress.bias
        if self.r_activation is None:
            to_geometry, rows = blocks[0] @ embed.weight, rows + blocks[0] @ embed.bias
        if table is not None:
            rows = rows + table @ blocks[1].T
        return to_geometry, rows, None if self.first else blocks[-1].contiguous()

    def _embed(self, message, geometry, species):
        """(2P, d) edge tokens before attention; arguments as in `forward`."""
        table = message if self.first else self.neighbor_embedder.weight if self.blended else None
        parameters = (*self.r_embedding.parameters(), *self.compress[0].parameters())
        parameters = parameters if table is None else (*parameters, table)
        to_geometry, rows, to_message = derived(
            self, "folded", parameters, lambda: self._folded(table)
        )
        if self.r_activation is not None:
            geometry = self.r_activation(self.r_embedding(geometry))
        if table is None:
            edge = linear(geometry, to_geometry, rows)
        else:
            edge = linear(geometry, to_geometry) + functional.embedding(species, rows)
        if not self.first:
            edge = edge + linear(message, to_message)
        return edge if len(self.compress) == 1 else self.compress[2](self.compress[1](edge))

    def forward(self, message, geometry, species, neighbour_species, where):
        """Central tokens (n_atoms, d), which mean nothing in a layer without them, and edge tokens
        (2P, d).

        message: (2P, d), for the first layer the table (n_species, d) of initial messages by
        neighbour species;
        geometry: (2P, 1, 3 or 4) edge vectors and lengths in A; species (n_atoms,),
        neighbour_species (2P,): rows.
        """
        edge = self._embed(message, geometry, neighbour_species)
        if self.central_embedder is None:
            node = edge.new_zeros(len(species), edge.shape[1])
        else:
            node = self.central_embedder(species)
        tokens = torch.cat([node, edge])
        for layer in self.transformer_layers:
            tokens = layer(tokens, where)
        tokens = self.final_norm(tokens)
        return tokens[: len(species)], tokens[len(species) :]


class Model(AtomisticModel):
    """Original PET. `forward(graph)` gives energies (n_atoms,) in eV of the head `energy_head`.

    `predict` any heads.
    """

    # second derivatives do not exist at the two ends of the cosine
    # lengths and cutoff weights in the dtype of the pair vectors, which may be above the weights'
    exact_geometry = True

    def __init__(self, settings):
        super().__init__(settings, settings.r_cut, settings.species)
        d, layers = settings.transformer_d_model, range(settings.n_gnn_layers)
        self.embedding = Embedding(len(settings.species), d)
        self.gnn_layers = nn.ModuleList(MessageLayer(settings, index) for index in layers)
        self.heads, self.bond_heads = nn.ModuleDict(), nn.ModuleDict()
        for name, components in settings.heads.items():
            widths = d, settings.head_n_neurons, settings.head_n_neurons, components
            self.heads[name] = nn.ModuleList(_mlp(settings, *widths) for _ in layers)
            if settings.use_bond_energies:
                self.bond_heads[name] = nn.ModuleList(_mlp(settings, *widths) for _ in layers)

    @property
    def message_passing_depth(self):
        """Number of exchanges of messages, which is one less than the number of layers."""
        return self.settings.n_gnn_layers - 1

    def predict(self, graph, names):
        """{head.

        (n_atoms, components)} of the named heads, scaled, without composition energies.
        """
        settings, graph = self.settings, graph.filled(2 * self.cutoff)
        distances = graph.pair_vectors.square().sum(-1).sqrt()
        factor = cutoff.FUNCTIONS[settings.cutoff_function](
            distances, settings.r_cut, settings.cutoff_delta
        )
        factor = factor.to(self.embedding.weight.dtype)
        counted = factor if settings.weigh_bonds else (distances < settings.r_cut).to(factor.dtype)
        pool_weight = _weights(graph, factor, counted if settings.average_pooling else None)
        bond_weight = _weights(graph, counted, counted if settings.average_bond_energies else None)
        tokens = list(self._tokens(graph, factor, pool_weight))
        return {name: self._read(name, tokens, graph, bond_weight) for name in names}

    def _tokens(self, graph, factor, pool_weight):
        """Central tokens, or sums of edge tokens where there are none.

        And edge tokens of each layer.
        """
        settings, rows = self.settings, self.species_rows[graph.numbers]
        geometry, neighbour_rows = self._geometry(graph).to(factor.dtype), rows[graph.neighbour]
        where = ragged.layout(
            graph.centre, graph.n_atoms, graph.per_edge(factor), settings.transformer_n_head
        )
        alone, message = where.without_central(), self.embedding.weight
        for index, layer in enumerate(self.gnn_layers):
            central = settings.has_central_tokens(index)
            node, edge = layer(message, geometry, rows, neighbour_rows, where if central else alone)
            yield node if central else _sum(graph, edge * pool_weight), edge
            if index == 0:
                message = functional.embedding(neighbour_rows, message)
            if index + 1 < settings.n_gnn_layers:
                message = settings.residual_factor * (message + edge.roll(edge.shape[0] // 2, 0))

    def _geometry(self, graph):
        """(2P, 1, 3 or 4) what the model sees of edges: vectors, lengths or both, in A."""
        if not self.settings.use_length:
            return graph.edge_vectors
        lengths = graph.per_edge((graph.pair_vectors.square().sum(-1, keepdim=True) + 1e-15).sqrt())
        return (
            lengths
            if self.settings.use_only_length
            else torch.cat([graph.edge_vectors, lengths], -1)
        )

    def _read(self, name, tokens, graph, bond_weight):
        """(n_atoms, components) of one head.

        Readouts of atoms and weighted ones of their edges, over all layers.
        """
        total = 0.0
        for index, (node, edge) in enumerate(tokens):
            total = total + self.heads[name][index](node)
            if self.settings.use_bond_energies:
                total = total + _sum(graph, self.bond_heads[name][index](edge) * bond_weight)
        return self.scaled(name, total, self.species_rows[graph.numbers])


def _sum(graph, per_edge):
    """(n_atoms, k) sums over the edges of each atom."""
    return per_edge.new_zeros(graph.n_atoms, per_edge.shape[1]).index_add(0, graph.centre, per_edge)


def _weights(graph, per_pair, counted):
    """(2P, 1) weights of edges in sums over the neighbours of their centres.

    `counted` (P,) makes means of the sums.
    """
    weight = graph.per_edge(per_pair)[:, None]
    if counted is None:
        return weight
    total = _sum(graph, graph.per_edge(counted)[:, None])
    return weight / torch.where(total > 0, total, 1.0).index_select(0, graph.centre)
