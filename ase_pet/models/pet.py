"""PET, the Point Edge Transformer: attention among the neighbours of each atom, messages that live on edges.

Each directed edge i -> j carries a token e_ij and each atom a central token n_i. A message-passing layer embeds the edge
vectors, lets the tokens of one centre attend to each other, and sends e_ij to the other end of its edge. Energies are
read from both kinds of tokens. Nothing makes the model rotation-invariant: it learns that from augmented data.

Architecture: S. Pozdnyakov and M. Ceriotti, arXiv:2305.19302; current form: metatrain PET and arXiv:2601.16195. All
linear maps see real edges only; the 2P edges are [pairs; reversed pairs], so the reverse of an edge is a roll by P.
"""

from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional

from ..layers import adaptive, cutoff, ragged, zbl
from ..layers.conditioning import Conditioning
from ..layers.linear import FEEDFORWARD, NORMS, Linear, derived, head, linear


@dataclass(frozen=True)
class Settings:
    """What makes a PET. Names are those of metatrain's hyper-parameters."""

    species: tuple[int, ...]  # atomic numbers, in the order of the embedding rows
    cutoff: float = 4.5  # A
    cutoff_width: float = 0.5  # A
    cutoff_function: str = "bump"  # bump, cosine
    num_neighbors_adaptive: float | None = None  # None: the cutoff is fixed
    adaptive_cutoff_method: str = "solver"  # grid, solver
    cutoff_width_adaptive: float = 1.0  # A
    d_pet: int = 128  # width of edge tokens
    d_node: int = 256  # width of central tokens between attention layers
    d_head: int = 128
    d_feedforward: int = 256
    num_heads: int = 8
    num_attention_layers: int = 2
    num_gnn_layers: int = 2
    normalization: str = "RMSNorm"  # RMSNorm, LayerNorm
    activation: str = "SwiGLU"  # SwiGLU, SiLU
    transformer_type: str = "PreLN"  # PreLN, PostLN
    featurizer_type: str = "feedforward"  # feedforward, residual
    attention_temperature: float = 1.0
    zbl: bool = False
    system_conditioning: bool = False
    max_charge: int = 10
    max_spin_multiplicity: int = 10
    heads: dict[str, int] = field(default_factory=lambda: {"energy": 1})  # readouts per atom: name -> components

    def __post_init__(self):
        object.__setattr__(self, "species", tuple(int(z) for z in self.species))
        choices = {"cutoff_function": cutoff.FUNCTIONS, "adaptive_cutoff_method": adaptive.METHODS,
                   "normalization": NORMS, "activation": FEEDFORWARD, "transformer_type": ("PreLN", "PostLN"),
                   "featurizer_type": ("feedforward", "residual")}
        for name, valid in choices.items():
            if getattr(self, name) not in valid:
                raise ValueError(f"`{name}` is {getattr(self, name)!r}: valid choices are {', '.join(valid)}")
        if self.d_pet % self.num_heads:
            raise ValueError(f"`d_pet` {self.d_pet} must be a multiple of `num_heads` {self.num_heads}")


class AttentionLayer(nn.Module):
    """One transformer layer on central tokens (n, d_node) and edge tokens (2P, d_pet).

    Where d_node is wider than d_pet the central token enters contracted and its update is expanded, with an MLP of its
    own. Where they are equal, PreLN replaces the central token: node' = Attn(norm(tokens))_0, without a residual.
    """

    def __init__(self, settings):
        super().__init__()
        norm, feedforward = NORMS[settings.normalization], FEEDFORWARD[settings.activation]
        d, d_node = settings.d_pet, settings.d_node
        self.pre_norm, self.wide = settings.transformer_type == "PreLN", d_node != d
        self.attention = ragged.Attention(d, settings.num_heads, settings.attention_temperature)
        self.norm_attention, self.norm_mlp = norm(d), norm(d)
        self.mlp = feedforward(d, settings.d_feedforward)
        if self.wide:
            self.center_contraction, self.center_expansion = Linear(d_node, d), Linear(d, d_node)
            self.norm_center_features = norm(d_node)
            self.center_mlp = feedforward(d_node, 2 * d_node)

    def forward(self, node, edge, where):
        n = node.shape[0]
        tokens = torch.cat([self.center_contraction(node) if self.wide else node, edge])
        if self.pre_norm:
            update = self.attention(self.norm_attention(tokens), where)
            central, edge = update[:n], edge + update[n:]
            edge = edge + self.mlp(self.norm_mlp(edge))
        else:
            tokens = self.norm_attention(tokens + self.attention(tokens, where))
            tokens = self.norm_mlp(tokens + self.mlp(tokens))
            central, edge = tokens[:n], tokens[n:]
        if self.wide:
            node = node + self.center_expansion(central)
            return node + self.center_mlp(self.norm_center_features(node)), edge
        return central, edge


class MessageLayer(nn.Module):
    """One message-passing layer: edge tokens from geometry, neighbour species and messages, then attention."""

    def __init__(self, settings, first):
        super().__init__()
        d = settings.d_pet
        self.first = first
        self.edge_embedder = Linear(4, d)
        if not first:
            self.neighbor_embedder = nn.Embedding(len(settings.species), d)
        self.compress = nn.Sequential(Linear((2 if first else 3) * d, d), nn.SiLU(), Linear(d, d))
        self.attention_layers = nn.ModuleList(AttentionLayer(settings) for _ in range(settings.num_attention_layers))

    def _folded(self, table):
        """compress.0 after the linear embeddings: weight for geometry (d, 4), row per species, weight for messages."""
        d, embed, compress = table.shape[1], self.edge_embedder, self.compress[0]
        blocks = compress.weight.split(d, dim=1)
        rows = table @ blocks[1].T + blocks[0] @ embed.bias + compress.bias
        return blocks[0] @ embed.weight, rows, None if self.first else blocks[2].contiguous()

    def forward(self, node, message, geometry, species, where):
        """Central and edge tokens of this layer.

        message: (2P, d_pet), for the first layer the table (n_species, d_pet) of initial messages by neighbour species;
        geometry: (2P, 4) edge vectors and lengths in A; species: (2P,) row of each edge's neighbour.
        """
        table = message if self.first else self.neighbor_embedder.weight
        parameters = (table, *self.edge_embedder.parameters(), *self.compress[0].parameters())
        to_geometry, rows, to_message = derived(self, "folded", parameters, lambda: self._folded(table))
        hidden = linear(geometry, to_geometry) + functional.embedding(species, rows)
        if not self.first:
            hidden = hidden + linear(message, to_message)
        edge = self.compress[2](functional.silu(hidden))
        for layer in self.attention_layers:
            node, edge = layer(node, edge, where)
        return node, edge


class Combination(nn.Module):
    """MLP of LayerNorm([e_ij, e_ji]), computed on sums and differences of each pair.

    Mean and variance are the same for both directions, so with s = e_ij + e_ji and t = e_ij - e_ji the first linear map
    is p +- q, p = (Wa + Wb) / 2 (s - 2 mean) / std + b and q = (Wa - Wb) / 2 t / std: half the products.
    """

    def __init__(self, d):
        super().__init__()
        self.norm = nn.LayerNorm(2 * d)
        self.mlp = nn.Sequential(Linear(2 * d, 2 * d), nn.SiLU(), Linear(2 * d, d))

    def _folded(self):
        first, second = (self.mlp[0].weight * self.norm.weight).chunk(2, dim=1)
        bias = self.mlp[0].weight @ self.norm.bias + self.mlp[0].bias
        return (first + second) / 2, (first - second) / 2, bias

    def forward(self, edge):
        parameters = (*self.norm.parameters(), *self.mlp[0].parameters())
        to_sum, to_difference, bias = derived(self, "folded", parameters, self._folded)
        one, other = edge.chunk(2)
        total, difference = one + other, one - other
        total = total - total.mean(-1, keepdim=True)
        variance = (total**2 + difference**2).mean(-1, keepdim=True) / 4
        scale = torch.rsqrt(variance + self.norm.eps)
        even, odd = linear(total * scale, to_sum, bias), linear(difference * scale, to_difference)
        return self.mlp[2](functional.silu(torch.cat([even + odd, even - odd])))


class Model(nn.Module):
    """PET. `forward(graph)` gives energies (n_atoms,) in eV of the head `energy_head`; `predict` gives any heads."""

    def __init__(self, settings):
        super().__init__()
        self.settings, self.cutoff, self.species = settings, settings.cutoff, settings.species
        self.energy_head = "energy"
        self.compositions = {}  # head -> {Z: eV}, added by `evaluation` in float64
        self.scales = {}  # head -> factor on what the head gives, one number or {Z: number}
        repelled = settings.species if settings.zbl else ()
        self.covalent_radii = {z: zbl.RADII[z] for z in repelled if z < len(zbl.RADII)}  # A
        n_species, layers = len(settings.species), range(settings.num_gnn_layers)
        readouts = layers if self._residual else range(1)
        self.node_embedders = nn.ModuleList(nn.Embedding(n_species, settings.d_node) for _ in readouts)
        self.edge_embedder = nn.Embedding(n_species, settings.d_pet)
        self.gnn_layers = nn.ModuleList(MessageLayer(settings, first=layer == 0) for layer in layers)
        if not self._residual:
            self.combinations = nn.ModuleList(Combination(settings.d_pet) for _ in layers)
        if settings.system_conditioning:
            self.system_conditioning = Conditioning(settings.d_node, settings.max_charge,
                                                    settings.max_spin_multiplicity)
        self.node_heads, self.edge_heads = nn.ModuleDict(), nn.ModuleDict()
        self.node_last_layers, self.edge_last_layers = nn.ModuleDict(), nn.ModuleDict()
        for name, components in settings.heads.items():
            self.node_heads[name] = nn.ModuleList(head(settings.d_node, settings.d_head) for _ in readouts)
            self.edge_heads[name] = nn.ModuleList(head(settings.d_pet, settings.d_head) for _ in readouts)
            self.node_last_layers[name] = nn.ModuleList(Linear(settings.d_head, components) for _ in readouts)
            self.edge_last_layers[name] = nn.ModuleList(Linear(settings.d_head, components) for _ in readouts)
        rows = torch.full((max(settings.species) + 1,), -1)
        rows[list(settings.species)] = torch.arange(n_species)
        self.register_buffer("species_rows", rows, persistent=False)

    @property
    def _residual(self):
        return self.settings.featurizer_type == "residual"

    @property
    def composition(self):
        return self.compositions.get(self.energy_head, {})

    @property
    def local(self):
        """Whether an atom's energy depends on its own edges only: one layer whose messages are not read."""
        return self.settings.num_gnn_layers == 1 and self._residual and self.settings.num_neighbors_adaptive is None

    @property
    def exact_second_derivatives(self):
        """Whether derivatives of forces are exact: the solver of adaptive cutoffs has exact first derivatives only."""
        return self.settings.num_neighbors_adaptive is None or self.settings.adaptive_cutoff_method != "solver"

    def forward(self, graph):
        return self.predict(graph, (self.energy_head,))[self.energy_head][:, 0]

    def predict(self, graph, names):
        """{head: (n_atoms, components)} of the named heads, scaled, without composition energies."""
        graph, factor = self._neighbourhood(graph)
        features = list(self._features(graph, factor))
        values = {name: self._read(name, features, graph, factor) for name in names}
        if self.settings.zbl:
            for name in names:
                if name.split("/")[0] == "energy":
                    radii = factor.new_tensor([self.covalent_radii[z] for z in self.species])
                    values[name] = values[name] + zbl.energies(graph, radii[self.species_rows[graph.numbers]])[:, None]
        return values

    def _neighbourhood(self, graph):
        """The graph of the pairs that count, filled up to a round number, and their cutoff factors (P,)."""
        settings, reach = self.settings, lambda _: self.settings.cutoff
        if settings.num_neighbors_adaptive is not None:
            distances = _lengths(graph)
            own = adaptive.METHODS[settings.adaptive_cutoff_method](
                distances, graph.pair_centre, graph.pair_neighbour, graph.n_atoms, settings.cutoff,
                settings.num_neighbors_adaptive, settings.cutoff_width_adaptive)

            def reach(graph):
                return (own.index_select(0, graph.pair_centre) + own.index_select(0, graph.pair_neighbour)) / 2

            graph = graph.select(torch.nonzero(distances <= reach(graph))[:, 0])
        graph = graph.filled(2 * settings.cutoff)
        return graph, cutoff.FUNCTIONS[settings.cutoff_function](_lengths(graph), reach(graph), settings.cutoff_width)

    def _features(self, graph, factor):
        """Central and edge tokens of each layer that is read out."""
        vectors = graph.pair_vectors
        lengths = (vectors.square().sum(-1, keepdim=True) + 1e-15).sqrt()
        geometry = torch.cat([torch.cat([vectors, lengths], -1), torch.cat([-vectors, lengths], -1)])
        rows = self.species_rows[graph.numbers]
        neighbour_rows = rows[graph.neighbour]
        where = ragged.layout(graph.centre, graph.n_atoms, factor.repeat(2), self.settings.num_heads)
        condition = self._condition(graph)
        node, message = self.node_embedders[0](rows), self.edge_embedder.weight
        for index, layer in enumerate(self.gnn_layers):
            if self._residual and index > 0:
                node = self.node_embedders[index](rows)
            node, edge = layer(node, message, geometry, neighbour_rows, where)
            node = node + condition
            if self._residual:
                yield node, edge
            message = self._exchange(index, message, edge, neighbour_rows)
        if not self._residual:
            yield node, message

    def _exchange(self, index, message, edge, neighbour_rows):
        """(2P, d_pet) messages after a layer."""
        if self._residual and index + 1 == len(self.gnn_layers):
            return None  # nobody reads them
        if index == 0:
            message = functional.embedding(neighbour_rows, message)
        if self._residual:
            return 0.5 * (message + edge.roll(edge.shape[0] // 2, 0))
        return message + edge + self.combinations[index](edge)

    def _condition(self, graph):
        if not self.settings.system_conditioning:
            return 0.0
        return self.system_conditioning(graph.charge, graph.spin)[graph.structure]

    def _read(self, name, features, graph, factor):
        """(n_atoms, components) of one head: central readouts plus edge readouts weighted by the cutoff factor."""
        total, weight, centre = 0.0, factor.repeat(2)[:, None], graph.centre
        for index, (node, edge) in enumerate(features):
            per_edge = self.edge_last_layers[name][index](self.edge_heads[name][index](edge))
            total = total + self.node_last_layers[name][index](self.node_heads[name][index](node))
            total = total.index_add(0, centre, per_edge * weight)
        scale = self.scales.get(name, 1.0)
        if isinstance(scale, dict):
            scale = total.new_tensor([scale[z] for z in self.species])[self.species_rows[graph.numbers]][:, None]
        return total * scale


def _lengths(graph):
    return graph.pair_vectors.square().sum(-1).sqrt() + 1e-15
