"""The table of outputs: what a calculator computes, in which unit, and what it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase.stress import full_3x3_to_voigt_6_stress

from .evaluation import Evaluation, virials
from .graph import Graph
from .models.base import AtomisticModel


@dataclass(frozen=True)
class Output:
    """One property of ASE.

    Attributes
    ----------
    name:
        ASE's name of the property.
    unit:
        Its unit.
    compute:
        Function of an Evaluation that returns a list with one value for each structure.
    gradient:
        Whether it needs derivatives of the energy.
    uncertainty:
        Whether it needs a model with uncertainties (LLPR).
    ensemble:
        Whether it needs a model with an ensemble of last layers.
    head:
        Head of the model that it is read from, None for the energy.
    components:
        Number of components of that head.
    """

    name: str
    unit: str
    compute: Callable[[Evaluation], list[Any]]
    gradient: bool = False
    uncertainty: bool = False
    ensemble: bool = False
    head: str | None = None
    components: int = 0

    def is_available(self, model: AtomisticModel) -> bool:
        """Whether a model has this output.

        Parameters
        ----------
        model:
            Model to ask.
        """
        if self.head is not None and model.head_sizes.get(self.head) != self.components:
            return False
        if self.uncertainty and model.uncertainty is None:
            return False
        if self.ensemble:
            return model.uncertainty is not None and model.uncertainty.n_members > 0
        return True


def _per_atom(graph: Graph, values: torch.Tensor) -> list[np.ndarray]:
    """Arrays (n, ...) of the atoms of each structure, from values (n_atoms, ...)."""
    sizes = torch.bincount(graph.structure, minlength=graph.n_structures).tolist()
    return [part.numpy() for part in values.detach().cpu().split(sizes)]


def _per_structure(values: torch.Tensor) -> list[np.ndarray]:
    """Arrays (...) of each structure, from values (n_structures, ...)."""
    return list(values.detach().cpu().numpy())


def _energy(evaluation: Evaluation) -> list[float]:
    return evaluation.energy.tolist()


def _energies(evaluation: Evaluation) -> list[np.ndarray]:
    return _per_atom(evaluation.graph, evaluation.energies)


def _forces(evaluation: Evaluation) -> list[np.ndarray]:
    return _per_atom(evaluation.graph, evaluation.forces)


def _stress(evaluation: Evaluation) -> list[np.ndarray]:
    stress = evaluation.stress.detach().cpu().numpy()  # (n_structures, 3, 3)
    return list(full_3x3_to_voigt_6_stress(stress))


def _stresses(evaluation: Evaluation) -> list[np.ndarray]:
    evaluation.check_volume()
    graph = evaluation.graph
    per_atom = virials.of_centres(evaluation)
    symmetric = (per_atom + per_atom.transpose(1, 2)) / 2
    stresses = symmetric / graph.volume[graph.structure][:, None, None]
    return [full_3x3_to_voigt_6_stress(part) for part in _per_atom(graph, stresses)]


def _dipole(evaluation: Evaluation) -> list[np.ndarray]:
    return _per_structure(evaluation.heads.dipole)


def _energy_uncertainty(evaluation: Evaluation) -> list[float]:
    return evaluation.uncertainties.deviations.tolist()


def _energies_uncertainty(evaluation: Evaluation) -> list[np.ndarray]:
    return _per_atom(evaluation.graph, evaluation.uncertainties.atom_deviations)


def _energy_ensemble(evaluation: Evaluation) -> list[np.ndarray]:
    return _per_structure(evaluation.uncertainties.ensemble)


def _forces_ensemble(evaluation: Evaluation) -> list[np.ndarray]:
    members, _ = evaluation.uncertainties.ensemble_derivatives  # (members, n_atoms, 3)
    forces = evaluation.forces[:, :, None] + members.permute(1, 2, 0)
    return _per_atom(evaluation.graph, forces)


def _forces_uncertainty(evaluation: Evaluation) -> list[np.ndarray]:
    members, _ = evaluation.uncertainties.ensemble_derivatives  # (members, n_atoms, 3)
    return _per_atom(evaluation.graph, members.std(0, correction=0))


def _stress_uncertainty(evaluation: Evaluation) -> list[np.ndarray]:
    evaluation.check_volume()
    _, virials = evaluation.uncertainties.ensemble_derivatives  # (members, n_structures, 3, 3)
    deviations = virials.std(0, correction=0) / evaluation.graph.volume[:, None, None]
    return list(full_3x3_to_voigt_6_stress(deviations.cpu().numpy()))


OUTPUTS: dict[str, Output] = {
    output.name: output
    for output in (
        # Potential energy of each structure, a float. A potential has no electrons at a
        # temperature, so that the free energy is the same.
        Output("energy", "eV", _energy),
        Output("free_energy", "eV", _energy),
        # Energies (n,) of atoms, which add up to the energy.
        Output("energies", "eV", _energies),
        # F = -dE/dr (n, 3).
        Output("forces", "eV/A", _forces, gradient=True),
        # (1/V) dE/d(strain) (6,) in the order xx, yy, zz, yz, xz, xy, with the sign of ASE.
        Output("stress", "eV/A^3", _stress, gradient=True),
        # Stresses (n, 6) of atoms, which add up to the stress, as in ASE: strain derivatives of the
        # energies of atoms over the volume of the cell, where models are local. For others, each
        # pair is shared equally between its atoms. Of the energy, also beside direct heads.
        Output("stresses", "eV/A^3", _stresses, gradient=True),
        # Dipole moment (3,), which points from negative to positive charge: the sum over the atoms
        # of a vector head. A model depends on edges only, so that the dipole of a neutral molecule
        # does not change when it is translated, and those of distant molecules add up.
        Output("dipole", "e A", _dipole, head="dipole", components=3),
        # Standard deviations of the energies of structures (a float) and of single atoms (n,).
        # Those of atoms do not add up, as errors of neighbouring atoms are correlated.
        Output("energy_uncertainty", "eV", _energy_uncertainty, uncertainty=True),
        Output("energies_uncertainty", "eV", _energies_uncertainty, uncertainty=True),
        # Energies (members,) and forces (n, 3, members) of an ensemble of last layers: their means
        # are those of the model. Derivatives take one backward pass for each member.
        Output("energy_ensemble", "eV", _energy_ensemble, uncertainty=True, ensemble=True),
        Output(
            "forces_ensemble",
            "eV/A",
            _forces_ensemble,
            gradient=True,
            uncertainty=True,
            ensemble=True,
        ),
        # Standard deviations (n, 3) and (6,) over the members of the ensemble.
        Output(
            "forces_uncertainty",
            "eV/A",
            _forces_uncertainty,
            gradient=True,
            uncertainty=True,
            ensemble=True,
        ),
        Output(
            "stress_uncertainty",
            "eV/A^3",
            _stress_uncertainty,
            gradient=True,
            uncertainty=True,
            ensemble=True,
        ),
    )
}


def available(model: AtomisticModel) -> list[str]:
    """Sorted names of the outputs that a model has.

    Parameters
    ----------
    model:
        Model to ask.
    """
    return sorted(name for name, output in OUTPUTS.items() if output.is_available(model))


def evaluation_of(
    model: AtomisticModel,
    graph: Graph,
    names: Iterable[str],
    direct: dict[str, str] | None = None,
) -> Evaluation:
    """Evaluation whose first run of the model yields everything that these outputs need.

    Parameters
    ----------
    model:
        Model to evaluate.
    graph:
        Structures, with all pairs within the cutoff of the model.
    names:
        Names of outputs.
    direct:
        Heads to use in place of derivatives: {"forces": head, "stress": head}, both optional.
    """
    outputs = [OUTPUTS[name] for name in names]
    return Evaluation(
        model,
        graph,
        direct=direct,
        heads=[output.head for output in outputs if output.head is not None],
        features=any(output.uncertainty for output in outputs),
    )


def compute(evaluation: Evaluation, names: Iterable[str]) -> list[dict[str, Any]]:
    """{name: value} for each structure.

    Parameters
    ----------
    evaluation:
        Evaluation of the structures.
    names:
        Names of outputs.
    """
    names = list(names)
    # what needs derivatives goes first, so that energies come from the same run of the model
    order = sorted(names, key=lambda name: not OUTPUTS[name].gradient)
    values = {name: OUTPUTS[name].compute(evaluation) for name in order}
    n_structures = evaluation.graph.n_structures
    return [{name: values[name][k] for name in names} for k in range(n_structures)]
