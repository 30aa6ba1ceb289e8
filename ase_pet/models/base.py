"""The contract between models and everything that evaluates them.

A model is a function from a `Graph` to energies of atoms. It needs no ASE, no forces and no files:
forces and stress follow from one gradient with respect to the edge vectors, in `evaluation`. Each
capability is an attribute or a method with a default here. `adapted` makes an `AtomisticModel` of a
module that was written for another program.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..graph import Graph
from ..layers.constants import constant
from ..layers.llpr import LastLayer


@dataclass(frozen=True)
class Parts:
    """Modules of a model that fine-tuning treats in different ways; all others come before layers.

    Attributes
    ----------
    readouts:
        Modules after the last layer. Their weights are those of heads: `MODULE.HEAD...`, or of all
        heads together.
    layers:
        Lists of modules of which the k-th belongs to message-passing layer k.
    """

    readouts: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()


class AtomisticModel(nn.Module):
    """A model of energies of atoms: subclass it, call `__init__`, and define `predict`.

    Attributes
    ----------
    settings:
        Frozen dataclass that makes the model again, together with its state dict.
    cutoff:
        Length in A beyond which an edge has no effect.
    species:
        Atomic numbers that the model supports, in the order of its embedding tables.
    energy_head:
        Name of the head that `forward` evaluates: "energy", or "energy/NAME" for a variant.
    compositions:
        Energies in eV that `evaluation` adds for each atom in float64: {head: {Z: eV}}.
    scales:
        Factor on the values of a head: {head: number} or {head: {Z: number}}.
    covalent_radii:
        Radii in A that the short-range repulsion uses, {Z: A}; empty without one.
    metadata:
        What a checkpoint says about itself.
    exact_geometry:
        Whether lengths and cutoff weights are computed in the dtype of the pair vectors, which may
        be float64 while the weights are float32.
    exact_second_derivatives:
        Whether derivatives of forces are those of the energy.
    fixed_lengths:
        Whether pairs beyond the cutoff have no effect, and arrays may have the lengths of
        `Graph.lengths`, so that nothing waits for numbers on the device.
    is_symmetrised:
        Whether the model averages another one over rotations.
    parts:
        Modules that hold readouts and layers; empty where they are unknown.
    n_features:
        Number F of features that the energy is a linear function of, see `last_layer`; 0 for a
        model whose energy is no such function.
    uncertainties:
        Last-layer uncertainty (LLPR) of each head that has one, {head: LastLayer}.
    """

    settings: Any
    cutoff: float
    species: tuple[int, ...]
    energy_head: str
    compositions: dict[str, dict[int, float]]
    scales: dict[str, float | dict[int, float]]
    covalent_radii: dict[int, float]
    metadata: dict[str, Any]
    n_features: int
    uncertainties: nn.ModuleDict

    exact_geometry: bool = False
    exact_second_derivatives: bool = True
    fixed_lengths: bool = False
    is_symmetrised: bool = False
    parts: Parts = Parts()

    def __init__(self, settings: Any, cutoff: float, species: tuple[int, ...]) -> None:
        super().__init__()
        self.settings = settings
        self.cutoff = cutoff
        self.species = species
        self.energy_head = "energy"
        self.compositions = {}
        self.scales = {}
        self.covalent_radii = {}
        self.metadata = {}
        self.n_features = 0
        self.uncertainties = nn.ModuleDict()
        # row of each atomic number in the embedding tables, -1 for those without
        rows = torch.full((max(species, default=-1) + 1,), -1, device="cpu")
        for row, number in enumerate(species):
            rows[number] = row
        self.register_buffer("species_rows", rows, persistent=False)

    def forward(self, graph: Graph) -> torch.Tensor:
        """Energies (n_atoms,) in eV of the head `energy_head`, without composition energies.

        Parameters
        ----------
        graph:
            Structures, with all pairs within `cutoff`.
        """
        return self.predict(graph, (self.energy_head,))[self.energy_head][:, 0]

    def predict(self, graph: Graph, names: tuple[str, ...]) -> dict[str, torch.Tensor]:
        """{head: values (n_atoms, components)}, scaled, without composition energies.

        Parameters
        ----------
        graph:
            Structures, with all pairs within `cutoff`.
        names:
            Names of heads.
        """
        raise TypeError(f"{type(self).__name__} defines neither `predict` nor `forward`")

    @property
    def uncertainty(self) -> LastLayer | None:
        """Last-layer uncertainty (LLPR) of the head `energy_head`, or None."""
        if self.energy_head not in self.uncertainties:
            return None
        last_layer: LastLayer = self.uncertainties[self.energy_head]
        return last_layer

    def set_features(self, n_features: int) -> None:
        """Set `n_features`, and make the uncertainties that the settings name.

        Their tensors are those of no data until weights are loaded.

        Parameters
        ----------
        n_features:
            Number F of features of `last_layer`.

        Raises
        ------
        ValueError
            `settings.uncertainties` names a head that the model does not have.
        """
        self.n_features = n_features
        members: dict[str, int] = self.settings.uncertainties
        unknown = sorted(members.keys() - self.head_sizes.keys())
        if unknown:
            raise ValueError(f"`uncertainties` of {unknown}: the heads are {list(self.head_sizes)}")
        for name, n_members in members.items():
            self.uncertainties[name] = LastLayer(n_features, n_members)

    def layer_features(self, graph: Graph) -> dict[str, torch.Tensor]:
        """{layer: features (n_atoms, d)} after each layer, "1", "2", ...; {} where none are known.

        Parameters
        ----------
        graph:
            Structures, with all pairs within `cutoff`.
        """
        return {}

    def last_layer(self, graph: Graph) -> tuple[torch.Tensor, torch.Tensor]:
        """Energies (n_atoms,) in eV, and the features (n_atoms, F) that they are linear in.

        Parameters
        ----------
        graph:
            Structures, with all pairs within `cutoff`.

        Raises
        ------
        ValueError
            The model has no such features, `n_features` is 0.
        """
        raise ValueError(
            "this model has no features of a last layer: its energy is no linear function of"
            " features that are known here"
        )

    def set_energy_head(self, name: str) -> None:
        """Evaluate another energy head from now on.

        Parameters
        ----------
        name:
            "energy", or "energy/NAME" for a variant.
        """
        self.energy_head = name

    @property
    def head_sizes(self) -> dict[str, int]:
        """Number of components of each head, {name: components}."""
        heads: dict[str, int] = self.settings.heads
        return heads

    @property
    def composition(self) -> dict[int, float]:
        """Composition energies {Z: eV} of the head `energy_head`."""
        return self.compositions.get(self.energy_head, {})

    @property
    def message_passing_depth(self) -> int | None:
        """Number of edges between an atom and the farthest atom whose edges affect its energy.

        0 for a local model, where an atom's energy depends on its own edges only; None where it is
        unknown, or where atoms have no energies of their own.
        """
        return None

    @property
    def is_local(self) -> bool:
        """Whether an atom's energy depends on its own edges only."""
        return self.message_passing_depth == 0

    @property
    def supports_domains(self) -> bool:
        """Whether the model can evaluate the atoms of one process of a larger structure.

        It can where nothing but `Graph.partner` and `Graph.of_neighbours` carries values from atom
        to atom.
        """
        return self.is_local

    @property
    def conditioned(self) -> bool:
        """Whether energies depend on the total charge and the spin multiplicity."""
        return False

    def scaled(self, head: str, values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Values (n_atoms, components) of a head times its scale.

        Parameters
        ----------
        head:
            Name of the head.
        values:
            Values (n_atoms, components) before scaling.
        rows:
            Row (n_atoms,) of each atom in the embedding tables.
        """
        scale = self.scales.get(head, 1.0)
        if isinstance(scale, dict):
            per_species = constant(tuple(scale[number] for number in self.species), values)
            return values * per_species[rows][:, None]
        return values if scale == 1.0 else values * scale

    def rotation_classes(self, rotations: torch.Tensor) -> torch.Tensor:
        """(n,) label per rotation: those with the same label give identical energies.

        Parameters
        ----------
        rotations:
            Orthogonal matrices (n, 3, 3) that a structure is rotated by.
        """
        return torch.arange(len(rotations), device=rotations.device)

    @property
    def training_grids(self) -> tuple[str, ...]:
        """Names of the grids of orientations that the model was trained on, if it has any."""
        return ()

    def was_trained_on(self, other: AtomisticModel) -> bool:
        """Whether this model was trained on the grid of orientations of another, or has none yet.

        Parameters
        ----------
        other:
            Result of `with_orientations`.
        """
        return False

    def on_drawn_axes(self, generator: torch.Generator) -> AbstractContextManager[None]:
        """Context of one step of a training, on a grid of orientations drawn for it, if it has any.

        Parameters
        ----------
        generator:
            Random number generator on the CPU.
        """
        return nullcontext()

    def with_orientations(self, axes: str | int | torch.Tensor) -> AtomisticModel:
        """A copy of the model on another grid of orientations.

        Parameters
        ----------
        axes:
            Name of a grid, number of axes, or unit vectors (O, 3).

        Raises
        ------
        ValueError
            The model has no orientations, or no such grid exists.
        """
        raise ValueError(
            f"`orientations` is {axes!r}, but this model has none: expected None; only"
            " `ponita` models have orientations"
        )

    def cost(self, graph: Graph) -> dict[str, float]:
        """Predicted cost of an evaluation, see `cost_summary`.

        Parameters
        ----------
        graph:
            Structures, with all pairs within `cutoff`.
        """
        n_edges = len(graph.centre)
        return cost_summary(graph, graph.n_atoms, graph.n_atoms, n_edges, n_edges)


def cost_summary(
    graph: Graph,
    environments: float,
    tokens: float,
    edges: float,
    peak_edges: int,
    inner: float = 1.0,
) -> dict[str, float]:
    """Predicted cost of an evaluation relative to the plain model, without running the network.

    Parameters
    ----------
    graph:
        Structures that are evaluated. Padding up to round numbers of pairs is not counted.
    environments:
        Number of atomic environments that the network evaluates.
    tokens:
        Number of central tokens in all rotated copies together.
    edges:
        Number of directed edges in all rotated copies together.
    peak_edges:
        Number of directed edges that are evaluated at once.
    inner:
        Cost ratio of the model that evaluates the copies.

    Returns
    -------
    dict
        environments, evaluations_per_atom, edges, peak_edges, and ratio: edges and central tokens
        relative to the plain model, which is about the ratio of the times.
    """
    plain = len(graph.centre) + graph.n_atoms
    return {
        "environments": round(inner * environments),
        "evaluations_per_atom": inner * environments / graph.n_atoms,
        "edges": round(inner * edges),
        "peak_edges": peak_edges,
        "ratio": inner * (edges + tokens) / plain,
    }


class ForeignModel(AtomisticModel):
    """A module of another program, whose `forward(graph)` returns energies (n_atoms,) in eV.

    Its attributes `cutoff` (A) and `species` are required. Whatever else of the contract it has is
    used: `settings`, `local`, `composition` {Z: eV}, `energy_head`, `predict`, `uncertainty` with
    `last_layer`, `exact_geometry`, `with_orientations`, ... Further attributes of the module are
    those of this model, too.

    Parameters
    ----------
    module:
        The module itself.
    """

    def __init__(self, module: nn.Module) -> None:
        # `Any`: the attributes of a foreign module are not known to type checkers
        foreign: Any = module
        settings = getattr(foreign, "settings", None)
        # what `evaluation` does not ask for again is copied, the rest are properties below
        super().__init__(settings, foreign.cutoff, tuple(foreign.species))
        self.module: Any = module
        self.compositions = getattr(foreign, "compositions", {})
        self.scales = getattr(foreign, "scales", {})
        self.covalent_radii = getattr(foreign, "covalent_radii", {})
        self.metadata = getattr(foreign, "metadata", {})
        self.exact_geometry = getattr(foreign, "exact_geometry", False)
        self.exact_second_derivatives = getattr(foreign, "exact_second_derivatives", True)
        self.energy_head = getattr(foreign, "energy_head", "energy")
        self.n_features = getattr(foreign, "n_features", 0)
        if self.uncertainty is not None:
            self.n_features = len(self.uncertainty.factor)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "module":
                raise
            return getattr(self.module, name)

    def forward(self, graph: Graph) -> torch.Tensor:
        """Energies (n_atoms,) in eV that the module returns for a `graph`."""
        energies: torch.Tensor = self.module(graph)
        return energies

    def predict(self, graph: Graph, names: tuple[str, ...]) -> dict[str, torch.Tensor]:
        """{head: values (n_atoms, components)} of a `graph`, for the `names` of heads."""
        if hasattr(self.module, "predict"):
            values: dict[str, torch.Tensor] = self.module.predict(graph, names)
            return values
        return {name: self(graph)[:, None] for name in names}

    def last_layer(self, graph: Graph) -> tuple[torch.Tensor, torch.Tensor]:
        """Energies (n_atoms,) in eV and features (n_atoms, F) of a `graph`."""
        if not hasattr(self.module, "last_layer"):
            return super().last_layer(graph)
        energies, features = self.module.last_layer(graph)
        return energies, features

    def set_energy_head(self, name: str) -> None:
        """Evaluate the energy head `name` from now on; the module is told so."""
        super().set_energy_head(name)
        self.module.energy_head = name

    @property
    def head_sizes(self) -> dict[str, int]:
        """Heads of the module's settings, or the energy alone."""
        heads: dict[str, int] = getattr(self.settings, "heads", {"energy": 1})
        if hasattr(self.module, "predict"):
            return heads
        return {name: 1 for name in heads if name.split("/")[0] == "energy"}

    @property
    def uncertainty(self) -> LastLayer | None:
        """Last-layer uncertainty (LLPR) of the module, or None."""
        last_layer: LastLayer | None = getattr(self.module, "uncertainty", None)
        return last_layer

    @property
    def composition(self) -> dict[int, float]:
        """Composition energies {Z: eV} that the module states."""
        energies: dict[int, float] = getattr(self.module, "composition", super().composition)
        return energies

    @property
    def conditioned(self) -> bool:
        """Whether energies depend on the total charge and the spin multiplicity."""
        return bool(getattr(self.settings, "system_conditioning", False))

    @property
    def message_passing_depth(self) -> int | None:
        """0 for a module with `local = True`, from `settings.num_gnn_layers` where there is one."""
        if getattr(self.module, "local", False):
            return 0
        layers = getattr(self.settings, "num_gnn_layers", None)
        return None if layers is None else layers - 1

    def rotation_classes(self, rotations: torch.Tensor) -> torch.Tensor:
        """(n,) label per rotation of `rotations` (n, 3, 3), by the module if it has labels."""
        if not hasattr(self.module, "rotation_classes"):
            return super().rotation_classes(rotations)
        labels: torch.Tensor = self.module.rotation_classes(rotations)
        return labels

    def with_orientations(self, axes: str | int | torch.Tensor) -> AtomisticModel:
        """A copy on another grid `axes` of orientations, if the module has any."""
        if not hasattr(self.module, "with_orientations"):
            return super().with_orientations(axes)
        return adapted(self.module.with_orientations(axes))

    def was_trained_on(self, other: AtomisticModel) -> bool:
        """Whether the module was trained on the axes of that of `other`, if it can say so."""
        if not hasattr(self.module, "was_trained_on") or not isinstance(other, ForeignModel):
            return False
        return bool(self.module.was_trained_on(other.module))


def adapted(module: nn.Module) -> AtomisticModel:
    """The module as an `AtomisticModel`: itself if it is one, else wrapped.

    Parameters
    ----------
    module:
        Model, or a module that honours what `ForeignModel` asks for.
    """
    return module if isinstance(module, AtomisticModel) else ForeignModel(module)
