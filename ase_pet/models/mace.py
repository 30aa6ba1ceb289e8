"""MACE: equivariant messages between atoms, and symmetric polynomials of them.

Features h of an atom have degrees l = 0..L with components m = -l..l, and C channels. With the
vector v = r_i - r_j of an edge from sender j to receiver i, harmonics Y of its direction and a
small network R of its length, each layer computes

    u      = W_up h
    A_l3m3 = W sum_paths sum_j R_path(|v|) w(l1, l2, l3) u_j,l1m1 Y_l2m2(v) / N       messages
    B_LM   = sum_k w_k(Z) sum_monomials U_LM,k A_.. A_.. A_..      products of 1, 2, 3 components
    h'     = W' B + S(Z) h      (residual), or with S(Z) A in place of A and no sum (others)

where w are Wigner's 3j symbols, N is the mean number of neighbours, or 1 + sum_j tanh((w R)^2)
("density"), S(Z) are linear maps of each element, and U the coupling coefficients that come with
the weights. Energies are sums over layers of a readout of the scalars of h':

    eps_i = scale (sum_layers readout(h'_i) + repulsion_i) + shift

Linear maps divide by the square root of their number of inputs. The model is exactly equivariant.
Arrays of features are (n_atoms, components, C), with atoms sorted by element.

Source: I. Batatia, D. P. Kovacs, G. N. C. Simm, C. Ortner, G. Csanyi, MACE: Higher Order
Equivariant Message Passing Neural Networks, NeurIPS 2022, arXiv:2206.07697; arXiv:2401.00096 for
the density, the transform of distances and the repulsion.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, TypeAlias

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from .. import ranges
from ..choices import one_of
from ..graph import Graph, chunking
from ..layers import cutoff
from ..layers import equivariant_convolution as convolution
from ..layers.equivariant_linear import Elements, Features, Map, Maps, SpeciesMaps, elements_of
from ..layers.radial import TRANSFORMS, BesselBasis, ScreenedRepulsion, Shifts
from ..layers.spherical_harmonics import LARGEST_DEGREE, spherical_harmonics
from ..layers.symmetric_products import SymmetricProducts
from .base import AtomisticModel, Parts

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "silu": functional.silu,
    "tanh": torch.tanh,
    "relu": functional.relu,
    "abs": torch.abs,
    "sigmoid": torch.sigmoid,
    "none": lambda x: x,
}
READOUTS = ("none", "linear", "mlp")
SILU_SCALE = 1.6791767923989418  # 1 / sqrt(mean of silu(x)^2) of normal x, as in e3nn
PER_LAYER = ("residual", "density", "average_neighbours", "correlation", "readouts")


Some = Field(min_length=1, max_length=ranges.MOST_LAYERS)
Degree = Annotated[int, Field(ge=0, le=LARGEST_DEGREE)]
Correlation = Annotated[int, Field(ge=1, le=4)]
Neighbours = Annotated[float, Field(ge=1e-3, le=1e6)]
Counts = tuple[Annotated[int, Field(ge=0, le=100_000)], ...]


@ranges.checked
class Settings:
    """Settings of a MACE. Lists from `hidden_degrees` to `readouts` have one entry per layer."""

    species: ranges.Species  # atomic numbers, in the order of the rows of the embedding
    cutoff: ranges.Cutoff = 5.0  # A
    cutoff_power: ranges.Power = 5  # of the polynomial
    cutoff_in_basis: bool = True  # multiplies the radial functions; else the weights R
    num_bessel: ranges.LayerWidth = 8  # radial functions
    distance_transform: str = "none"  # or agnesi, soft
    width: ranges.LayerWidth = 64  # channels C
    degree: Degree = 3  # largest l of harmonics and messages
    # degrees of the features after each layer
    hidden_degrees: Annotated[tuple[tuple[Degree, ...], ...], ranges.Listed, Some] = ((0, 1), (0,))
    residual: Annotated[tuple[bool, ...], ranges.Listed, Some] = (False, True)  # adds S(Z) h
    density: Annotated[tuple[bool, ...], ranges.Listed, Some] = (False, False)  # N is learned
    average_neighbours: Annotated[tuple[Neighbours, ...], ranges.Listed, Some] = (10.0, 10.0)  # N
    correlation: Annotated[tuple[Correlation, ...], ranges.Listed, Some] = (3, 3)  # factors of B
    readouts: Annotated[tuple[str, ...], ranges.Listed, Some] = ("linear", "mlp")  # or none
    radial_widths: Annotated[tuple[ranges.LayerWidth, ...], ranges.Listed, Some] = (64, 64, 64)
    radial_scale: ranges.Factor = SILU_SCALE  # of the SiLU of the radial networks
    readout_width: ranges.LayerWidth = 16  # of the MLP of each head
    activation: str = "silu"  # of the MLP
    activation_scale: ranges.Factor = SILU_SCALE  # of its values
    pair_repulsion: bool = False  # of screened nuclei
    repulsion_power: ranges.Power = 5  # of the polynomial that switches it off
    # number of products: of each layer, degree after it, and number of factors 1..correlation;
    # empty for all that are independent
    num_products: Annotated[tuple[tuple[Counts, ...], ...], ranges.Listed] = ()
    heads: ranges.Heads = field(default_factory=lambda: {"energy": 1})  # name -> components
    uncertainties: ranges.Members = field(default_factory=dict)  # head -> members of its ensemble

    def __post_init__(self) -> None:
        one_of("distance_transform", self.distance_transform, TRANSFORMS)
        one_of("activation", self.activation, ACTIVATIONS)
        for readout in self.readouts:
            one_of("readouts", readout, READOUTS)
        n_layers = len(self.hidden_degrees)
        for name in PER_LAYER:
            if len(getattr(self, name)) != n_layers:
                raise ValueError(
                    f"`{name}` has {len(getattr(self, name))} entries, but `hidden_degrees` has"
                    f" {n_layers}: expected one for each layer"
                )
        for degrees in self.hidden_degrees:
            if list(degrees) != sorted({0, *degrees}):
                raise ValueError(f"`hidden_degrees` has {degrees}: expected rising degrees from 0")
            if degrees[-1] > self.degree:
                raise ValueError(f"`hidden_degrees` has {degrees}, but `degree` is {self.degree}")
        for name, size in self.heads.items():
            if size != 1 or name.split("/")[0] != "energy":
                raise ValueError(f"`heads` has {name!r}: expected energies of 1 component")
        self._check_products()

    def _check_products(self) -> None:
        found = [[len(each) for each in counts] for counts in self.num_products]
        layers = zip(self.hidden_degrees, self.correlation, strict=True)
        expected = [[correlation] * len(degrees) for degrees, correlation in layers]
        if self.num_products and found != expected:
            raise ValueError("`num_products` does not fit `hidden_degrees` and `correlation`")

    def inputs(self, layer: int) -> tuple[int, ...]:
        """Degrees of the features before a `layer`."""
        return self.hidden_degrees[layer - 1] if layer else (0,)

    def products(self, layer: int) -> dict[int, tuple[int, ...] | None]:
        """Number of products of a `layer` of each degree after it, None for all."""
        ranks = self.hidden_degrees[layer]
        if not self.num_products:
            return dict.fromkeys(ranks)
        return dict(zip(ranks, self.num_products[layer], strict=True))


@dataclass(frozen=True)
class Inputs:
    """What all layers share, computed from a graph by `Model.prepare`."""

    graph: Graph  # pairs within the cutoff, atoms sorted by element
    elements: Elements  # row of each element, and its atoms
    basis: torch.Tensor  # (P, N) radial functions of pairs
    cutoff: torch.Tensor | None  # (P, 1) factor on the weights R; None: part of the functions
    edges: convolution.Edges  # directed edges within the cutoff


Prepared: TypeAlias = tuple[torch.Tensor, Inputs, torch.Tensor]  # see `Model.prepare`


class Interaction(nn.Module):
    """Messages A of a layer, and S(Z) h where it is residual.

    Parameters
    ----------
    settings:
        Settings of the model.
    layer:
        Index of the layer.
    """

    fast = True  # False: the plain sum over edges, for comparison

    def __init__(self, settings: Settings, layer: int) -> None:
        super().__init__()
        self.is_first = layer == 0
        width = settings.width
        degrees = settings.inputs(layer)
        self.paths = convolution.paths(degrees, settings.degree)
        self.average_neighbours = settings.average_neighbours[layer]
        self.radial_scale = settings.radial_scale
        self.is_residual = settings.residual[layer]
        self.up = Maps(dict.fromkeys(degrees, width), width)
        n_weights = len(self.paths) * width
        widths = (settings.num_bessel, *settings.radial_widths, n_weights)
        self.radial = nn.ModuleList(map(Map, widths[:-1], widths[1:]))
        counts = Counter(path.l3 for path in self.paths)
        n_messages = {order: n * width for order, n in counts.items()}
        self.linear = Maps(n_messages, width)
        self.density = Map(settings.num_bessel, 1) if settings.density[layer] else None
        kept = tuple(counts)
        if self.is_residual:  # degrees that are there before and after
            after = settings.hidden_degrees[layer]
            kept = tuple(order for order in after if order in degrees)
        self.skip = SpeciesMaps(kept, width, len(settings.species))

    def forward(self, h: Features, inputs: Inputs) -> tuple[Features, Features]:
        """Messages A, and what is added to the products, {} for nothing.

        Parameters
        ----------
        h:
            Features of the atoms.
        inputs:
            Inputs of all layers.
        """
        u = convolution.of_senders(self.up(h), inputs.graph, self.is_first)
        messages = self.linear(self._summed(u, inputs))
        neighbours = self._neighbours(inputs)
        messages = {order: message / neighbours for order, message in messages.items()}
        if self.is_residual:
            return messages, self.skip(h, inputs.elements)
        return self.skip(messages, inputs.elements), {}

    def _neighbours(self, inputs: Inputs) -> torch.Tensor | float:
        """N, or 1 + sum_j tanh((w R)^2) (n_atoms, 1, 1) of each atom."""
        if self.density is None:
            return self.average_neighbours
        density = self.density(inputs.basis)  # (P, 1)
        of_pair = torch.tanh(density**2)
        if inputs.cutoff is not None:
            of_pair = of_pair * inputs.cutoff
        edges = inputs.edges
        of_edge = of_pair.index_select(0, edges.pair)
        total = of_edge.new_ones(inputs.graph.n_atoms, 1)
        total = total.index_add(0, edges.receiver, of_edge)
        return total[:, :, None]

    def _weights(self, inputs: Inputs) -> torch.Tensor:
        """Weights R (P, paths C) of each pair."""
        *hidden, last = self.radial
        x = inputs.basis
        for layer in hidden:
            x = self.radial_scale * functional.silu(layer(x))
        if inputs.cutoff is not None:
            x = x * inputs.cutoff
        weights: torch.Tensor = last(x)
        return weights

    def _summed(self, u: Features, inputs: Inputs) -> Features:
        """Sums over edges, {l3: (n_atoms, 2 l3 + 1, paths C)}."""
        edges = inputs.edges
        weights = self._weights(inputs)
        if not self.fast:
            n_atoms = inputs.graph.n_atoms
            return convolution.plain(u, weights, edges, self.paths, n_atoms)
        groups = edges.groups
        sums = [self._of_group(u, weights, group) for group in groups]
        atoms = torch.cat([group.atoms for group in groups])
        place = torch.argsort(atoms)
        joined = {}
        for order in sums[0]:
            parts = [of_group[order] for of_group in sums]
            whole = torch.cat(parts)
            joined[order] = whole.index_select(0, place)
        return joined

    def _of_group(self, u: Features, weights: torch.Tensor, group: convolution.Group) -> Features:
        """Sums of a group of atoms; for many edges, products are computed anew for derivatives."""
        arguments = u, weights, group, self.paths
        kept = chunking.budget("convolution_cells", weights.device) // 2
        is_frozen = not any(parameter.requires_grad for parameter in self.parameters())
        if is_frozen and torch.is_grad_enabled() and group.pair.numel() > kept:
            return convolution.fast_recomputed(*arguments)
        return convolution.fast(*arguments)


class Products(nn.Module):
    """Linear maps W' B of the products B of a `layer` of a model with `settings`."""

    def __init__(self, settings: Settings, layer: int) -> None:
        super().__init__()
        counts = settings.products(layer)
        n_species = len(settings.species)
        largest = settings.correlation[layer]
        self.products = SymmetricProducts(
            settings.degree, largest, counts, settings.width, n_species
        )
        self.linear = Maps(dict.fromkeys(counts, settings.width), settings.width)

    def forward(self, messages: Features, inputs: Inputs) -> Features:
        """W' B of `messages`, degree by degree; `inputs` are those of all layers."""
        return self.linear(self.products(messages, inputs.elements))


class Readout(nn.Module):
    """Energies of each head from scalars: of the kind "linear", or "mlp", with units of each head.

    Parameters
    ----------
    settings:
        Settings of the model.
    kind:
        "linear" or "mlp".
    """

    def __init__(self, settings: Settings, kind: str) -> None:
        super().__init__()
        n_heads = len(settings.heads)
        self.width = settings.readout_width
        self.activation = ACTIVATIONS[settings.activation]
        self.scale = settings.activation_scale
        self.hidden = None
        self.n_features = settings.width if kind == "linear" else self.width
        n_inputs = settings.width
        if kind == "mlp":
            n_inputs = n_heads * self.width
            self.hidden = Map(settings.width, n_inputs)
        self.last = Map(n_inputs, n_heads)

    def forward(self, scalars: torch.Tensor, head: int) -> torch.Tensor:
        """Energies (n_atoms,) of one head, without unit, for `scalars` (n_atoms, C)."""
        x = scalars
        if self.hidden is not None:
            x = self.scale * self.activation(self.hidden(x))
            # only the units of the head: those of others are 0, but count as inputs
            is_own = torch.zeros_like(x[:1])
            is_own[:, self._own(head)] = 1.0
            x = x * is_own
        energies: torch.Tensor = self.last(x)
        return energies[:, head]

    def features(self, scalars: torch.Tensor, head: int) -> torch.Tensor:
        """Features (n_atoms, F) that the energies of `forward` are linear in."""
        x = scalars
        if self.hidden is not None:
            x = self.scale * self.activation(self.hidden(x)[:, self._own(head)])
        return x / len(self.last.weight) ** 0.5

    def _own(self, head: int) -> slice:
        """Units of a head in the hidden layer."""
        return slice(head * self.width, (head + 1) * self.width)


class Model(AtomisticModel):
    """MACE: `forward(graph)` returns the energies (n_atoms,) in eV without those of free atoms.

    Parameters
    ----------
    settings:
        Settings of the model.
    """

    # lengths, radial functions and harmonics in the dtype of the pair vectors
    exact_geometry = True
    supports_domains = True
    parts = Parts(readouts=("readouts",), layers=("interactions", "products"))

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, settings.cutoff, settings.species)
        n_species = len(settings.species)
        layers = range(len(settings.hidden_degrees))
        self.embedding = Map(n_species, settings.width)
        self.radial_basis = BesselBasis(
            settings.num_bessel, settings.cutoff, settings.distance_transform, n_species
        )
        self.interactions = nn.ModuleList(Interaction(settings, layer) for layer in layers)
        self.products = nn.ModuleList(Products(settings, layer) for layer in layers)
        self.readouts = nn.ModuleDict()
        for layer, kind in enumerate(settings.readouts):
            if kind != "none":
                self.readouts[str(layer)] = Readout(settings, kind)
        self.repulsion = None
        if settings.pair_repulsion:
            self.repulsion = ScreenedRepulsion(settings.repulsion_power, n_species)
        self.shifts = Shifts(len(settings.heads))
        readouts: list[Any] = list(self.readouts.values())
        self.set_features(sum(each.n_features for each in readouts))

    @property
    def message_passing_depth(self) -> int:
        """Number of layers after the first one."""
        return len(self.settings.hidden_degrees) - 1

    def predict(self, graph: Graph, names: tuple[str, ...]) -> dict[str, torch.Tensor]:
        """{head: energies (n_atoms, 1) in eV}, float64, without composition energies.

        Parameters
        ----------
        graph:
            Structures, with all pairs within `cutoff`.
        names:
            Names of heads; ValueError for others.
        """
        prepared = self.prepare(graph)
        scalars = self._features(prepared[1])
        return {name: self._read(name, scalars, prepared, graph) for name in names}

    def last_layer(self, graph: Graph) -> tuple[torch.Tensor, torch.Tensor]:
        """Energies (n_atoms,) in eV as of `forward` for a `graph`, and features (n_atoms, F)."""
        name = self.energy_head
        prepared = self.prepare(graph)
        scalars = self._features(prepared[1])
        energies = self._read(name, scalars, prepared, graph)
        head = list(self.settings.heads).index(name)
        parts = []
        for layer, readout in self.readouts.items():
            of_layer = scalars[int(layer)]
            parts.append(readout.features(of_layer, head))
        features = torch.cat(parts, 1)  # of sorted atoms
        return energies[:, 0], features[prepared[0]]

    def layer_features(self, graph: Graph) -> dict[str, torch.Tensor]:
        """{layer: scalars (n_atoms, C)} after each layer for a `graph`, "1", "2", ..."""
        place, inputs, _ = self.prepare(graph)
        return {str(layer): x[place] for layer, x in enumerate(self._features(inputs), 1)}

    def _read(
        self, name: str, scalars: list[torch.Tensor], prepared: Prepared, graph: Graph
    ) -> torch.Tensor:
        """Energies (n_atoms, 1) in eV of one head, float64, for scalars after each layer."""
        heads = list(self.settings.heads)
        one_of("head", name, heads)
        head = heads.index(name)
        place, _, repulsion = prepared
        total = sum(readout(scalars[int(layer)], head) for layer, readout in self.readouts.items())
        total = total.double() + repulsion
        in_order = total[place, None]  # (n_atoms, 1)
        rows = self.species_rows[graph.numbers]
        scaled = self.scaled(name, in_order, rows)
        return scaled + self.shifts.of_heads[head]

    def _features(self, inputs: Inputs) -> list[torch.Tensor]:
        """Scalars (n_atoms, C) after each layer."""
        h = {0: self._embedded(inputs)}
        scalars = []
        for interaction, products in zip(self.interactions, self.products, strict=True):
            messages, kept = interaction(h, inputs)
            h = products(messages, inputs)
            h = {order: x + kept[order] if order in kept else x for order, x in h.items()}
            scalars.append(h[0][:, 0])
        return scalars

    def _embedded(self, inputs: Inputs) -> torch.Tensor:
        """Features (n_atoms, 1, C) of elements."""
        table = self.embedding.weight / len(self.species) ** 0.5
        sizes = [(row, atoms.stop - atoms.start) for row, atoms in inputs.elements]
        return torch.cat([table[row].expand(size, 1, -1) for row, size in sizes])

    def prepare(self, graph: Graph) -> Prepared:
        """Place of each atom among those sorted by element, inputs, and their repulsion in eV.

        Parameters
        ----------
        graph:
            Structures, with all pairs within `cutoff`.
        """
        rows = self.species_rows[graph.numbers]
        order = torch.argsort(rows, stable=True)
        place = torch.argsort(order)  # of each atom among the sorted ones
        dtype = self.embedding.weight.dtype
        pairs = graph.filled(2 * self.cutoff)
        pairs = convolution.with_spare_pair(pairs, 2 * self.cutoff)
        i = pairs.pair_centre
        j = pairs.pair_neighbour
        vectors = pairs.pair_vectors
        lengths = vectors.square().sum(-1).sqrt()
        basis = self.radial_basis(lengths, rows[i], rows[j])
        window = cutoff.polynomial(lengths, self.cutoff, self.settings.cutoff_power)
        window = window[:, None]
        is_within = lengths.detach() < self.cutoff
        if pairs.route is not None:
            # two processes may round the length of an edge to different sides of the cutoff
            is_within = is_within & pairs.route.swap(is_within)
        # without any pair within the cutoff, one whose weights R are 0
        is_within[-1] |= ~is_within.any()
        keep = torch.nonzero(is_within)[:, 0]
        pairs = replace(
            pairs,
            numbers=graph.numbers[order],
            pair_centre=place[i],
            pair_neighbour=place[j],
        )
        pairs = pairs.select(keep)
        lengths = lengths[keep]
        vectors = vectors[keep]
        harmonics = spherical_harmonics(vectors, lengths, self.settings.degree)
        harmonics = harmonics.to(dtype)
        cells = chunking.budget("convolution_cells", lengths.device)
        in_basis = self.settings.cutoff_in_basis
        inputs = Inputs(
            graph=pairs,
            elements=elements_of(rows[order]),
            basis=(basis * window if in_basis else basis).to(dtype),
            cutoff=None if in_basis else window.to(dtype),
            edges=convolution.edges_of(pairs, keep, harmonics, cells),
        )
        return place, inputs, self._repulsion(pairs, lengths)

    def _repulsion(self, graph: Graph, lengths: torch.Tensor) -> torch.Tensor:
        """Repulsion (n_atoms,) in eV, half of that of each pair, in the order of a `graph`."""
        total = lengths.new_zeros(graph.n_atoms, dtype=torch.float64)
        if self.repulsion is None:
            return total
        ends = (graph.pair_centre, graph.pair_neighbour)
        numbers = [graph.numbers[atoms] for atoms in ends]
        rows = [self.species_rows[each] for each in numbers]
        energies = self.repulsion(lengths, numbers, rows)
        # atoms may touch beyond the cutoff of the model
        half = torch.where(lengths < self.cutoff, energies / 2, 0.0).double()
        for atoms in ends[:1] if graph.one_sided else ends:
            total = total.index_add(0, atoms, half)
        return total
