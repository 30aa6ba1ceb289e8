"""The table of outputs: what a calculator computes, in which unit, and what it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from ase.stress import full_3x3_to_voigt_6_stress

from .evaluation import Evaluation, check_volumes, virials
from .evaluation.derivatives import sum_over_atoms
from .evaluation.traced import TracedGradient
from .graph import Graph, Outgrown
from .graph.transfer import moved
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
        Function of an Evaluation that returns its values, (n_atoms, ...) or (n_structures, ...).
    per_atom:
        Whether these are values of atoms.
    voigt:
        Whether they are symmetric matrices over the volume of a cell, of rank 3.
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
    compute: Callable[[Evaluation], torch.Tensor]
    per_atom: bool = False
    voigt: bool = False
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


def _energy(evaluation: Evaluation) -> torch.Tensor:
    return evaluation.energy


def _energies(evaluation: Evaluation) -> torch.Tensor:
    return evaluation.energies


def _forces(evaluation: Evaluation) -> torch.Tensor:
    return evaluation.forces


def _stress(evaluation: Evaluation) -> torch.Tensor:
    return evaluation.stress_or_infinity


def _stresses(evaluation: Evaluation) -> torch.Tensor:
    graph = evaluation.graph
    per_atom = virials.of_centres(evaluation)
    symmetric = (per_atom + per_atom.transpose(1, 2)) / 2
    return symmetric / graph.volume[graph.structure][:, None, None]


def _dipole(evaluation: Evaluation) -> torch.Tensor:
    return evaluation.heads.dipole


def _energy_uncertainty(evaluation: Evaluation) -> torch.Tensor:
    return evaluation.uncertainties.deviations


def _energies_uncertainty(evaluation: Evaluation) -> torch.Tensor:
    return evaluation.uncertainties.atom_deviations


def _energy_ensemble(evaluation: Evaluation) -> torch.Tensor:
    return evaluation.uncertainties.ensemble


def _forces_ensemble(evaluation: Evaluation) -> torch.Tensor:
    members, _ = evaluation.uncertainties.ensemble_derivatives  # (members, n_atoms, 3)
    return evaluation.forces[:, :, None] + members.permute(1, 2, 0)


def _forces_uncertainty(evaluation: Evaluation) -> torch.Tensor:
    members, _ = evaluation.uncertainties.ensemble_derivatives  # (members, n_atoms, 3)
    return members.std(0, correction=0)


def _stress_uncertainty(evaluation: Evaluation) -> torch.Tensor:
    _, virials = evaluation.uncertainties.ensemble_derivatives  # (members, n_structures, 3, 3)
    return virials.std(0, correction=0) / evaluation.graph.volume[:, None, None]


OUTPUTS: dict[str, Output] = {
    output.name: output
    for output in (
        # Potential energy of each structure, a float. A potential has no electrons at a
        # temperature, so that the free energy is the same.
        Output("energy", "eV", _energy),
        Output("free_energy", "eV", _energy),
        # Energies (n,) of atoms, which add up to the energy.
        Output("energies", "eV", _energies, per_atom=True),
        # F = -dE/dr (n, 3).
        Output("forces", "eV/A", _forces, per_atom=True, gradient=True),
        # (1/V) dE/d(strain) (6,) in the order xx, yy, zz, yz, xz, xy, with the sign of ASE.
        Output("stress", "eV/A^3", _stress, voigt=True, gradient=True),
        # Stresses (n, 6) of atoms, which add up to the stress, as in ASE: strain derivatives of the
        # energies of atoms over the volume of the cell, where models are local. For others, each
        # pair is shared equally between its atoms. Of the energy, also beside direct heads.
        Output("stresses", "eV/A^3", _stresses, per_atom=True, voigt=True, gradient=True),
        # Dipole moment (3,), which points from negative to positive charge: the sum over the atoms
        # of a vector head. A model depends on edges only, so that the dipole of a neutral molecule
        # does not change when it is translated, and those of distant molecules add up.
        Output("dipole", "e A", _dipole, head="dipole", components=3),
        # Standard deviations of the energies of structures (a float) and of single atoms (n,).
        # Those of atoms do not add up, as errors of neighbouring atoms are correlated.
        Output("energy_uncertainty", "eV", _energy_uncertainty, uncertainty=True),
        Output(
            "energies_uncertainty", "eV", _energies_uncertainty, per_atom=True, uncertainty=True
        ),
        # Energies (members,) and forces (n, 3, members) of an ensemble of last layers: their means
        # are those of the model. Derivatives take one backward pass for each member.
        Output("energy_ensemble", "eV", _energy_ensemble, uncertainty=True, ensemble=True),
        Output(
            "forces_ensemble",
            "eV/A",
            _forces_ensemble,
            per_atom=True,
            gradient=True,
            uncertainty=True,
            ensemble=True,
        ),
        # Standard deviations (n, 3) and (6,) over the members of the ensemble.
        Output(
            "forces_uncertainty",
            "eV/A",
            _forces_uncertainty,
            per_atom=True,
            gradient=True,
            uncertainty=True,
            ensemble=True,
        ),
        Output(
            "stress_uncertainty",
            "eV/A^3",
            _stress_uncertainty,
            voigt=True,
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
    traced: TracedGradient | None = None,
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
    traced:
        Energies and their gradient by recorded operators, for graphs of fixed lengths.
    """
    outputs = [OUTPUTS[name] for name in names]
    return Evaluation(
        model,
        graph,
        direct=direct,
        heads=[output.head for output in outputs if output.head is not None],
        features=any(output.uncertainty for output in outputs),
        traced=traced,
    )


def compute(evaluation: Evaluation, names: Iterable[str]) -> list[dict[str, Any]]:
    """{name: value} for each structure.

    Parameters
    ----------
    evaluation:
        Evaluation of the structures.
    names:
        Names of outputs.

    Raises
    ------
    Outgrown
        Arrays of fixed length were too short for this step.
    """
    names = list(names)
    graph = evaluation.graph
    # what needs derivatives goes first, so that energies come from the same run of the model
    order = sorted(names, key=lambda name: not OUTPUTS[name].gradient)
    # energy and free energy are one value
    functions = dict.fromkeys(OUTPUTS[name].compute for name in order)
    values = {function: function(evaluation) for function in functions}
    sizes = sum_over_atoms(graph, torch.ones_like(graph.structure))
    volume, sizes, *arrived = _arrived(graph, [graph.volume, sizes, *values.values()])
    if any(OUTPUTS[name].voigt for name in names):
        check_volumes(volume.tolist())
    arrays = dict(zip(values, arrived, strict=True))
    rows = {}
    for name in names:
        output = OUTPUTS[name]
        rows[name] = _of_structures(output, arrays[output.compute].detach(), sizes.tolist())
    return [{name: rows[name][k] for name in names} for k in range(graph.n_structures)]


def _arrived(graph: Graph, values: list[torch.Tensor]) -> list[torch.Tensor]:
    """Values on the host. Raises Outgrown if arrays were too short for them."""
    if graph.room is None or not graph.room.excess:
        return moved(values, "cpu")
    excess = torch.stack(graph.room.excess)
    excess, *arrived = moved([excess, *values], "cpu")
    if excess.max() > 0:
        raise Outgrown
    return arrived


def _of_structures(output: Output, values: torch.Tensor, sizes: list[int]) -> list[Any]:
    """Value of each structure: an array, or a float; sizes are numbers of atoms."""
    parts = values.split(sizes if output.per_atom else 1)
    if output.voigt:
        parts = [torch.as_tensor(full_3x3_to_voigt_6_stress(part.numpy())) for part in parts]
    if output.per_atom:
        return [part.numpy() for part in parts]
    return [part[0].numpy() if values.ndim > 1 else part.item() for part in parts]
