"""PONITA: convolutions over positions and orientations, with kernels of invariants.

Each atom i has a feature vector x_i(o) for each axis o of one grid of directions that all atoms
share. With v the vector of an edge i -> j, a kernel in space depends on two invariants of edge and
axis, and a kernel among the axes on their cosine:

    a = v . o,    b = |v - a o|                              along the axis, distance from it
    y_i(o) = sum_j W g(a, b) w(|v|) * x_j(o)                 in space, j = i included
    z_i(p) = sum_o W' h(o . p) * y_i(o) + bias               among the axes
    x'     = x + s * W2 gelu(W1 LayerNorm(z))                the rest of a ConvNeXt block

where g and h are small networks (`KernelBasis`), w is the cutoff function, and * multiplies channel
by channel. Energies and vectors are means over the axes, summed over the layers l:

    eps_i = mean_l mean_o (u_l . x_i^l(o) + c_l),    d_i = mean_l mean_o (u_l . x_i^l(o) + c_l) o

On the continuous sphere this is exactly invariant under O(3); on a grid it is invariant under the
symmetries of the grid, and the error for other rotations falls with the number of axes. Another
grid may replace it (`with_orientations`), but a network that was trained on few axes has other
errors on another grid: measure them there. With `orientations_drawn` it is trained on many grids,
and means over the axes have the weights of a quadrature. PNITA (`orientations` "none") has kernels
of the distance alone: it is invariant, but has no angles within a layer.

Source: E. Bekkers, S. Vadgama, R. Hesselink, P. van der Linden, D. Romero, Fast, Expressive SE(n)
Equivariant Networks through Weight-Sharing in Position-Orientation Space, ICLR 2024,
arXiv:2310.02970. Unlike there, edges vanish smoothly at the cutoff, and b is smooth on the axis.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import field, replace

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from .. import orientations, ranges
from ..choices import one_of
from ..graph import Graph, chunking
from ..layers.calibration import N_ATOMS, random_gas, scale_kernels
from ..layers.linear import Embedding, Linear, derived, linear
from ..layers.position_orientation import WINDOWS, Edges, KernelBasis, edges_on_grid, has_all_pairs
from ._axes import OnAxes
from .base import Parts


@ranges.checked
class Settings:
    """Settings of a PONITA."""

    species: ranges.Species  # atomic numbers, in the order of the rows of the embedding
    cutoff: ranges.Cutoff = 5.0  # A
    # polynomial, bump, step; none: every pair of atoms counts, molecules only
    cutoff_function: str = "polynomial"
    cutoff_power: ranges.Power = 6  # of the polynomial
    cutoff_width: ranges.SwitchWidth = 1.0  # A, of bump and step
    # name of a grid, see `ase_pet.orientations`; "given:n": n axes that come with the weights;
    # "none": no axes (PNITA)
    orientations: str = "icosahedral"
    # each batch of a training has another grid of 12 to 64 axes, of which all may be used later
    orientations_drawn: bool = False
    # A, distance from an axis below which b is smooth; 0: a cusp, as in the authors' models
    softening: ranges.Length = 0.3
    # invariants divided by the cutoff, from which bonds are hard to learn; else in A
    scaled: bool = False
    degree: ranges.Degree = 3  # of the polynomials of invariants
    width: ranges.LayerWidth = 64  # channels C
    num_basis: ranges.LayerWidth = 64  # functions K of the kernel basis
    num_layers: ranges.Layers = 3  # convolutions
    widening: ranges.Power = 4  # hidden width of the MLP of a block divided by C
    layer_scale: ranges.OptionalFactor = None  # first value of s, None: no s
    multiple_readouts: bool = True  # read each layer, not only the last
    vector_inputs: ranges.SmallCount = 0  # vectors per atom that `predict` takes
    shift: ranges.Energy = 0.0  # eV per structure, as in the authors' models: not size-extensive
    # readouts per atom: name -> components, 1 or 3
    heads: ranges.Heads = field(default_factory=lambda: {"energy": 1})
    uncertainties: ranges.Members = field(default_factory=dict)  # head -> members of its ensemble

    def __post_init__(self) -> None:
        one_of("cutoff_function", self.cutoff_function, WINDOWS)
        self._check_heads()
        self.axes()

    def _check_heads(self) -> None:
        # a vector is read along the axes
        expected = (
            "1 (a number) or 3 (a vector)"
            if self.oriented
            else "1 (a number), as there are no axes for a vector"
        )
        for name, components in self.heads.items():
            if components != 1 and not (components == 3 and self.oriented):
                raise ValueError(f"head `{name}` has {components} components: expected {expected}")
        needs_axes = {
            "vector_inputs": self.vector_inputs > 0,
            "orientations_drawn": self.orientations_drawn,
        }
        for name, needed in needs_axes.items():
            if needed and not self.oriented:
                raise ValueError(f"`{name}` needs axes: choose other `orientations` than 'none'")

    @property
    def oriented(self) -> bool:
        """Whether there are axes."""
        return self.orientations != "none"

    @property
    def needs_whole_structures(self) -> bool:
        """Whether environments of single atoms have no energy."""
        return bool(self.shift) or self.cutoff_function == "none"

    def axes(self) -> torch.Tensor:
        """Axes (O, 3), float64 on the CPU; none for PNITA."""
        if self.oriented:
            return orientations.grid(self.orientations)
        return torch.zeros(0, 3, dtype=torch.float64, device="cpu")


class Convolution(nn.Module):
    """Separable convolution: in space along each axis, then among the axes, if `oriented`.

    Sizes: `width` C of features, `n_basis` K of the kernel basis.
    """

    def __init__(self, width: int, n_basis: int, oriented: bool) -> None:
        super().__init__()
        self.kernel = Linear(n_basis, width, bias=False)  # W
        self.fibre_kernel = Linear(n_basis, width, bias=False) if oriented else None  # W'
        self.bias = nn.Parameter(torch.zeros(width))

    def in_space(
        self, x: torch.Tensor, basis: torch.Tensor, edges: Edges, x_j: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Sums (n_atoms, O, C) over `edges` of W g w * x_j, with basis g w (E, O, K), features `x`.

        `x_j` are those of the neighbours (E, O, C) where they are not in x. Where each edge also
        stands for its reverse, its kernel is used twice: the reverse of an edge has the same
        invariants along the opposite axis.
        """
        kernel = linear(basis.flatten(0, 1), self.kernel.weight)
        kernel = kernel.view(*basis.shape[:2], x.shape[2])  # (E, O, C)
        if x_j is not None:
            return torch.zeros_like(x).index_add(0, edges.centre, kernel * x_j)
        sums = self._gather(kernel, x, edges.neighbour, edges.centre)
        if edges.opposite is None:
            return sums
        x_opposite = x.index_select(1, edges.opposite)
        reverse = self._gather(kernel, x_opposite, edges.centre, edges.neighbour)
        return sums + reverse.index_select(1, edges.opposite)

    @staticmethod
    def _gather(
        kernel: torch.Tensor, x: torch.Tensor, sender: torch.Tensor, receiver: torch.Tensor
    ) -> torch.Tensor:
        return torch.zeros_like(x).index_add(0, receiver, kernel * x.index_select(0, sender))

    def of_itself(self, x: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
        """Term j = i (n_atoms, O, C) of features `x`, with basis (1, K) of the zero vector."""
        return x * linear(basis, self.kernel.weight)

    def fibre(self, basis: torch.Tensor) -> torch.Tensor:
        """Kernel (O, O, C) among the axes, divided by O, from basis (O, O, K)."""
        n_axes = len(basis)
        kernel = linear(basis.flatten(0, 1), self.fibre_kernel.weight) / n_axes
        return kernel.view(n_axes, n_axes, -1)

    def among_axes(self, y: torch.Tensor, fibre: torch.Tensor | None) -> torch.Tensor:
        """Features (n_atoms, O, C) after the kernel `fibre` (O, O, C) on `y`; None: no axes."""
        if fibre is None:
            return y + self.bias
        return torch.einsum("ioc,opc->ipc", y, fibre) + self.bias


class ConvNeXt(nn.Module):
    """Block of a convolution, LayerNorm and an MLP, with a residual connection (see `settings`)."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        width = settings.width
        hidden = settings.widening * width
        self.convolution = Convolution(width, settings.num_basis, settings.oriented)
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(Linear(width, hidden), nn.GELU(), Linear(hidden, width))
        self.layer_scale = None
        if settings.layer_scale is not None:
            self.layer_scale = nn.Parameter(torch.full((width,), float(settings.layer_scale)))

    def forward(self, x: torch.Tensor, y: torch.Tensor, fibre: torch.Tensor | None) -> torch.Tensor:
        """Features (n_atoms, O, C) from `x` and its convolution in space `y`; kernel `fibre`."""
        update = self.norm(self.convolution.among_axes(y, fibre))
        update = self.mlp(update.flatten(0, 1)).view_as(x)
        if self.layer_scale is not None:
            update = self.layer_scale * update
        return x + update


class Model(OnAxes):
    """PONITA of energies, numbers and vectors of atoms.

    Parameters
    ----------
    settings:
        Settings of the model.
    """

    # invariants and cutoff weights in the dtype of the pair vectors, maybe above that of weights
    exact_geometry = True
    fixed_lengths = True
    # Each pair once, its kernel used for both directions; False: the plain sum over directed edges.
    fast = True
    parts = Parts(readouts=("last_layers",), layers=("layers",))

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, settings.cutoff, settings.species)
        width = settings.width  # C
        n_basis = settings.num_basis  # K
        self.node_embedder = Embedding(len(settings.species), width)
        if settings.vector_inputs:
            self.vector_embedder = Linear(settings.vector_inputs, width, bias=False)
        n_invariants = 2 if settings.oriented else 1  # along an axis and across, or the distance
        self.basis = KernelBasis(n_invariants, settings.degree, width, n_basis)
        if settings.oriented:
            self.fibre_basis = KernelBasis(1, settings.degree, width, n_basis)
        self.layers = nn.ModuleList(ConvNeXt(settings) for _ in range(settings.num_layers))
        self.n_readouts = settings.num_layers if settings.multiple_readouts else 1
        self.last_layers = nn.ModuleDict()
        for name in settings.heads:  # a vector needs one number for each axis, too
            readouts = [Linear(width, 1) for _ in range(self.n_readouts)]
            self.last_layers[name] = nn.ModuleList(readouts)
        self.register_buffer("axes", settings.axes())  # (O, 3), kept with the weights
        self.set_features(width * self.n_readouts)
        if not self.node_embedder.weight.is_meta and not self.axes.isnan().any():
            self._calibrate()

    @property
    def message_passing_depth(self) -> int | None:
        """Number of exchanges of messages; None where single environments have no energies."""
        depth = self.settings.num_layers - 1
        return None if depth > 0 and self.settings.needs_whole_structures else depth

    @property
    def supports_domains(self) -> bool:
        """Whether the model can evaluate the atoms of one process of a larger structure."""
        return not (self.settings.needs_whole_structures or self.settings.vector_inputs)

    def predict(
        self, graph: Graph, names: tuple[str, ...], vectors: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """{head: values (n_atoms, components)}, scaled, without composition energies.

        Parameters
        ----------
        graph:
            Structures, with all pairs within `cutoff`.
        names:
            Names of heads.
        vectors:
            Vectors (n_atoms, vector_inputs, 3) of a model with `vector_inputs`.

        Raises
        ------
        ValueError
            A model without cutoff function, or with a `shift`, has no energy of such structures.
        """
        return self._read(self._layers(graph, names, vectors), graph, names)

    def last_layer(self, graph: Graph) -> tuple[torch.Tensor, torch.Tensor]:
        """Energies (n_atoms,) in eV as of `forward` for a `graph`, and features (n_atoms, F).

        The features are means over the axes after each layer that is read, side by side.
        """
        name = self.energy_head
        layers = list(self._layers(graph, (name,)))
        features = [self.weighted(x).mean(1) for x in layers[-self.n_readouts :]]
        return self._read(layers, graph, (name,))[name][:, 0], torch.cat(features, 1)

    def layer_features(self, graph: Graph) -> dict[str, torch.Tensor]:
        """{layer: means (n_atoms, C) over the axes} after each layer for a `graph`."""
        layers = enumerate(self._layers(graph, (self.energy_head,)), 1)
        return {str(number): self.weighted(x).mean(1) for number, x in layers}

    def _layers(
        self, graph: Graph, names: tuple[str, ...], vectors: torch.Tensor | None = None
    ) -> Iterable[torch.Tensor]:
        """Features (n_atoms, O, C) after each layer, of a graph that has values of these heads."""
        self._check(graph, names, vectors)
        x = self._embed(self.species_rows[graph.numbers], vectors)
        return self._features(x, self._edges(graph))

    def _read(
        self, layers: Iterable[torch.Tensor], graph: Graph, names: tuple[str, ...]
    ) -> dict[str, torch.Tensor]:
        """{head: values (n_atoms, components)} of features after each layer."""
        rows = self.species_rows[graph.numbers]
        values = dict.fromkeys(names, 0.0)
        first_read = len(self.layers) - self.n_readouts
        for index, x in enumerate(layers):
            if index >= first_read:
                for name in names:
                    readout = self.last_layers[name][index - first_read]
                    values[name] = values[name] + self._mean(readout(x.flatten(0, 1)), x, name)
        return {
            name: self._shifted(name, self.scaled(name, value / self.n_readouts, rows), graph)
            for name, value in values.items()
        }

    def _check(self, graph: Graph, names: tuple[str, ...], vectors: torch.Tensor | None) -> None:
        settings = self.settings
        unknown = [name for name in names if name not in settings.heads]
        if unknown:
            raise ValueError(
                f"`{unknown[0]}` is not a head of this model: valid choices are"
                f" {', '.join(settings.heads)}"
            )
        expected = (graph.n_atoms, settings.vector_inputs, 3)
        shape = None if vectors is None else tuple(vectors.shape)
        # a model without vector inputs takes None
        if (settings.vector_inputs or shape is not None) and shape != expected:
            raise ValueError(f"`vectors` has shape {shape}: expected {expected}")
        if settings.needs_whole_structures and graph.one_sided:
            raise ValueError(
                "this model has a `shift` per structure or no window, and no energy of the"
                " environment of an atom: use group:O, group:I or quadrature:L"
            )
        if settings.cutoff_function == "none" and not has_all_pairs(graph):
            raise ValueError(
                "this model has no window and acts between every pair of atoms: it has no energy"
                f" of periodic structures, nor of molecules larger than {self.cutoff:g} A"
            )

    def _embed(self, rows: torch.Tensor, vectors: torch.Tensor | None = None) -> torch.Tensor:
        """Features (n_atoms, O, C) of species, and of vectors along each axis."""
        n_axes = max(1, len(self.axes))
        x = self.node_embedder(rows)[:, None].expand(-1, n_axes, -1)
        if vectors is None:
            return x
        along = (vectors.to(self.axes.dtype) @ self.axes.T).mT  # (n_atoms, O, vector_inputs)
        along = along.to(x.dtype)
        return x + self.vector_embedder(along.flatten(0, 1)).view_as(x)

    def _edges(self, graph: Graph) -> Edges:
        """Edges with invariants and cutoff weights; each pair once where the grid allows it."""
        graph = graph.filled(2 * self.cutoff)
        opposite = derived(self, "opposite", (self.axes,), self._opposite_axes)
        if opposite is None or graph.one_sided or not self.fast:
            opposite = None
            edges = graph.edge_vectors, graph.centre, graph.neighbour  # directed edges
        else:
            edges = graph.pair_vectors, graph.pair_centre, graph.pair_neighbour
        on_grid = edges_on_grid(*edges, self.axes, self.settings).to(self._dtype)
        return replace(on_grid, opposite=opposite, route=graph.route)

    @property
    def _dtype(self) -> torch.dtype:
        return self.node_embedder.weight.dtype

    def _opposite_axes(self) -> torch.Tensor | None:
        """Index (O,) of the opposite of each axis, None for a grid without opposites."""
        if not self.settings.oriented:
            return torch.zeros(1, dtype=torch.int64, device=self.axes.device)
        if self.axes.isnan().any():
            raise ValueError(
                f"this model has no axes yet (`orientations` {self.settings.orientations!r}): load"
                " its weights, or choose axes by `with_orientations`"
            )
        return orientations.opposite(self.axes)

    def _features(self, x: torch.Tensor, edges: Edges) -> Iterator[torch.Tensor]:
        """Features (n_atoms, O, C) after each layer."""
        chunks = self._chunks(edges)
        basis = None
        if chunks is None:  # all layers share the basis of all edges
            basis = self.basis(edges.invariants) * edges.window[:, None, None]  # (E, O, K)
        of_itself = self._basis_of_itself()
        for layer, fibre in zip(self.layers, self._fibres(), strict=True):
            y = layer.convolution.of_itself(x, of_itself)
            x_j = edges.of_neighbours(x)  # before chunks, of which each rank has its own number
            if basis is not None:
                y = y + layer.convolution.in_space(x, basis, edges, x_j)
            for chunk in chunks or []:
                of_chunk = None if x_j is None else x_j[chunk]
                y = y + self._in_space_chunk(layer.convolution, x, edges.part(chunk), of_chunk)
            x = layer(x, self.weighted(y), fibre)
            yield x

    def _basis_of_itself(self) -> torch.Tensor:
        """Kernel basis (1, K) of an atom and itself, whose invariants are 0."""
        zeros = self.node_embedder.weight.new_zeros(1, 2 if self.settings.oriented else 1)
        return self.basis(zeros)

    def _in_space_chunk(
        self, convolution: Convolution, x: torch.Tensor, edges: Edges, x_j: torch.Tensor | None
    ) -> torch.Tensor:
        """Convolution in space over some edges; their kernels are computed anew for derivatives."""

        def convolve(
            x: torch.Tensor,
            invariants: torch.Tensor,
            window: torch.Tensor,
            x_j: torch.Tensor | None,
        ) -> torch.Tensor:
            basis = self.basis(invariants) * window[:, None, None]
            return convolution.in_space(x, basis, edges, x_j)

        # with gradients, kernels (E, O, C) are computed again instead of being kept
        if not torch.is_grad_enabled():
            return convolve(x, edges.invariants, edges.window, x_j)
        inputs = x, edges.invariants, edges.window, x_j
        return checkpoint(convolve, *inputs, use_reentrant=False, preserve_rng_state=False)

    def _chunks(self, edges: Edges) -> list[slice] | None:
        """Slices of edges that fit the memory together; None for all at once, as in training."""
        settings = self.settings
        n_edges, n_axes, _ = edges.invariants.shape
        values = n_axes * max(settings.width, settings.num_basis)  # of the kernels of an edge
        size = max(1, chunking.budget("kernel_values", edges.window.device) // values)
        if n_edges <= size or any(parameter.requires_grad for parameter in self.parameters()):
            return None
        return [slice(start, start + size) for start in range(0, n_edges, size)]

    def _fibres(self) -> list[torch.Tensor | None]:
        """Kernel (O, O, C) among the axes of each layer, None without axes."""
        if not self.settings.oriented:
            return [None] * len(self.layers)
        kernels = [layer.convolution.fibre_kernel.weight for layer in self.layers]
        parameters = (self.axes, *self.fibre_basis.parameters(), *kernels)
        return derived(self, "fibres", parameters, self._compute_fibres)

    def _compute_fibres(self) -> list[torch.Tensor]:
        cosines = self.axes @ self.axes.T
        basis = self.fibre_basis(cosines[:, :, None].to(self._dtype))
        return [layer.convolution.fibre(basis) for layer in self.layers]

    def _mean(self, values: torch.Tensor, x: torch.Tensor, name: str) -> torch.Tensor:
        """Means (n_atoms, components) over the axes of a readout (n_atoms O, 1)."""
        values = self.weighted(values.view(x.shape[:2]))  # (n_atoms, O)
        if self.settings.heads[name] == 1:
            return values.mean(1, keepdim=True)
        return values @ self.axes.to(values.dtype) / len(self.axes)

    def _shifted(self, name: str, values: torch.Tensor, graph: Graph) -> torch.Tensor:
        """Values with the share of each atom in the `shift` of its structure."""
        if not self.settings.shift or name != self.energy_head:
            return values
        n_atoms = torch.bincount(graph.structure)[graph.structure, None]
        # float32 would spoil differences of energies
        return values.double() + self.settings.shift / n_atoms.double()

    @torch.no_grad()
    def _calibrate(self) -> None:
        """Scale the first kernels so that each convolution keeps the standard deviation of x.

        LayerNorm would drown small values in its epsilon. The authors take the first batch of
        training; here it is a random gas of all species.
        """
        gas = random_gas(self.cutoff)  # vectors, centres and neighbours of its edges
        on_grid = edges_on_grid(*gas, self.axes, self.settings)
        edges = on_grid.to(self._dtype)
        rows = torch.arange(N_ATOMS) % len(self.species)
        x = self._embed(rows)
        window = edges.window[:, None, None]
        basis = window * self.basis(edges.invariants)
        of_itself = self._basis_of_itself()

        def in_space(convolution: Convolution, x: torch.Tensor) -> torch.Tensor:
            y = convolution.in_space(x, basis, edges)
            return y + convolution.of_itself(x, of_itself)  # (n_atoms, O, C)

        scale_kernels(self.layers, x, in_space, self._fibres)
