"""Values of the heads of a model other than the energy, such as dipoles and direct forces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..graph import Graph
from .derivatives import sum_over_atoms
from .undefined import Undefined

if TYPE_CHECKING:
    from .energies import Evaluation


class HeadEvaluation:
    """Values of heads, from as few runs of the model as possible.

    Parameters
    ----------
    evaluation:
        Evaluation of the energies, which takes over those of a run for a head.
    wanted:
        Heads that are evaluated together as soon as one of them is needed.
    """

    def __init__(self, evaluation: Evaluation, wanted: tuple[str, ...]) -> None:
        self.evaluation = evaluation
        self.model = evaluation.model
        self.graph = evaluation.graph
        self.wanted = wanted
        self._values: dict[str, torch.Tensor] = {}

    def run(self, graph: Graph, names: tuple[str, ...]) -> torch.Tensor:
        """Energies (n_atoms,) in eV of one run of the model; the values of heads are kept.

        Parameters
        ----------
        graph:
            The structures, with pair vectors to differentiate with respect to if forces follow.
        names:
            Heads to evaluate in this run.
        """
        energy = self.model.energy_head
        values = self.model.predict(graph, tuple(dict.fromkeys((energy, *names))))
        for name in names:
            self._values[name] = values[name] if self.evaluation.training else values[name].detach()
        return values[energy][:, 0]

    def per_atom(self, name: str) -> torch.Tensor:
        """Values (n_atoms, components) of a head, float64.

        Parameters
        ----------
        name:
            Name of the head.
        """
        if name not in self._values:
            with torch.set_grad_enabled(self.evaluation.training):
                energies = self.run(self.graph, (name, *self.wanted))
            self.evaluation.keep(energies)
        return self._values[name].double()

    def total(self, name: str) -> torch.Tensor:
        """Sums (n_structures, components) of a head over the atoms of each structure.

        Parameters
        ----------
        name:
            Name of the head.
        """
        return sum_over_atoms(self.graph, self.per_atom(name))

    @property
    def dipole(self) -> torch.Tensor:
        """Dipole moments (n_structures, 3) in e A.

        Raises Undefined where a structure is periodic or charged: the dipole of a cell depends on
        the choice of the cell, that of an ion on the origin.
        """
        self._check_molecules()
        return self.total("dipole")

    def _check_molecules(self) -> None:
        for wrong, reason in (
            (self.graph.periodic, "periodic"),
            (self.graph.charge != 0, "charged"),
        ):
            structures = torch.nonzero(wrong)[:, 0].tolist()
            if structures:
                which = f" (structures {structures[:8]})" if self.graph.n_structures > 1 else ""
                raise Undefined(
                    "a dipole needs a neutral molecule without periodic directions: this one is"
                    f" {reason}{which}"
                )
