"""Uncertainties from the last layer of a model: standard deviations and ensembles (LLPR)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..graph import Graph
from ..layers.llpr import LastLayer
from .derivatives import forces_from, gradient, sum_over_atoms, virial_from
from .undefined import Undefined

if TYPE_CHECKING:
    from .energies import Evaluation


class UncertaintyEvaluation:
    """Standard deviations and ensembles of the energies of an Evaluation.

    Parameters
    ----------
    evaluation:
        Evaluation whose energies the uncertainties are of.
    """

    def __init__(self, evaluation: Evaluation) -> None:
        self.evaluation = evaluation
        self.model = evaluation.model
        self.graph = evaluation.graph
        self._features: torch.Tensor | None = None
        self._derivatives: tuple[torch.Tensor, torch.Tensor] | None = None

    def run(self, graph: Graph) -> torch.Tensor:
        """Energies (n_atoms,) in eV of one run of the model; its features are kept.

        Parameters
        ----------
        graph:
            The structures, with pair vectors to differentiate with respect to if forces follow.
        """
        self._check_available()
        energies, features = self.model.last_layer(graph)
        self._features = features.detach()
        return energies

    @property
    def features(self) -> torch.Tensor:
        """Features (n_atoms, F) of the last layer, float64.

        Raises Undefined for a model without uncertainties.
        """
        if self._features is None:
            with torch.no_grad():
                energies = self.run(self.graph)
            self.evaluation.keep(energies)
        assert self._features is not None  # `run` keeps them
        return self._features.double()

    @property
    def atom_deviations(self) -> torch.Tensor:
        """Standard deviations (n_atoms,) of the energies of single atoms in eV."""
        return self._last_layer().deviation(self.features)

    @property
    def deviations(self) -> torch.Tensor:
        """Standard deviations (n_structures,) of the energies of structures in eV."""
        return self._last_layer().deviation(sum_over_atoms(self.graph, self.features))

    @property
    def ensemble(self) -> torch.Tensor:
        """Energies (n_structures, members) in eV, whose mean is the energy of the model."""
        members = self._ensemble().members(sum_over_atoms(self.graph, self.features))
        return self.evaluation.energy[:, None].detach() + members

    @property
    def ensemble_derivatives(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Forces and virials of each member of the ensemble, relative to their mean.

        Forces (members, n_atoms, 3) in eV/A and dE/d(strain) (members, n_structures, 3, 3) in eV.
        Takes one backward pass for each member.
        """
        if self.evaluation.direct:
            raise Undefined(
                "the spread of derivatives over the ensemble says nothing about direct forces and"
                " stress: use non_conservative=False"
            )
        if self._derivatives is None:
            self._derivatives = self._differentiate_members()
        return self._derivatives

    def _differentiate_members(self) -> tuple[torch.Tensor, torch.Tensor]:
        last_layer = self._ensemble()
        vectors = self.graph.pair_vectors.detach().requires_grad_()
        with torch.enable_grad():
            graph = self.graph.with_vectors(vectors)
            _, features = self.model.last_layer(graph)
            total = features.sum(0, keepdim=True)  # (1, width) of the structure
            energies = last_layer.members(total)[0]  # (members,)
        forces = []
        virials = []
        for energy in energies:
            pair_gradient = gradient(energy, vectors, retain_graph=True).double()
            forces.append(forces_from(self.graph, pair_gradient))
            virials.append(virial_from(self.graph, pair_gradient))
        return torch.stack(forces), torch.stack(virials)

    def _check_available(self) -> None:
        """Raise Undefined for a model without uncertainties."""
        self._last_layer()

    def _last_layer(self) -> LastLayer:
        """Uncertainty of the model. Raises Undefined where it has none."""
        if self.model.uncertainty is None:
            raise Undefined(
                "this model has no uncertainties: they come with a checkpoint that holds the"
                " covariance of its last layer (LLPR), and `ase-pet uncertainty` adds them to a"
                " calculator folder"
            )
        return self.model.uncertainty

    def _ensemble(self) -> LastLayer:
        """Uncertainty of the model. Raises Undefined where it has no ensemble."""
        last_layer = self._last_layer()
        if last_layer.n_members == 0:
            raise Undefined("this model has uncertainties but no ensemble")
        return last_layer
