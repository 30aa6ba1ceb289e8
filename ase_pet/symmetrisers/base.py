"""The base class of symmetrised models, and how each of them is evaluated."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..graph import Graph
from ..layers.llpr import LastLayer
from ..models.base import AtomisticModel
from ..rotations import random_orthogonal
from ._equivariance import OutputSpec, output_spec


class SymmetrisedModel(AtomisticModel):
    """A model that averages the outputs of another one over rotations.

    Subclasses define `averaged`. Cutoff, species, scales and all other attributes are those of the
    inner model.

    Attributes
    ----------
    model:
        Model whose outputs are averaged.
    """

    is_symmetrised = True
    model: AtomisticModel

    def __init__(self, model: AtomisticModel) -> None:
        # not that of AtomisticModel, whose attributes are properties here
        nn.Module.__init__(self)
        self.model = model

    def averaged(self, graph: Graph, outputs: OutputSpec) -> torch.Tensor:
        """Averages (n_atoms, columns), float64, of outputs of the inner model.

        Parameters
        ----------
        graph:
            Structures, with all pairs within `cutoff`.
        outputs:
            Outputs that are averaged.
        """
        raise TypeError(f"{type(self).__name__} does not define `averaged`")

    def forward(self, graph: Graph) -> torch.Tensor:
        """Energies (n_atoms,) in eV of the head `energy_head`, without composition energies.

        Parameters
        ----------
        graph:
            Structures, with all pairs within `cutoff`.
        """
        return self.averaged(graph, OutputSpec())[:, 0]

    def predict(self, graph: Graph, names: tuple[str, ...]) -> dict[str, torch.Tensor]:
        """{head: (n_atoms, components)}, float64, of scalars, vectors and tensors.

        Parameters
        ----------
        graph:
            Structures, with all pairs within `cutoff`.
        names:
            Names of heads.

        Raises
        ------
        ValueError
            The model has no such head, or its components are not 1, 3 or 9.
        """
        outputs = output_spec(self.model, names)
        return outputs.by_head(self.averaged(graph, outputs))

    def last_layer(self, graph: Graph) -> tuple[torch.Tensor, torch.Tensor]:
        """Energies (n_atoms,) in eV, and means (n_atoms, F) of the features of the last layer.

        Energies are linear in these features, so the mean features belong to the mean energy.

        Parameters
        ----------
        graph:
            Structures, with all pairs within `cutoff`.

        Raises
        ------
        ValueError
            The model has no such features.
        """
        if not self.n_features:
            return super().last_layer(graph)
        outputs = OutputSpec(features=self.n_features)
        values = self.averaged(graph, outputs)
        return values[:, 0], values[:, 1:]

    @torch.no_grad()
    def residual(self, graph: Graph, orientations: int = 8, seed: int = 0) -> torch.Tensor:
        """Remaining rotation error: standard deviations (n_structures,) of the energy in eV.

        Parameters
        ----------
        graph:
            Structures, with all pairs within `cutoff`.
        orientations:
            Number of random elements of O(3) that the structures are rotated by.
        seed:
            Seed of these elements.
        """
        generator = torch.Generator().manual_seed(seed)
        rotations = random_orthogonal(orientations, generator)
        given = graph.pair_vectors
        rotations = rotations.to(given.device)
        vectors = given.double()  # rotated in float64, then rounded once
        totals = []
        for rotation in rotations:
            rotated = vectors @ rotation.T
            rounded = rotated.to(given.dtype)
            turned = graph.with_vectors(rounded)
            energies = self(turned).double()
            total = energies.new_zeros(graph.n_structures)
            total = total.index_add(0, graph.structure, energies)
            totals.append(total)
        return torch.stack(totals).std(0, correction=0)

    @property
    def trainable(self) -> bool:
        """Whether some weight of the model requires a gradient."""
        return any(parameter.requires_grad for parameter in self.parameters())

    # what follows is documented in AtomisticModel, and is that of the inner model

    @property
    def settings(self) -> Any:
        return self.model.settings

    @property
    def cutoff(self) -> float:  # type: ignore[override]
        return self.model.cutoff

    @property
    def species(self) -> tuple[int, ...]:  # type: ignore[override]
        return self.model.species

    @property
    def head_sizes(self) -> dict[str, int]:
        return self.model.head_sizes

    @property
    def compositions(self) -> dict[str, dict[int, float]]:  # type: ignore[override]
        return self.model.compositions

    @property
    def scales(self) -> dict[str, float | dict[int, float]]:  # type: ignore[override]
        return self.model.scales

    @property
    def covalent_radii(self) -> dict[int, float]:  # type: ignore[override]
        return self.model.covalent_radii

    @property
    def metadata(self) -> dict[str, Any]:  # type: ignore[override]
        return self.model.metadata

    @property
    def conditioned(self) -> bool:
        return self.model.conditioned

    @property
    def message_passing_depth(self) -> int | None:
        return self.model.message_passing_depth

    @property
    def supports_domains(self) -> bool:
        return self.model.supports_domains

    @property
    def exact_geometry(self) -> bool:  # type: ignore[override]
        return self.model.exact_geometry

    @property
    def fixed_lengths(self) -> bool:  # type: ignore[override]
        return self.model.fixed_lengths

    @property
    def exact_second_derivatives(self) -> bool:  # type: ignore[override]
        return self.model.exact_second_derivatives

    @property
    def energy_head(self) -> str:
        return self.model.energy_head

    @energy_head.setter
    def energy_head(self, name: str) -> None:
        """Let the inner model evaluate the head `name`."""
        self.model.energy_head = name

    @property
    def uncertainty(self) -> LastLayer | None:
        return self.model.uncertainty

    @property
    def n_features(self) -> int:  # type: ignore[override]
        return self.model.n_features
