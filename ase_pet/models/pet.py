"""PET, the Point Edge Transformer: attention among the neighbours of each atom.

Symbols, for a directed edge from atom i to its neighbour j (docs/theory/pet.md uses the same):

    r_ij        vector of the edge in A
    f_ij        cutoff factor of the edge, from 1 to 0 at the cutoff
    e_ij        edge token
    m_ij        message
    n_i         central token of atom i
    S(Z_j)      embedding of the species of atom j
    T           attention temperature
    W, v, w     linear maps

A layer of message passing is

    e_ij = MLP([W (r_ij, |r_ij|), S(Z_j), m_ij])                       `MessageLayer`
    n_i, e_i1, ... e_ik <- attention among these, then an MLP on each  `TransformerLayer`
    m_ij <- (m_ij + e_ji) / 2                                          featurizer `residual`
    m_ij <- m_ij + e_ij + MLP(norm([e_ij, e_ji]))                      featurizer `feedforward`

where the first messages are S(Z_j), and the energies are

    E_i = sum over readouts of [w . head(n_i) + sum_j f_ij v . edge_head(e_ij)]

`residual` has a readout of n_i and e_ij after each layer; `feedforward` has one, of n_i and m_ij
after the last layer. The energy is not invariant under rotations by construction: that is learned
from augmented data. Arrays have 2P rows of directed edges, [P pairs; the same reversed]. Where
linear maps follow each other, the method `plain` of a block is its equation, and the method
`folded`, which is used while `fast` is True, multiplies their weights first.

Architecture: S. Pozdnyakov and M. Ceriotti, arXiv:2305.19302; current form: metatrain PET and
arXiv:2601.16195.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from .. import ranges
from ..choices import one_of_each
from ..graph import Graph
from ..layers import adaptive, constants, cutoff, ragged, zbl
from ..layers.attention_layout import AttentionLayout, attention_layout
from ..layers.conditioning import Conditioning
from ..layers.linear import FEEDFORWARD, Embedding, Linear, derived, head, linear, stack
from ..layers.llpr import features_of_atoms
from ..layers.norms import NORMS, pair_norm
from .base import AtomisticModel, Parts

READOUTS = ("node_heads", "edge_heads", "node_last_layers", "edge_last_layers")
REVERSED = (-1.0, -1.0, -1.0, 1.0)  # signs of vector and length in the other direction
Tokens = tuple[Tensor, Tensor]  # central tokens (n_atoms, d_node), edge tokens (2P, d_pet)


@ranges.checked
class Settings:
    """Hyper-parameters of a PET, with the names of metatrain."""

    species: ranges.Species  # atomic numbers, in the order of the embedding rows
    cutoff: ranges.Cutoff = 4.5  # A
    cutoff_width: ranges.SwitchWidth = 0.5  # A, over which an edge is switched off
    cutoff_function: str = "bump"  # bump, cosine, step
    # number of neighbours; None: the cutoff is fixed
    num_neighbors_adaptive: ranges.NeighbourCount = None
    adaptive_cutoff_method: str = "solver"  # grid, solver
    # A, over which a neighbour is counted partially
    cutoff_width_adaptive: ranges.AdaptiveWidth = 1.0
    d_pet: ranges.LayerWidth = 128  # width of edge tokens and messages
    d_node: ranges.LayerWidth = 256  # width of central tokens between transformer layers
    d_head: ranges.LayerWidth = 128  # width of readout features
    d_feedforward: ranges.LayerWidth = 256  # hidden width of the MLP on tokens
    num_heads: ranges.LayerWidth = 8  # attention heads
    num_attention_layers: ranges.Layers = 2  # transformer layers in each message-passing layer
    num_gnn_layers: ranges.Layers = 2  # message-passing layers
    normalization: str = "RMSNorm"  # RMSNorm, LayerNorm
    activation: str = "SwiGLU"  # SwiGLU, SiLU
    transformer_type: str = "PreLN"  # PreLN, PostLN
    featurizer_type: str = "feedforward"  # feedforward, residual
    attention_temperature: ranges.Temperature = 1.0  # scores are divided by it
    zbl: bool = False  # repulsion of nuclei is added to energies
    system_conditioning: bool = False  # energies depend on total charge and spin multiplicity
    max_charge: ranges.LargestCharge = 10  # e, largest total charge of either sign
    max_spin_multiplicity: ranges.LargestSpin = 10  # 2S+1
    heads: ranges.Heads = field(default_factory=lambda: {"energy": 1})  # name -> components
    uncertainties: ranges.Members = field(default_factory=dict)  # head -> members of its ensemble

    def __post_init__(self) -> None:
        choices = {
            "cutoff_function": cutoff.FUNCTIONS,
            "adaptive_cutoff_method": adaptive.METHODS,
            "normalization": NORMS,
            "activation": FEEDFORWARD,
            "transformer_type": ("PreLN", "PostLN"),
            "featurizer_type": ("feedforward", "residual"),
        }
        one_of_each(self, choices)
        if self.d_pet % self.num_heads:
            raise ValueError(f"`d_pet` {self.d_pet} is no multiple of `num_heads` {self.num_heads}")


@dataclass(frozen=True)
class PetInputs:
    """Inputs that all layers share, computed from a graph by `Model.prepare`."""

    graph: Graph  # pairs within the cutoff, padded to a round number with pairs beyond it
    cutoff_factor: Tensor  # (P,) f of each pair
    edge_factor: Tensor  # (2P, 1) the same of each directed edge
    geometry: Tensor  # (2P, 4) edge vectors and lengths in A
    species_rows: Tensor  # (n_atoms,) row of each atom in the embedding tables
    neighbour_rows: Tensor  # (2P,) the same of each edge's neighbour
    layout: AttentionLayout  # tokens of each atom, and log f of each
    condition: Tensor | None  # (n_atoms, d_node) added to central tokens in each layer


class TransformerLayer(nn.Module):
    """Attention among the tokens of each atom, and an MLP on each token.

        softmax(q k^T / (sqrt(c) T) + log f) v      with f = 1 for the central token

    q, k and v are linear maps of the tokens, of width c in each head. For settings with d_node >
    d_pet the central token is contracted before and its update expanded after, with another MLP.
    With d_node = d_pet and PreLN the update replaces the central token.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        d = settings.d_pet
        d_node = settings.d_node
        norm = NORMS[settings.normalization]
        feedforward = FEEDFORWARD[settings.activation]
        self.is_pre_norm = settings.transformer_type == "PreLN"
        self.is_node_wide = d_node != d
        self.attention = ragged.Attention(d, settings.num_heads, settings.attention_temperature)
        self.norm_attention = norm(d)
        self.norm_mlp = norm(d)
        self.mlp = feedforward(d, settings.d_feedforward)
        # the central token has weights of its own only where it is wider
        if self.is_node_wide:
            self.center_contraction = Linear(d_node, d)
            self.center_expansion = Linear(d, d_node)
            self.norm_center_features = norm(d_node)
            self.center_mlp = feedforward(d_node, 2 * d_node)

    def forward(self, node: Tensor, edge: Tensor, layout: AttentionLayout) -> Tokens:
        """Tokens node (n_atoms, d_node) and edge (2P, d_pet), updated within the layout."""
        sizes = [len(node), len(edge)]
        central = self.center_contraction(node) if self.is_node_wide else node
        tokens = torch.cat([central, edge])  # (n_atoms + 2P, d_pet)
        if self.is_pre_norm:
            # the central token has no residual connection, as in metatrain
            central, update = self.attention(self.norm_attention(tokens), layout).split(sizes)
            edge = edge + update
            edge = edge + self.mlp(self.norm_mlp(edge))
        else:
            tokens = self.norm_attention(tokens + self.attention(tokens, layout))
            tokens = self.norm_mlp(tokens + self.mlp(tokens))
            central, edge = tokens.split(sizes)
        if not self.is_node_wide:
            return central, edge
        node = node + self.center_expansion(central)
        node = node + self.center_mlp(self.norm_center_features(node))
        return node, edge


class MessageLayer(nn.Module):
    """Edge tokens from geometry, neighbour species and messages, then transformer layers.

        e_ij = W2 silu(W1 [W (r_ij, |r_ij|) + b, S(Z_j), m_ij] + b1) + b2

    Parameters
    ----------
    settings:
        Those of the model.
    first:
        Whether this is the first layer. It has no m_ij, as the first messages are S(Z_j) already.
    """

    fast = True  # False: `plain` instead of `folded`, for comparison

    def __init__(self, settings: Settings, first: bool) -> None:
        super().__init__()
        d = settings.d_pet
        self.edge_embedder = Linear(4, d)
        if not first:
            self.neighbor_embedder = Embedding(len(settings.species), d)
        n_parts = 2 if first else 3  # geometry, species and, after the first layer, message
        self.compress = nn.Sequential(Linear(n_parts * d, d), nn.SiLU(), Linear(d, d))
        self.attention_layers = stack(settings.num_attention_layers, TransformerLayer, settings)

    def forward(
        self, node: Tensor, message: Tensor | None, species_table: Tensor, inputs: PetInputs
    ) -> Tokens:
        """Central tokens (n_atoms, d_node) and edge tokens (2P, d_pet) of this layer.

        node and message (2P, d_pet), None in the first layer, are those before it; species_table
        (n_species, d_pet) is S, and inputs are those of `Model.prepare`.
        """
        embed = self.folded if self.fast else self.plain
        edge = embed(message, species_table, inputs)
        for layer in self.attention_layers:
            node, edge = layer(node, edge, inputs.layout)
        return node, edge

    def plain(self, message: Tensor | None, species_table: Tensor, inputs: PetInputs) -> Tensor:
        """Edge tokens (2P, d_pet) before attention, of message, species_table and inputs."""
        species = functional.embedding(inputs.neighbour_rows, species_table)
        parts = [self.edge_embedder(inputs.geometry), species]
        if message is not None:
            parts.append(message)
        return self.compress(torch.cat(parts, 1))  # from (2P, 2 or 3 times d_pet)

    def folded(self, message: Tensor | None, species_table: Tensor, inputs: PetInputs) -> Tensor:
        """Edge tokens (2P, d_pet) as of `plain`, of message, species_table and inputs.

        With W1 = [A B C] the first map is A W (r_ij, |r_ij|) + (B S(Z_j) + A b + b1) + C m_ij.
        """
        first_map = self.compress[0]
        # frozen weights are multiplied once
        parameters = [species_table, *self.edge_embedder.parameters(), *first_map.parameters()]
        to_geometry, per_species, to_message = derived(
            self, "folded", parameters, lambda: self._folded_weights(species_table)
        )
        hidden = linear(inputs.geometry, to_geometry)
        hidden = hidden + functional.embedding(inputs.neighbour_rows, per_species)
        if message is not None:
            hidden = hidden + linear(message, to_message)
        return self.compress[2](functional.silu(hidden))

    def _folded_weights(self, species_table: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """A W (d_pet, 4), B S(Z) + A b + b1 (n_species, d_pet) and C (d_pet, d_pet)."""
        embedder = self.edge_embedder
        first_map = self.compress[0]
        a, b, *c = first_map.weight.split(first_map.out_features, dim=1)  # (d_pet, d_pet) each
        per_species = species_table @ b.T + a @ embedder.bias + first_map.bias
        to_geometry = a @ embedder.weight
        return to_geometry, per_species, c[0].contiguous() if c else None  # no C in the first layer


class Combination(nn.Module):
    """MLP of both directions of each pair, MLP(LayerNorm([e_ij, e_ji])), (2P, d) for width d."""

    fast = True  # False: `plain` instead of `folded`, for comparison

    def __init__(self, d: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(2 * d)
        self.mlp = nn.Sequential(Linear(2 * d, 2 * d), nn.SiLU(), Linear(2 * d, d))

    def forward(self, edge: Tensor, graph: Graph) -> Tensor:
        """Combined tokens (2P, d) for edge tokens edge (2P, d) of a graph."""
        return self.folded(edge, graph) if self.fast else self.plain(edge, graph)

    def plain(self, edge: Tensor, graph: Graph) -> Tensor:
        """Combined tokens (2P, d) for edge (2P, d) of a graph, as the equation is written."""
        return self.mlp(self.norm(torch.cat([edge, graph.partner(edge)], 1)))

    def folded(self, edge: Tensor, graph: Graph) -> Tensor:
        """Combined tokens (2P, d) for edge (2P, d) of a graph, on sums and differences of pairs.

        Mean and variance are the same for both directions, so with s = e_ij + e_ji and t = e_ij -
        e_ji the first linear map is p + q for e_ij and p - q for e_ji, p = (Wa + Wb) / 2 (s - 2
        mean) / std + b and q = (Wa - Wb) / 2 t / std: half the products.
        """
        first_map = self.mlp[0]
        parameters = [*self.norm.parameters(), *first_map.parameters()]
        to_sum, to_difference, bias = derived(self, "folded", parameters, self._folded_weights)
        forwards, backwards = graph.directions(edge)  # (P, d) each
        total, difference = pair_norm(forwards, backwards, self.norm.eps)
        p = linear(total, to_sum, bias)
        q = linear(difference, to_difference)
        hidden = p + q if graph.one_sided else torch.cat([p + q, p - q])  # (2P, 2d)
        hidden = functional.silu(hidden)
        return self.mlp[2](hidden)

    def _folded_weights(self) -> tuple[Tensor, Tensor, Tensor]:
        """(Wa + Wb) / 2 and (Wa - Wb) / 2, (2d, d) each, and the bias (2d,)."""
        first_map = self.mlp[0]
        wa, wb = (first_map.weight * self.norm.weight).chunk(2, dim=1)
        bias = first_map.weight @ self.norm.bias + first_map.bias
        return (wa + wb) / 2, (wa - wb) / 2, bias


class Model(AtomisticModel):
    """PET: `forward(graph)` returns the energies (n_atoms,) in eV, `predict` those of any head.

    Parameters
    ----------
    settings:
        Hyper-parameters.
    """

    # lengths and cutoff factors in the dtype of the pair vectors, which may be above the weights'
    exact_geometry = True
    fixed_lengths = True
    supports_domains = True
    parts = Parts(READOUTS, layers=("gnn_layers", "combinations"))

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, settings.cutoff, settings.species)
        n_species = len(settings.species)
        n_layers = settings.num_gnn_layers
        d_head = settings.d_head
        self.is_residual = settings.featurizer_type == "residual"
        self.n_readouts = n_layers if self.is_residual else 1
        is_adaptive = settings.num_neighbors_adaptive is not None
        is_solver = settings.adaptive_cutoff_method == "solver"
        self.exact_second_derivatives = not (is_adaptive and is_solver)  # only first ones are
        if settings.zbl:
            self.covalent_radii = {z: zbl.RADII[z] for z in settings.species if z < len(zbl.RADII)}
        self.node_embedders = stack(self.n_readouts, Embedding, n_species, settings.d_node)
        self.edge_embedder = Embedding(n_species, settings.d_pet)
        layers = [MessageLayer(settings, first=index == 0) for index in range(n_layers)]
        self.gnn_layers = nn.ModuleList(layers)
        if not self.is_residual:
            self.combinations = stack(n_layers, Combination, settings.d_pet)
        if settings.system_conditioning:
            self.system_conditioning = Conditioning(
                settings.d_node, settings.max_charge, settings.max_spin_multiplicity
            )
        self.node_heads = nn.ModuleDict()
        self.edge_heads = nn.ModuleDict()
        self.node_last_layers = nn.ModuleDict()
        self.edge_last_layers = nn.ModuleDict()
        for name, components in settings.heads.items():
            self.node_heads[name] = stack(self.n_readouts, head, settings.d_node, d_head)
            self.edge_heads[name] = stack(self.n_readouts, head, settings.d_pet, d_head)
            self.node_last_layers[name] = stack(self.n_readouts, Linear, d_head, components)
            # created last, so that a seed always gives the same weights
            self.edge_last_layers[name] = stack(self.n_readouts, Linear, d_head, components)
        self.set_features(2 * d_head * self.n_readouts)  # of central and edge tokens

    @property
    def message_passing_depth(self) -> int:
        """Number of edges between an atom and the farthest atom whose edges affect its energy."""
        depth = self.settings.num_gnn_layers - 1  # exchanges of messages between layers
        if not self.is_residual:
            depth += 1  # and after the last layer
        if self.settings.num_neighbors_adaptive is not None:
            depth += 1  # the cutoff factor of an edge depends on the edges of both of its atoms
        return depth

    @property
    def conditioned(self) -> bool:
        """Whether energies depend on the total charge and the spin multiplicity."""
        return self.settings.system_conditioning

    def predict(self, graph: Graph, names: tuple[str, ...]) -> dict[str, Tensor]:
        """{head: values (n_atoms, components)} of the heads names, without composition energies."""
        inputs = self.prepare(graph)
        tokens = self._tokens(inputs)
        values = {}
        for name in names:
            value = self.read(name, tokens, inputs)
            values[name] = value + self.repulsion(name, inputs.graph)
        return values

    def last_layer(self, graph: Graph) -> tuple[Tensor, Tensor]:
        """Energies (n_atoms,) in eV as of `forward`, and the features (n_atoms, F) before it."""
        name = self.energy_head
        inputs = self.prepare(graph)
        features = self._features(name, self._tokens(inputs))
        energies = self._values(name, features, inputs) + self.repulsion(name, inputs.graph)
        per_atom = features_of_atoms(inputs.graph, inputs.edge_factor, features.values())
        return energies[:, 0], per_atom

    def prepare(self, graph: Graph) -> PetInputs:
        """Inputs of all layers for the structures of graph, with all pairs within `cutoff`."""
        settings = self.settings
        graph, pair_cutoff = adaptive.adaptive_pairs(
            graph,
            cutoff=settings.cutoff,
            target=settings.num_neighbors_adaptive,
            width=settings.cutoff_width_adaptive,
            method=settings.adaptive_cutoff_method,
        )
        squared = graph.pair_vectors.square().sum(-1)  # (P,)
        # 1e-15 is inside the root of lengths and outside for cutoff factors, both as in metatrain
        distances = squared.sqrt() + 1e-15
        lengths = (squared + 1e-15).sqrt()
        cutoff_function = cutoff.FUNCTIONS[settings.cutoff_function]
        cutoff_factor = cutoff_function(distances, pair_cutoff, settings.cutoff_width)
        cutoff_factor = cutoff_factor.to(self.edge_embedder.weight.dtype)
        geometry = torch.cat([graph.pair_vectors, lengths[:, None]], 1)  # (P, 4)
        geometry = geometry.to(cutoff_factor.dtype)
        if not graph.one_sided:
            geometry = torch.cat([geometry, geometry * constants.constant(REVERSED, geometry)])
        species_rows = self.species_rows[graph.numbers]
        edge_factor = graph.per_edge(cutoff_factor)
        layout = attention_layout(
            graph.centre, graph.n_atoms, edge_factor, settings.num_heads, graph.lengths
        )
        condition = None
        if settings.system_conditioning:
            if graph.room is None or not graph.room.is_fixed:  # else it was checked before
                self.system_conditioning.check(graph.charge, graph.spin)
            per_structure = self.system_conditioning(graph.charge, graph.spin)
            condition = per_structure[graph.structure]
        return PetInputs(
            graph=graph,
            cutoff_factor=cutoff_factor,
            edge_factor=edge_factor[:, None],
            geometry=geometry,
            species_rows=species_rows,
            neighbour_rows=species_rows[graph.neighbour],
            layout=layout,
            condition=condition,
        )

    def _tokens(self, inputs: PetInputs) -> dict[int, Tokens]:
        """{number of the readout: central and edge tokens}, of all readouts."""
        # with numbers, because `ecse_layers` reads layers one by one
        first_read = len(self.gnn_layers) - self.n_readouts
        layers = enumerate(self._layers(inputs))
        return {index - first_read: tokens for index, tokens in layers if index >= first_read}

    def _layers(self, inputs: PetInputs) -> Iterator[Tokens]:
        """Central and edge tokens after each layer; those of the readout after the last."""
        message = self.first_message(inputs)
        node, edge = self.layer(0, None, message, inputs)
        for index in range(1, len(self.gnn_layers)):
            yield node, edge
            message = self.exchange(index - 1, message, edge, inputs.graph)
            node, edge = self.layer(index, node, message, inputs)
        if not self.is_residual:  # edge tokens of the readout
            edge = self.exchange(len(self.gnn_layers) - 1, message, edge, inputs.graph)
        yield node, edge

    def layer_features(self, graph: Graph) -> dict[str, Tensor]:
        """{layer: central tokens (n_atoms, d_node)} after each layer for a graph, "1", "2", ..."""
        layers = enumerate(self._layers(self.prepare(graph)), 1)
        return {str(number): node for number, (node, _) in layers}

    def first_message(self, inputs: PetInputs) -> Tensor:
        """Messages (2P, d_pet) before the first layer, S(Z_j) for the species of inputs."""
        return self.edge_embedder(inputs.neighbour_rows)

    def layer(
        self, index: int, node: Tensor | None, message: Tensor | None, inputs: PetInputs
    ) -> Tokens:
        """Central tokens (n_atoms, d_node) and edge tokens (2P, d_pet) of the layer index, from 0.

        node and message (2P, d_pet) are those before the layer. Layer 0 uses neither of them, and
        layers of a `residual` do not use node. inputs are those of `prepare`.
        """
        layer = self.gnn_layers[index]
        if index == 0 or self.is_residual:
            node = self.node_embedders[index](inputs.species_rows)
        if index == 0:
            # the first messages S(Z_j) enter as the species term: one row of the table per species
            node, edge = layer(node, None, self.edge_embedder.weight, inputs)
        else:
            node, edge = layer(node, message, layer.neighbor_embedder.weight, inputs)
        if inputs.condition is not None:
            node = node + inputs.condition
        return node, edge

    def exchange(self, index: int, message: Tensor, edge: Tensor, graph: Graph) -> Tensor:
        """Messages (2P, d_pet) after layer index, of message before it and edge of a graph."""
        if self.is_residual:
            return 0.5 * (message + graph.partner(edge))
        return message + edge + self.combinations[index](edge, graph)

    def read(self, name: str, tokens: Mapping[int, Tokens], inputs: PetInputs) -> Tensor:
        """Values (n_atoms, components) of the head name, scaled; tokens are {readout: tokens}.

        inputs are those of `prepare`.
        """
        return self._values(name, self._features(name, tokens), inputs)

    def _features(self, name: str, tokens: Mapping[int, Tokens]) -> dict[int, Tokens]:
        """head(n_i) (n_atoms, d_head) and edge_head(e_ij) (2P, d_head), {readout: features}."""
        return {
            index: (self.node_heads[name][index](node), self.edge_heads[name][index](edge))
            for index, (node, edge) in tokens.items()
        }

    def _values(self, name: str, features: Mapping[int, Tokens], inputs: PetInputs) -> Tensor:
        """Sums over readouts of [w . node + sum_j f_ij v . edge], (n_atoms, components), scaled."""
        edge_factor = inputs.edge_factor
        total: Tensor | float = 0.0
        for index, (node, edge) in features.items():
            per_edge = self.edge_last_layers[name][index](edge)  # (2P, components)
            per_edge = per_edge * edge_factor
            total = total + self.node_last_layers[name][index](node)
            total = total.index_add(0, inputs.graph.centre, per_edge)
        return self.scaled(name, total, inputs.species_rows)

    def repulsion(self, name: str, graph: Graph) -> Tensor | float:
        """Repulsion (n_atoms, 1) in eV of graph; 0 without `zbl`, or if head name is no energy."""
        if not self.settings.zbl or name.split("/")[0] != "energy":
            return 0.0
        radii = tuple(self.covalent_radii[z] for z in self.species)
        per_species = constants.constant(radii, graph.pair_vectors)  # A
        return zbl.energies(graph, per_species[self.species_rows[graph.numbers]])[:, None]
