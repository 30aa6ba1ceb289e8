"""PONITA: convolutions over positions and orientations, with kernels of invariants.

Each atom carries a feature x_i(o) for each axis o of one grid of directions that all atoms share. A
layer convolves in space with kernels of the invariants of edge vector and axis (a along it, b
across), then among the axes with kernels of their cosines (`layers.convnext`). Energies are means
over the axes:

    eps_i = mean over layers l of mean_o (w_l . x_i^l(o) + b_l),     d_i = the same mean of (w_l .
                                                                     x_i^l(o) + b_l) o

On the continuous sphere that is exactly invariant under O(3); on a grid it is under the symmetries
of the grid, and the rest falls with the number of axes. Any other grid may take its place
(`with_orientations`), but a network that learned on few axes is another one on others: measure its
errors there. PNITA, `orientations` "none", has kernels of the distance alone: invariant, but it
sees no angles within a layer.

Source: E. Bekkers, S. Vadgama, R. Hesselink, P. van der Linden, D. Romero, Fast, Expressive SE(n)
Equivariant Networks through Weight-Sharing in Position-Orientation Space, ICLR 2024,
arXiv:2310.02970. Other than there, by default edges leave smoothly, and b is smooth on the axis.
"""

import copy
import numbers
from dataclasses import replace

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from .. import orientations
from ..layers import invariants
from ..layers.convnext import Basis, ConvNeXt
from ..layers.linear import Embedding, Linear, derived
from ._ponita_settings import Settings  # noqa: F401 (part of the interface)
from .base import AtomisticModel

CHUNK = {"cpu": 2**24, "cuda": 2**27}  # kernel values that are made at once in inference


class Model(AtomisticModel):
    """PONITA. `forward(graph)` gives energies (n_atoms,) in eV of the head `energy_head`.

    `predict` gives any heads.
    """

    # invariants and windows in the dtype of the pair vectors, which may be above the weights'
    exact_geometry = True

    def __init__(self, settings):
        super().__init__(settings, settings.cutoff, settings.species)
        width, n_basis, layers = settings.width, settings.num_basis, range(settings.num_layers)
        self.node_embedder = Embedding(len(settings.species), width)
        if settings.vector_inputs:
            self.vector_embedder = Linear(settings.vector_inputs, width, bias=False)
        self.basis = Basis(2 if settings.oriented else 1, settings.degree, width, n_basis)
        if settings.oriented:
            self.fibre_basis = Basis(1, settings.degree, width, n_basis)
        self.layers = nn.ModuleList(
            ConvNeXt(width, n_basis, settings.oriented, settings.widening, settings.layer_scale)
            for _ in layers
        )
        readouts = layers if settings.multiple_readouts else range(1)
        self.last_layers = nn.ModuleDict(
            {name: nn.ModuleList(Linear(width, 1) for _ in readouts) for name in settings.heads}
        )
        self.register_buffer("axes", settings.axes())  # (O, 3), kept with the weights
        if not self.node_embedder.weight.is_meta and not self.axes.isnan().any():
            self._calibrate()

    def _apply(self, fn, recurse=True):
        """As of any module, but the axes stay float64 in every dtype.

        The symmetry of the grid is as exact as they are.
        """
        axes = self.axes
        super()._apply(fn, recurse)
        self.axes = axes.to(self.axes.device)
        return self

    @property
    def message_passing_depth(self):
        """Number of exchanges of messages, None where atoms have no energies of their own."""
        layers = self.settings.num_layers
        if layers > 1 and (self.settings.shift or self.settings.cutoff_function == "none"):
            return None
        return layers - 1

    def with_orientations(self, axes):
        """A copy of the model with other axes.

        Name of a grid (`orientations`), number of axes, or unit vectors (O, 3).
        """
        if not self.settings.oriented:
            raise ValueError("`orientations`: PNITA has none that could be replaced")
        if isinstance(axes, numbers.Integral):
            axes = orientations.name_of(axes)
        found = orientations.checked(orientations.grid(axes) if isinstance(axes, str) else axes)
        other = copy.deepcopy(self)
        other.settings = replace(
            self.settings, orientations=axes if isinstance(axes, str) else f"given:{len(found)}"
        )
        other.axes = found.to(self.axes.device)
        other.__dict__.pop("_derived", None)  # what was made of other axes
        return other

    def rotation_classes(self, turns):
        """(n,) classes of orthogonal matrices (n, 3, 3): structures turned by those of a class give
        the same, turned along.

        A turned structure on the grid is the structure on the grid turned back, and grids may be
        the same.
        """
        return orientations.classes(self.axes, turns.to(self.axes))

    def predict(self, graph, names, vectors=None):
        """{head: (n_atoms, components)} of the named heads, scaled, without composition energies.

        vectors: (n_atoms, vector_inputs, 3), inputs of a model with `vector_inputs`. Raises
        ValueError for structures that a model without window or with a `shift` has no energy of.
        """
        self._check(graph, names, vectors)
        x = self._lifted(self.species_rows[graph.numbers], vectors)
        values, readouts = dict.fromkeys(names, 0.0), len(next(iter(self.last_layers.values())))
        features = self._features(x, self._edges(graph))
        for index, x in enumerate(features, readouts - len(self.layers)):
            for name in names if index >= 0 else ():
                values[name] = values[name] + self._mean(
                    self.last_layers[name][index](x.flatten(0, 1)), x, name
                )
        return {name: self._scaled(name, value / readouts, graph) for name, value in values.items()}

    def _check(self, graph, names, vectors):
        settings = self.settings
        unknown = [name for name in names if name not in settings.heads]
        if unknown:
            raise ValueError(
                f"`{unknown[0]}` is not a head of this model: valid choices are"
                f" {', '.join(settings.heads)}"
            )
        expected = (graph.n_atoms, settings.vector_inputs, 3)
        if (
            vectors is None
            and settings.vector_inputs
            or vectors is not None
            and tuple(vectors.shape) != expected
        ):
            given = None if vectors is None else tuple(vectors.shape)
            raise ValueError(f"`vectors` has shape {given}: expected {expected}")
        if settings.shift or settings.cutoff_function == "none":
            self._check_whole(graph)

    def _check_whole(self, graph):
        """Refuse environments of single atoms.

        And without a window structures some of whose pairs are not in the graph.
        """
        if graph.one_sided:
            raise ValueError(
                "this model has a `shift` per structure or no window, and no energy of the"
                " environment of an atom: use group:O, group:I or quadrature:L"
            )
        ends = torch.cat([graph.pair_centre, graph.pair_neighbour])
        partners = torch.bincount(ends, minlength=graph.n_atoms)
        others = torch.bincount(graph.structure)[graph.structure] - 1
        if self.settings.cutoff_function == "none" and (
            bool(graph.periodic.any()) or not torch.equal(partners, others)
        ):
            raise ValueError(
                "this model has no window and acts between every pair of atoms: it has no energy"
                f" of periodic structures, nor of molecules larger than {self.cutoff:g} A"
            )

    def _lifted(self, rows, vectors=None):
        """(n_atoms, O, C) features of rows of the table by species.

        And of vectors along each axis.
        """
        x = self.node_embedder(rows)[:, None].expand(-1, max(1, len(self.axes)), -1)
        if vectors is None:
            return x
        along = (vectors.to(self.axes.dtype) @ self.axes.T).mT.to(
            x.dtype
        )  # (n_atoms, O, vector_inputs)
        return x + self.vector_embedder(along.flatten(0, 1)).view_as(x)

    def _edges(self, graph):
        graph = graph.filled(2 * self.cutoff)
        opposite = derived(self, "opposite", (self.axes,), self._opposite)
        vectors, ends = graph.pair_vectors, (graph.pair_centre, graph.pair_neighbour)
        if opposite is None or graph.one_sided:
            opposite, vectors, ends = None, graph.edge_vectors, (graph.centre, graph.neighbour)
        return invariants.edges(vectors, ends, self.axes, opposite, self.settings, self._dtype)

    @property
    def _dtype(self):
        return self.node_embedder.weight.dtype

    def _opposite(self):
        if not self.settings.oriented:
            return torch.zeros(1, dtype=torch.int64, device=self.axes.device)
        if self.axes.isnan().any():
            raise ValueError(
                f"this model has no axes yet (`orientations` {self.settings.orientations!r}): load"
                " its weights, or choose axes by `with_orientations`"
            )
        return orientations.opposite(self.axes)

    def _features(self, x, edges):
        """Features (n_atoms, O, C) after each layer."""
        pieces, own = self._pieces(edges), self._own_basis()
        whole = (
            self.basis(edges.invariants) * edges.window[:, None, None] if len(pieces) == 1 else None
        )
        for layer, fibre in zip(self.layers, self._fibres(), strict=True):
            y = layer.convolution.of_itself(x, own)
            if whole is not None:
                y = y + layer.convolution.in_space(x, whole, edges)
            for piece in pieces if whole is None else ():
                y = y + self._in_part(layer.convolution, x, edges.part(piece))
            x = layer(x, y, fibre)
            yield x

    def _own_basis(self):
        """(1, K) kernel basis of an atom and itself, whose invariants are 0."""
        return self.basis(
            self.node_embedder.weight.new_zeros(1, 2 if self.settings.oriented else 1)
        )

    def _in_part(self, convolution, x, edges):
        """What some edges add to the convolution in space.

        Their kernels are made anew for derivatives.
        """

        def added(x, found, window):
            return convolution.in_space(x, self.basis(found) * window[:, None, None], edges)

        if not torch.is_grad_enabled():
            return added(x, edges.invariants, edges.window)
        return checkpoint(
            added, x, edges.invariants, edges.window, use_reentrant=False, preserve_rng_state=False
        )

    def _pieces(self, edges):
        """Slices of the edges whose kernels are made at once; in training all of them."""
        count, settings = len(edges.centre), self.settings
        size = edges.invariants.shape[1] * max(settings.width, settings.num_basis)
        size = max(1, CHUNK.get(edges.window.device.type, CHUNK["cpu"]) // size)
        if count <= size or any(parameter.requires_grad for parameter in self.parameters()):
            return [slice(None)]
        return [slice(start, start + size) for start in range(0, count, size)]

    def _fibres(self):
        """(O, O, C) kernel among axes of each layer, None without axes."""
        if not self.settings.oriented:
            return [None] * len(self.layers)
        kernels = [layer.convolution.fibre_kernel.weight for layer in self.layers]
        return derived(
            self, "fibres", (self.axes, *self.fibre_basis.parameters(), *kernels), self._made_fibres
        )

    def _made_fibres(self):
        basis = self._basis_among_axes()
        return [layer.convolution.fibre(basis) for layer in self.layers]

    def _basis_among_axes(self):
        return self.fibre_basis((self.axes @ self.axes.T)[:, :, None].to(self._dtype))

    def _mean(self, values, x, name):
        """(n_atoms, components) of what a readout gives (n_atoms O, 1)."""
        values = values.view(x.shape[:2])
        if self.settings.heads[name] == 1:
            return values.mean(1, keepdim=True)
        return values @ self.axes.to(values.dtype) / len(self.axes)

    def _scaled(self, name, values, graph):
        values = self.scaled(name, values, self.species_rows[graph.numbers])
        if self.settings.shift and name == self.energy_head:
            counts = torch.bincount(graph.structure)[graph.structure, None]
            values = (
                values.double() + self.settings.shift / counts.double()
            )  # float32 would spoil differences
        return values

    @torch.no_grad()
    def _calibrate(self):
        """Scale the first kernels on a gas of 32 atoms of all species.

        The authors take the first batch of training.
        """
        generator, n = torch.Generator().manual_seed(0), 32
        places = nn.functional.normalize(
            torch.randn(n, 3, generator=generator, dtype=torch.float64), dim=1
        )
        places *= min(self.cutoff, 5.0) * torch.rand(
            n, 1, generator=generator, dtype=torch.float64
        ) ** (1 / 3)
        centre, neighbour = (~torch.eye(n, dtype=torch.bool)).nonzero().T
        vectors = places[neighbour] - places[centre]
        edges = invariants.edges(
            vectors, (centre, neighbour), self.axes, None, self.settings, self._dtype
        )
        x = self._lifted(torch.arange(n) % len(self.species))
        basis, own = edges.window[:, None, None] * self.basis(edges.invariants), self._own_basis()
        for index, layer in enumerate(self.layers):
            among = self._basis_among_axes() if self.settings.oriented else None
            layer.convolution.calibrate(x, basis, own, edges, among)
            y = layer.convolution.in_space(x, basis, edges) + layer.convolution.of_itself(x, own)
            x = layer(x, y, self._fibres()[index])
