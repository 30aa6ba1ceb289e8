"""PET, the Point Edge Transformer: attention among the neighbours of each atom, messages that live
on edges.

Each directed edge i -> j carries a token e_ij and each atom a central token n_i. A message-passing
layer embeds the edge vectors, lets the tokens of one centre attend to each other, and sends e_ij to
the other end of its edge. Energies are read from both kinds of tokens. Nothing makes the model
rotation-invariant: it learns that from augmented data.

Architecture: S. Pozdnyakov and M. Ceriotti, arXiv:2305.19302; current form: metatrain PET and
arXiv:2601.16195. All linear maps see real edges only; the 2P edges are [pairs; reversed pairs], so
the reverse of an edge is a roll by P.
"""

from dataclasses import dataclass, field

import torch
from torch import nn

from ..graph import Graph
from ..layers import adaptive, cutoff, ragged, zbl
from ..layers.conditioning import Conditioning
from ..layers.linear import FEEDFORWARD, NORMS, Embedding, Linear, head
from ..layers.llpr import LastLayer
from ..layers.transformer import Combination, MessageLayer
from .base import AtomisticModel


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
    heads: dict[str, int] = field(
        default_factory=lambda: {"energy": 1}
    )  # readouts per atom: name -> components
    uncertainties: dict[str, int] = field(
        default_factory=dict
    )  # head with a covariance -> members of its ensemble

    def __post_init__(self):
        object.__setattr__(self, "species", tuple(int(z) for z in self.species))
        choices = {
            "cutoff_function": cutoff.FUNCTIONS,
            "adaptive_cutoff_method": adaptive.METHODS,
            "normalization": NORMS,
            "activation": FEEDFORWARD,
            "transformer_type": ("PreLN", "PostLN"),
            "featurizer_type": ("feedforward", "residual"),
        }
        for name, valid in choices.items():
            if getattr(self, name) not in valid:
                raise ValueError(
                    f"`{name}` is {getattr(self, name)!r}: valid choices are {', '.join(valid)}"
                )
        unknown = sorted(self.uncertainties.keys() - self.heads.keys())
        if unknown:
            raise ValueError(
                f"`uncertainties` of {', '.join(unknown)}: the heads are {', '.join(self.heads)}"
            )
        if self.d_pet % self.num_heads:
            raise ValueError(
                f"`d_pet` {self.d_pet} must be a multiple of `num_heads` {self.num_heads}"
            )


@dataclass(frozen=True)
class Scene:
    """What every layer sees of a graph.

    graph: of the pairs that count, filled up to a round number, and factor (P,), their cutoff
    factors; geometry (2P, 4): edge vectors and lengths in A; rows (n_atoms,) and neighbour_rows
    (2P,) of the tables by species; where: the Layout of the attention; condition (n_atoms, d_node),
    or 0: what is added to central tokens after each layer.
    """

    graph: Graph
    factor: torch.Tensor
    geometry: torch.Tensor
    rows: torch.Tensor
    neighbour_rows: torch.Tensor
    where: ragged.Layout
    condition: torch.Tensor | float


class Model(AtomisticModel):
    """PET. `forward(graph)` gives energies (n_atoms,) in eV of the head `energy_head`.

    `predict` gives any heads.
    """

    # lengths and cutoff weights in the dtype of the pair vectors, which may be above the weights'
    exact_geometry = True

    def __init__(self, settings):
        super().__init__(settings, settings.cutoff, settings.species)
        repelled = settings.species if settings.zbl else ()
        self.covalent_radii = {z: zbl.RADII[z] for z in repelled if z < len(zbl.RADII)}  # A
        n_species, layers = len(settings.species), range(settings.num_gnn_layers)
        readouts = layers if self._residual else range(1)
        self.node_embedders = nn.ModuleList(Embedding(n_species, settings.d_node) for _ in readouts)
        self.edge_embedder = Embedding(n_species, settings.d_pet)
        self.gnn_layers = nn.ModuleList(
            MessageLayer(settings, first=layer == 0) for layer in layers
        )
        if not self._residual:
            self.combinations = nn.ModuleList(Combination(settings.d_pet) for _ in layers)
        if settings.system_conditioning:
            self.system_conditioning = Conditioning(
                settings.d_node, settings.max_charge, settings.max_spin_multiplicity
            )
        self.node_heads, self.edge_heads = nn.ModuleDict(), nn.ModuleDict()
        self.node_last_layers, self.edge_last_layers = nn.ModuleDict(), nn.ModuleDict()
        for name, components in settings.heads.items():
            self.node_heads[name] = nn.ModuleList(
                head(settings.d_node, settings.d_head) for _ in readouts
            )
            self.edge_heads[name] = nn.ModuleList(
                head(settings.d_pet, settings.d_head) for _ in readouts
            )
            self.node_last_layers[name] = nn.ModuleList(
                Linear(settings.d_head, components) for _ in readouts
            )
            self.edge_last_layers[name] = nn.ModuleList(
                Linear(settings.d_head, components) for _ in readouts
            )
        self.uncertainties = nn.ModuleDict(
            {
                name: LastLayer(2 * settings.d_head * len(readouts), members)
                for name, members in settings.uncertainties.items()
            }
        )

    @property
    def _residual(self):
        return self.settings.featurizer_type == "residual"

    @property
    def uncertainty(self):
        """LastLayer of the head `energy_head`, or None."""
        # a ModuleDict has no `get`
        if self.energy_head not in self.uncertainties:
            return None
        return self.uncertainties[self.energy_head]

    @property
    def message_passing_depth(self):
        """Number of edges between an atom and the farthest atom whose edges affect its energy.

        An edge token knows the edges of its centre, and each exchange of messages lets it know
        those of its neighbour. Messages are exchanged between layers, and with the featurizer
        `feedforward` after the last layer as well. Where cutoffs adapt, the weight of an edge
        depends on the edges of both of its ends.
        """
        exchanges = self.settings.num_gnn_layers - 1
        if not self._residual:
            exchanges += 1
        if self.settings.num_neighbors_adaptive is not None:
            exchanges += 1
        return exchanges

    @property
    def conditioned(self):
        """Whether energies depend on the total charge and the spin multiplicity."""
        return self.settings.system_conditioning

    @property
    def exact_second_derivatives(self):
        """Whether derivatives of forces are exact.

        The solver of adaptive cutoffs has exact first derivatives only.
        """
        return (
            self.settings.num_neighbors_adaptive is None
            or self.settings.adaptive_cutoff_method != "solver"
        )

    def last_layer(self, graph):
        """Energies (n_atoms,) in eV as `forward` gives them, and the features (n_atoms.

        F) that `uncertainty` is of.
        """
        features = []
        values = self.predict(graph, (self.energy_head,), features)
        return values[self.energy_head][:, 0], torch.cat(features, 1)

    def predict(self, graph, names, features=None):
        """{head: (n_atoms, components)} of the named heads, scaled, without composition energies.

        features: a list to which the features of the last layers are appended.
        """
        scene = self.scene(graph)
        tokens = dict(enumerate(self._tokens(scene)))
        return {
            name: self.read(name, tokens, scene, features) + self.repulsion(name, scene.graph)
            for name in names
        }

    def scene(self, graph):
        """Scene of a graph."""
        graph, factor = self._neighbourhood(graph)
        lengths = (graph.pair_vectors.square().sum(-1, keepdim=True) + 1e-15).sqrt()
        geometry = torch.cat([graph.edge_vectors, graph.per_edge(lengths)], -1).to(factor.dtype)
        rows = self.species_rows[graph.numbers]
        where = ragged.layout(
            graph.centre, graph.n_atoms, graph.per_edge(factor), self.settings.num_heads
        )
        return Scene(
            graph, factor, geometry, rows, rows[graph.neighbour], where, self._condition(graph)
        )

    def _neighbourhood(self, graph):
        """The graph of the pairs that count, filled up to a round number.

        And their cutoff factors (P,).
        """
        settings, reach = self.settings, lambda _: self.settings.cutoff
        if settings.num_neighbors_adaptive is not None:
            distances = _lengths(graph)
            own = adaptive.METHODS[settings.adaptive_cutoff_method](
                distances,
                graph.pair_centre,
                graph.pair_neighbour,
                graph.n_atoms,
                settings.cutoff,
                settings.num_neighbors_adaptive,
                settings.cutoff_width_adaptive,
            )

            def reach(graph):
                return (
                    own.index_select(0, graph.pair_centre)
                    + own.index_select(0, graph.pair_neighbour)
                ) / 2

            graph = graph.select(torch.nonzero(distances <= reach(graph))[:, 0])
        graph = graph.filled(2 * settings.cutoff)
        factor = cutoff.FUNCTIONS[settings.cutoff_function](
            _lengths(graph), reach(graph), settings.cutoff_width
        )
        return graph, factor.to(self.edge_embedder.weight.dtype)

    def _tokens(self, scene):
        """Central and edge tokens of each layer that is read out."""
        node = message = None
        for index in range(len(self.gnn_layers)):
            node, edge = self.layer(index, node, message, scene)
            if self._residual:
                yield node, edge
            message = self.exchange(index, message, edge, scene)
        if not self._residual:
            yield node, message

    def layer(self, index, node, message, scene):
        """Central tokens (n, d_node) and edge tokens (2P, d_pet) that a layer makes.

        node: what the layer before made, which layers of the type residual do not read; message
        (2P, d_pet): what `exchange` made of it. The first layer, index 0, reads neither.
        """
        if index == 0 or self._residual:
            node = self.node_embedders[index](scene.rows)
        if index == 0:
            message = self.edge_embedder.weight
        node, edge = self.gnn_layers[index](
            node, message, scene.geometry, scene.neighbour_rows, scene.where
        )
        return node + scene.condition, edge

    def exchange(self, index, message, edge, scene):
        """(2P, d_pet) messages after a layer, None where nobody reads them."""
        if self._residual and index + 1 == len(self.gnn_layers):
            return None
        if index == 0:
            message = self.edge_embedder(scene.neighbour_rows)
        if self._residual:
            return 0.5 * (message + edge.roll(edge.shape[0] // 2, 0))
        return message + edge + self.combinations[index](edge)

    def _condition(self, graph):
        if not self.settings.system_conditioning:
            return 0.0
        return self.system_conditioning(graph.charge, graph.spin)[graph.structure]

    def read(self, name, tokens, scene, features=None):
        """(n_atoms, components) of one head: central readouts plus edge readouts weighted by the
        cutoff factor.

        tokens: {number of the readout: (central tokens, edge tokens)}.
        """
        graph = scene.graph
        total, weight, centre = 0.0, graph.per_edge(scene.factor)[:, None], graph.centre
        for index, (node, edge) in tokens.items():
            of_node, of_edge = (
                self.node_heads[name][index](node),
                self.edge_heads[name][index](edge),
            )
            per_edge = self.edge_last_layers[name][index](of_edge)
            total = total + self.node_last_layers[name][index](of_node)
            total = total.index_add(0, centre, per_edge * weight)
            if features is not None:
                features += [
                    of_node,
                    torch.zeros_like(of_node).index_add(0, centre, of_edge * weight),
                ]
        return self.scaled(name, total, scene.rows)

    def repulsion(self, name, graph):
        """(n_atoms, 1) energies in eV of the repulsion of nuclei.

        For heads of energies of a model with `zbl`; or 0.
        """
        if not self.settings.zbl or name.split("/")[0] != "energy":
            return 0.0
        radii = graph.pair_vectors.new_tensor([self.covalent_radii[z] for z in self.species])
        return zbl.energies(graph, radii[self.species_rows[graph.numbers]])[:, None]


def _lengths(graph):
    return graph.pair_vectors.square().sum(-1).sqrt() + 1e-15
