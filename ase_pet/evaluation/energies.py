"""Energies, forces and stress of a batch of structures, each computed once and only on demand."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..graph import Graph
from ..layers.constants import constant
from ..models.base import AtomisticModel
from .derivatives import forces_from, gradient, sum_over_atoms, virial_from
from .heads import HeadEvaluation
from .traced import TracedGradient
from .uncertainties import UncertaintyEvaluation
from .undefined import Undefined

HEAVIEST = 118  # atomic number


class Evaluation:
    """Results of a model on a graph. Energies are in eV, and sums are taken in float64.

    Parameters
    ----------
    model:
        Model to evaluate.
    graph:
        Structures, with all pairs within the cutoff of the model.
    training:
        Whether to keep the graph of derivatives, so that a loss on forces and stress reaches the
        weights.
    direct:
        Heads to use in place of derivatives: {"forces": head, "stress": head}, both optional.
    heads:
        Other heads to evaluate in the same run of the model as the energies.
    features:
        Whether to keep the features of the last layer of that run, for uncertainties.
    traced:
        Energies and their gradient by recorded operators, for graphs of fixed lengths.

    Attributes
    ----------
    heads:
        HeadEvaluation, the values of heads other than the energy.
    uncertainties:
        UncertaintyEvaluation, standard deviations and ensembles.
    """

    def __init__(
        self,
        model: AtomisticModel,
        graph: Graph,
        training: bool = False,
        direct: dict[str, str] | None = None,
        heads: Sequence[str] = (),
        features: bool = False,
        traced: TracedGradient | None = None,
    ) -> None:
        self.model = model
        self.graph = graph
        self.training = training
        self.direct = direct or {}
        names = (*self.direct.values(), *heads)
        self.heads = HeadEvaluation(self, names)
        self.uncertainties = UncertaintyEvaluation(self)
        self._run_heads = tuple(heads)
        self._run_features = features
        self._traced = traced
        has_fixed_lengths = graph.room is not None and graph.room.is_fixed
        if training or features or self._run_heads or not has_fixed_lengths:
            self._traced = None
        self._energies: torch.Tensor | None = None  # (n_atoms,) without composition energies
        self._total: torch.Tensor | None = None  # (n_atoms,) with them
        self._gradient: torch.Tensor | None = None  # (P, 3) dE/dv

    @property
    def energies(self) -> torch.Tensor:
        """Energies (n_atoms,) in eV, with composition energies."""
        if self.training or self._total is None:
            self._total = self._interaction_energies() + self._composition()
        return self._total

    @property
    def energy(self) -> torch.Tensor:
        """Energies (n_structures,) in eV, with composition energies."""
        return sum_over_atoms(self.graph, self.energies)

    @property
    def interaction(self) -> torch.Tensor:
        """Energies (n_structures,) in eV without composition energies: the target of training."""
        # by subtraction, so that both are rounded alike
        return sum_over_atoms(self.graph, self.energies - self._composition())

    @property
    def pair_gradient(self) -> torch.Tensor:
        """Derivative dE/dv (P, 3) in eV/A with respect to the pair vectors, in their dtype."""
        if self._gradient is None and self._traced is not None:
            found = self._traced(self.graph)
            if found is not None:
                self._energies, self._gradient = found
        if self._gradient is None:
            self._gradient = self._differentiated()
        return self._gradient

    def _differentiated(self) -> torch.Tensor:
        """dE/dv (P, 3) by automatic differentiation; keeps the energies of the same run."""
        vectors = self.graph.pair_vectors.detach()
        vectors.requires_grad_()
        with torch.enable_grad():
            graph = self.graph.with_vectors(vectors)
            energies = self._run(graph).double()
        total = energies.sum()
        derivative = gradient(total, vectors, create_graph=self.training)
        self._energies = energies if self.training else energies.detach()
        return derivative

    @property
    def forces(self) -> torch.Tensor:
        """Forces (n_atoms, 3) in eV/A; the mean over a structure is subtracted from direct forces.

        A net force would accelerate the centre of mass.
        """
        if "forces" not in self.direct:
            return forces_from(self.graph, self.pair_gradient.double())
        forces = self.heads.per_atom(self.direct["forces"])
        n_atoms = torch.bincount(self.graph.structure, minlength=self.graph.n_structures)
        mean = sum_over_atoms(self.graph, forces) / n_atoms[:, None]
        return forces - mean[self.graph.structure]

    @property
    def virial(self) -> torch.Tensor:
        """Derivatives (n_structures, 3, 3) of the energies with respect to strain, in eV."""
        return virial_from(self.graph, self.pair_gradient.double())

    @property
    def stress(self) -> torch.Tensor:
        """Stress (n_structures, 3, 3) in eV/A^3.

        A direct stress is the sum over the atoms of the symmetric part of the head, over the
        volume. Raises Undefined where a cell has no volume.
        """
        check_volumes(self.graph.volume.tolist())
        return self.stress_or_infinity

    @property
    def stress_or_infinity(self) -> torch.Tensor:
        """As `stress`, but not finite where a cell has no volume; needs no transfer."""
        if "stress" in self.direct:
            per_atom = self.heads.per_atom(self.direct["stress"]).view(-1, 3, 3)
            virial = sum_over_atoms(self.graph, (per_atom + per_atom.transpose(1, 2)) / 2)
        else:
            virial = self.virial
        return virial / self.graph.volume[:, None, None]

    def keep(self, energies: torch.Tensor) -> None:
        """Store the energies of a run of the model, if none are stored yet.

        Parameters
        ----------
        energies:
            Energies (n_atoms,) in eV, without composition energies.
        """
        if self._energies is None:
            self._energies = energies.double()

    def _interaction_energies(self) -> torch.Tensor:
        """Energies (n_atoms,) in eV of the model, float64, without composition energies."""
        if self._energies is None:
            with torch.set_grad_enabled(self.training):
                self._energies = self._run(self.graph).double()
        return self._energies

    def _composition(self) -> torch.Tensor:
        """Composition energies (n_atoms,) in eV, float64."""
        composition = self.model.composition
        largest = max(HEAVIEST, *composition, 0)
        by_number = tuple(composition.get(number, 0.0) for number in range(largest + 1))
        table = constant(by_number, self._interaction_energies())
        return table.index_select(0, self.graph.numbers)

    def _run(self, graph: Graph) -> torch.Tensor:
        """Energies (n_atoms,) in eV; keeps the features or heads that the same run evaluates."""
        if self._run_features:
            return self.uncertainties.run(graph)
        if self._run_heads:
            return self.heads.run(graph, self._run_heads)
        return self.model(graph)


def check_volumes(volumes: Sequence[float]) -> None:
    """Raise Undefined where a cell has no volume, and therefore no stress.

    Parameters
    ----------
    volumes:
        Volumes in A^3 of the structures.
    """
    flat = [k for k, volume in enumerate(volumes) if volume == 0]
    if flat:
        which = f" in structures {flat[:8]}" if len(volumes) > 1 else ""
        raise Undefined(f"stress needs a cell of rank 3: the volume is zero{which}")
