"""MLIPCalculator, also named PETCalculator: a trained model behind ASE's calculator interface."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from torch import nn

from . import arguments, display, evaluation, executors, fingerprints, graph, outputs, store
from .batches import BatchEvaluator
from .concurrency import exclusive
from .descriptors import Described
from .evaluation import Evaluation
from .graph import Structure, chunking
from .graph_inputs import GraphInputs
from .steps import Steps
from .uncertainty_policy import THRESHOLD, UncertaintyPolicy


class PETCalculator(Described, display.DisplayedCalculator, fingerprints.Fingerprinted, Calculator):
    """ASE calculator of a trained model: a PET, a PONITA or a MACE.

    `MLIPCalculator` and `PETCalculator` are two names of this class.

    Results are energy and free_energy (eV), energies (n,) of atoms, forces (n, 3) in eV/A and
    stress (6,) in eV/A^3, and what else the model has: a dipole, uncertainties.

    Parameters
    ----------
    model:
        Name of a shipped calculator or of a published checkpoint, path of a calculator folder or
        checkpoint, or a module that honours the model contract (`ase_pet.models.base`).
    device:
        "auto" (CUDA if there is one), "cpu", "cuda", "cuda:1", ...
    dtype:
        "float32" or "float64", None for that of the calculator. Sums over atoms are float64.
    symmetrise:
        "none", "ecse" (exact), "group:O", "group:I", "quadrature:L", ...; None for that of the
        calculator.
    variant:
        Energy head of a model with several.
    non_conservative:
        Direct heads instead of derivatives, where the model has them: False, True, "forces" or
        "stress".
    skin:
        Length in A: neighbours are searched again once an atom has moved by half of it; 0 searches
        at each call.
    batch_atoms:
        Number of atoms that `evaluate` treats at once, None for a default of the device.
    compile:
        True compiles steps, for long runs of small systems; "auto" and False do not.
    uncertainty:
        What happens once the standard deviation of the energy of an atom is above
        `uncertainty_threshold`: "off", "warn" or "stop" (raises `ase_pet.TooUncertain`). For
        models with last-layer uncertainties (LLPR), which provide energy_uncertainty,
        energies_uncertainty, energy_ensemble, forces_ensemble, forces_uncertainty and
        stress_uncertainty through `get_property` and `evaluate` in any case.
    uncertainty_threshold:
        Energy in eV.
    orientations:
        Grid of a PONITA in place of its own: number of axes, such as 64, or name of a grid
        (`ase_pet.orientations`), such as "dodecahedral"; refused if it was not trained on it.
    orientations_untrained:
        Whether grids are allowed that the model was not trained on; errors may be large.

    Raises
    ------
    ValueError
        An argument is invalid; the valid choices are listed.
    FileNotFoundError
        The model is unknown; the closest names are listed.
    InvalidStructure
        Raised by evaluations, before any compute, for a structure that has no valid energy.
    PropertyNotImplementedError
        Raised by evaluations for a property that a structure does not have, such as the stress of
        a molecule.
    """

    name = "ase_pet"

    def __init__(
        self,
        model: str | Path | nn.Module,
        *,
        device: str = "auto",
        dtype: str | None = None,
        symmetrise: str | None = None,
        variant: str | None = None,
        non_conservative: bool | str = False,
        skin: float = 1.0,
        batch_atoms: int | None = None,
        compile: str | bool = "auto",
        uncertainty: str = "off",
        uncertainty_threshold: float = THRESHOLD,
        orientations: str | int | None = None,
        orientations_untrained: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.parameters.update(
            model=str(model) if not isinstance(model, nn.Module) else None,
            device=str(device),
            dtype=dtype,
            symmetrise=symmetrise,
            variant=variant,
            non_conservative=non_conservative,
            skin=skin,
            batch_atoms=batch_atoms,
            compile=compile,
            uncertainty=uncertainty,
            uncertainty_threshold=uncertainty_threshold,
            orientations=orientations,
        )
        if orientations_untrained:
            # absent otherwise, as in runs of earlier versions, which are continued
            self.parameters["orientations_untrained"] = orientations_untrained
        # what needs no model is checked first: loading one may mean a download
        self.device = arguments.device(device)
        arguments.check_numbers(skin, batch_atoms, compile)
        arguments.check_choices(dtype, symmetrise, variant, non_conservative, orientations)
        self._policy = UncertaintyPolicy(uncertainty, uncertainty_threshold)

        network, self.card = arguments.model(model)
        network = arguments.oriented(network, orientations, orientations_untrained)
        self.dtype = store.dtype_of(self.card.dtype if dtype is None else dtype)
        arguments.select_head(network, variant)
        self._direct = arguments.direct_heads(network, non_conservative, self.card)
        network = network.to(self.device, self.dtype).eval().requires_grad_(False)
        self.parameters["symmetrise"] = arguments.full_name(symmetrise, self.card)
        self.model = arguments.symmetrised(network, self.card, self.parameters["symmetrise"])
        self._policy.check_model(self.model)
        self.implemented_properties = outputs.available(self.model)

        self._inputs = GraphInputs(self.model, self.device, self.dtype, self.card)
        self._neighbours = graph.VerletList(self.cutoff, skin)
        self._steps = Steps(self._inputs, self._neighbours, self._direct, compile is True)
        most = chunking.budget("atoms", self.device)
        at_once = batch_atoms or most
        self._batches = BatchEvaluator(self._inputs, self._direct, at_once)
        self._evaluation: Evaluation | None = None

    @property
    def cutoff(self) -> float:
        """Length in A beyond which an edge has no effect."""
        return self.model.cutoff

    @property
    def species(self) -> tuple[int, ...]:
        """Atomic numbers that the model supports, without those it was never trained on."""
        return tuple(z for z in self.model.species if z not in self.card.untrained_species)

    @exclusive
    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Compute properties into `results`; nothing is computed twice.

        Parameters
        ----------
        atoms:
            Structure, None for that of the last call.
        properties:
            Names of properties.
        system_changes:
            What changed since the last call, as ASE names it.
        """
        names = [*properties, "energy", "free_energy", "energies", *self._policy.properties]
        names = list(dict.fromkeys(names))
        # before anything changes: results must stay those of the stored atoms
        self._check_properties(names)
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        if system_changes:
            self.results = {}
            self._evaluation = None
        if "numbers" in system_changes:
            # other atoms, or a reset: no trace may be left of what was computed before
            self._steps.forget()
        if self._evaluation is None:
            structure = self._inputs.structure(self.atoms)  # type: ignore[arg-type]
            self._evaluation = self._steps.evaluation(structure, names)
        self.results.update(self._outputs(self._evaluation, names))
        self._policy.apply(self.results)

    @exclusive
    def get_property(
        self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True
    ) -> Any:
        """Value of one property, in the units of `results`.

        Parameters
        ----------
        name:
            Name of the property.
        atoms:
            Structure, None for that of the last call.
        allow_calculation:
            Whether to compute what is not known yet; else the value is None.

        Raises
        ------
        PropertyNotImplementedError
            The model does not have the property; those that it has are listed.
        """
        self._check_properties([name])
        return super().get_property(name, atoms, allow_calculation)  # type: ignore[no-untyped-call]

    @exclusive
    def evaluate(
        self,
        list_of_atoms: Iterable[Atoms],
        properties: Sequence[str] = ("energy", "forces"),
        *,
        executor: Any = None,
    ) -> list[dict[str, Any]]:
        """{property: value} for each of many structures, evaluated together in bounded memory.

        Values are as in `results`. The state of the calculator does not change.

        Parameters
        ----------
        list_of_atoms:
            Structures.
        properties:
            Names of properties.
        executor:
            Processes that share the work, see `ase_pet.executors`; None for this one.
        """
        properties = (properties,) if isinstance(properties, str) else tuple(properties)
        self._check_properties(properties)
        structures = [
            self._inputs.structure(atoms, f"structure {k}: ")
            for k, atoms in enumerate(list_of_atoms)
        ]
        of_chunk = functools.partial(_outputs_of_chunk, properties=properties)
        chunks = self._batches.chunks(structures)
        return [row for rows in executors.run(executor, self, of_chunk, chunks) for row in rows]

    @exclusive
    def displaced_forces(
        self, atoms: Atoms, displacements: Sequence[tuple[int, Sequence[float]]]
    ) -> list[np.ndarray]:
        """Forces (n, 3) in eV/A of copies of a structure, each with one displaced atom.

        Where an atom's energy depends on its own edges only, nothing is computed again but the
        energies of the atoms that have the displaced one as a neighbour.

        Parameters
        ----------
        atoms:
            Structure of n atoms.
        displacements:
            Index of the displaced atom and its displacement (3,) in A, for each copy.
        """
        structure = self._inputs.structure(atoms)
        moved, shifts = arguments.displacements(displacements, len(atoms))
        forces = self._batches.displaced_forces(structure, moved, shifts)
        return self._one_by_one(atoms, moved, shifts) if forces is None else forces

    @exclusive
    def hessian(self, atoms: Atoms, of: Sequence[int] | None = None) -> np.ndarray:
        """Second derivatives (3n, 3n) of the energy in eV/A^2, by automatic differentiation.

        Use float64.

        Parameters
        ----------
        atoms:
            Structure of n atoms.
        of:
            Indices of k atoms, for their rows (3k, 3n) only; None for all.
        """
        structure = self._inputs.structure(atoms)
        rows = None if of is None else arguments.indices("of", of, len(structure))
        if rows == []:
            return np.zeros((0, 3 * len(structure)))
        pairs = graph.half_list(structure, self.cutoff)
        graph.check_distances(structure, pairs)
        batch = self._inputs.graph([structure], [pairs])
        try:
            return evaluation.hessian(self.model, batch, rows).cpu().numpy()
        except evaluation.Undefined as error:
            raise PropertyNotImplementedError(str(error)) from None

    @exclusive
    def cost(self, atoms: Atoms) -> dict[str, float]:
        """Predicted cost of a symmetrised model, see `models.base.cost_summary`; {} of a plain one.

        Parameters
        ----------
        atoms:
            Structure to evaluate.
        """
        if not self.model.is_symmetrised:
            return {}
        structure = self._inputs.structure(atoms)
        return self.model.cost(graph.build([structure], self.cutoff, device=self.device))

    @exclusive
    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Changes since the last calculation as ASE names them, with "charge" and "spin".

        Parameters
        ----------
        atoms:
            Structure, whose `info` may hold the total charge and the spin multiplicity.
        tol:
            Smallest change of positions and cell in A.
        """
        changes: list[str] = super().check_state(atoms, tol)  # type: ignore[no-untyped-call]
        if self.atoms is None or changes:
            return changes
        for key in ("charge", "spin"):
            states: Any = self.atoms.info.get(key), atoms.info.get(key)
            if not np.array_equal(*states):  # of arrays == has no truth value
                changes.append(key)
        return changes

    def todict(self, skip_default: bool = True) -> dict[str, Any]:
        """Arguments that make this calculator again; no `model` where it was made from a module.

        Parameters
        ----------
        skip_default:
            Ignored; part of ASE's interface.
        """
        return {name: value for name, value in self.parameters.items() if value is not None}

    @classmethod
    def fromdict(cls, arguments: dict[str, Any]) -> PETCalculator:
        """The calculator that `todict` describes.

        Parameters
        ----------
        arguments:
            {name: value} of the constructor.
        """
        arguments = dict(arguments)
        if "model" not in arguments:
            raise ValueError("this calculator was made from a module: it has no name to load it by")
        return cls(arguments.pop("model"), **arguments)

    def forget(self) -> None:
        """Drop all results: the next call computes anew, as if it were the first."""
        self.atoms = None
        self.results = {}
        self._evaluation = None
        self._steps.forget()

    def __getstate__(self) -> dict[str, Any]:
        # neither derivatives nor a lock can be copied
        with self._lock:
            return {k: v for k, v in self.__dict__.items() if k != "_lock"} | {"_evaluation": None}

    def _check_properties(self, names: Iterable[str]) -> None:
        unknown = [name for name in names if name not in self.implemented_properties]
        if unknown:
            raise PropertyNotImplementedError(
                f"{', '.join(map(str, unknown))}: this calculator supports "
                f"{', '.join(self.implemented_properties)}"
            )

    def _one_by_one(self, atoms: Atoms, moved: list[int], shifts: np.ndarray) -> list[np.ndarray]:
        """Forces (n, 3) of displaced copies, by `evaluate`."""
        copies = [atoms.copy() for _ in moved]
        for copy, index, shift in zip(copies, moved, shifts, strict=True):
            copy.positions[index] += shift
        return [results["forces"] for results in self.evaluate(copies, ("forces",))]

    def _outputs(self, results: Evaluation, names: Sequence[str]) -> dict[str, Any]:
        """{name: value} of the one structure of an evaluation."""
        try:
            return self._batches.outputs(results, names)[0]
        except graph.Outgrown:
            self._evaluation = self._steps.measured(names)
            return self._outputs(self._evaluation, names)
        except evaluation.Undefined as error:
            raise PropertyNotImplementedError(str(error)) from None


def _outputs_of_chunk(
    calculator: PETCalculator, chunk: tuple[int, list[Structure]], properties: Sequence[str]
) -> list[dict[str, Any]]:
    """{property: value} of structures, after the number of the first; in a worker or here."""
    first, structures = chunk
    try:
        return calculator._batches.evaluate(structures, properties, first)
    except evaluation.Undefined as error:
        raise PropertyNotImplementedError(str(error)) from None


# The general name of the class. It is called by the first one in files of pickle and in texts.
MLIPCalculator = PETCalculator
