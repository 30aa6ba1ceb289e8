"""PETCalculator: trained models as ASE calculators.

The only place that knows ASE's calculator interface.
"""

import contextlib
import warnings

import numpy as np
import torch
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from torch import nn

from . import arguments, environments, evaluation, graph, outputs, store
from .uncertainty import THRESHOLD, Guard

CHUNK_ATOMS = {
    "cpu": 128,
    "cuda": 4096,
}  # atoms evaluated at once: more cost time on a CPU, which pages in larger arrays
OUT_OF_MEMORY = (
    "allocate",
    "out of memory",
    "not enough memory",
    "ALLOC_FAILED",
)  # in texts of RuntimeErrors


class PETCalculator(Calculator):
    """ASE calculator of a trained model: energy, free_energy (eV), energies (n,), forces (n, 3)
    eV/A, stress (6,) eV/A^3.

    model: name of a shipped calculator, path of a calculator folder or checkpoint, or a module that
        honours the model contract (`ase_pet.models`).
    device: "auto" (CUDA if there is one), "cpu", "cuda", "cuda:1", ...
    dtype: "float32", "float64", None for what the calculator's card says. Energies and forces are
    summed in float64.
    symmetrise: None for what the card says, "none", "ecse" (exact), "group:O", "group:I",
    "quadrature:L", ...
    orientations: axes of a PONITA in place of those it comes with: their number, such as 64, or the
        name of a grid (`ase_pet.orientations`), such as "dodecahedral". More of them leave less
        that changes under rotation.
    variant: energy head of a model with several.
    non_conservative: False, True, "forces", "stress": direct heads instead of derivatives, where
    the model has them.
    skin: A; neighbours are searched again once an atom has moved by half of it; 0 searches at each
    call.
    batch_atoms: atoms that `evaluate` treats at once, None for a default of the device.
    compile: "auto" or False, both of which run eagerly: torch.compile fails on ragged
    neighbourhoods (torch 2.13).
    uncertainty: "off", "warn" or "stop" (raises `ase_pet.TooUncertain`) once the standard deviation
        of the energy of an atom is above uncertainty_threshold (eV); for checkpoints with
        uncertainties. Whatever the policy, such models give energy_uncertainty,
        energies_uncertainty, energy_ensemble, forces_ensemble, forces_uncertainty and
        stress_uncertainty through `get_property` and `evaluate`.

    Raises ValueError with the valid choices for a bad argument, FileNotFoundError with the closest
    names for an unknown model. Bad structures raise `ase_pet.InvalidStructure` before any compute;
    a property that a structure does not have, such as the stress of a molecule, raises ASE's
    PropertyNotImplementedError.
    """

    name = "ase_pet"

    def __init__(
        self,
        model,
        *,
        device="auto",
        dtype=None,
        symmetrise=None,
        variant=None,
        non_conservative=False,
        skin=1.0,
        batch_atoms=None,
        compile="auto",
        uncertainty="off",
        uncertainty_threshold=THRESHOLD,
        orientations=None,
    ):
        super().__init__()
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
        self.device = arguments.device(device)
        network, self.card = arguments.model(model)
        network = arguments.oriented(network, orientations)
        self.dtype = store.dtype_of(self.card.dtype if dtype is None else dtype)
        arguments.select_head(network, variant)
        self._direct = arguments.direct_heads(network, non_conservative)
        self._conditioned = network.conditioned
        network = network.to(self.device, self.dtype).eval().requires_grad_(False)
        self.model = arguments.symmetrised(network, self.card, symmetrise)
        arguments.check_numbers(skin, batch_atoms, compile)
        self._neighbours = graph.VerletList(self.cutoff, skin)
        self._batch_atoms = CHUNK_ATOMS[self.device.type] if batch_atoms is None else batch_atoms
        self._evaluation = None
        self._warned = None  # atomic numbers of the system that the last warning was about
        self._guard = Guard(uncertainty, uncertainty_threshold, self.model)
        self.implemented_properties = outputs.available(self.model)

    @property
    def cutoff(self):
        """Range of an edge in A."""
        return self.model.cutoff

    @property
    def species(self):
        """Atomic numbers that the model knows."""
        return tuple(self.model.species)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        """Compute the properties that were asked for into `results`.

        What was computed before is not computed again.
        """
        super().calculate(atoms, properties, system_changes)
        if system_changes:
            self.results, self._evaluation = {}, None
        if (
            "numbers" in system_changes
        ):  # other atoms, or after `reset`: no trace of what was computed before
            self._neighbours.forget()
        if self._evaluation is None:
            structure = self._checked(self.atoms)
            pairs = self._half_list(structure, self._neighbours)
            self._evaluation = self._evaluate([structure], [pairs])
        names = dict.fromkeys(
            [*properties, "energy", "free_energy", "energies", *self._guard.properties]
        )
        self._check_properties(names)
        self.results.update(self._outputs(self._evaluation, names)[0])
        self._guard.check(self.results)

    def get_property(self, name, atoms=None, allow_calculation=True):
        """Value of one property.

        Raises PropertyNotImplementedError that lists those of the model.
        """
        self._check_properties([name])
        return super().get_property(name, atoms, allow_calculation)

    def evaluate(self, list_of_atoms, properties=("energy", "forces")):
        """List of {property: value} for many structures, evaluated together in chunks of bounded
        size.

        Values are as in `results`. The calculator's own state does not change.
        """
        self._check_properties(properties)
        structures = [
            self._checked(atoms, f"structure {k}: ") for k, atoms in enumerate(list_of_atoms)
        ]
        results, start = [], 0
        while start < len(structures):
            stop, atoms = start + 1, len(structures[start])
            while stop < len(structures) and atoms + len(structures[stop]) <= self._batch_atoms:
                atoms, stop = atoms + len(structures[stop]), stop + 1
            results += self._evaluate_chunk(structures[start:stop], properties, start)
            start = stop
        return results

    def displaced_forces(self, atoms, displacements):
        """List of forces (n, 3) in eV/A of copies of the atoms, in each of which one is displaced.

        displacements: list of (index of the atom, (3,) A). Where an atom's energy depends on its
        own edges only, nothing is computed again but the energies of the atoms that see the
        displaced one.
        """
        structure = self._checked(atoms)
        moved, shifts = (
            [int(index) for index, _ in displacements],
            np.array([shift for _, shift in displacements], dtype=float),
        )
        largest = np.linalg.norm(shifts, axis=-1).max(initial=0.0)
        if not (np.isfinite(largest) and all(0 <= index < len(atoms) for index in moved)):
            raise ValueError(
                f"`displacements`: expected indices from 0 to {len(atoms) - 1} and finite lengths"
                " in A"
            )
        pairs = self._half_list(
            structure, lambda found: graph.half_list(found, self.cutoff + largest)
        )
        closest = pairs.distances().min(initial=np.inf) - largest
        few = 2 * len(pairs.centres) / len(atoms) + 1 < len(
            atoms
        )  # environments that hold one atom
        if (
            self._direct
            or not environments.separable(self.model)
            or closest < graph.CLOSEST
            or not (few and moved)
        ):
            return self._one_by_one(atoms, moved, shifts)
        batch = self._evaluate([structure], [pairs]).graph
        with _memory(self.device, len(atoms), 2 * len(pairs.centres), len(moved)):
            found = environments.displaced_forces(
                self.model,
                batch,
                torch.tensor(moved, device=self.device),
                torch.tensor(shifts, device=self.device),
                self._batch_atoms,
            )
        return list(found.cpu().numpy())

    def _one_by_one(self, atoms, moved, shifts):
        """Forces of displaced copies by `evaluate`."""
        copies = [atoms.copy() for _ in moved]
        for copy, index, shift in zip(copies, moved, shifts, strict=True):
            copy.positions[index] += shift
        return [found["forces"] for found in self.evaluate(copies, ("forces",))]

    def hessian(self, atoms, of=None):
        """(3n, 3n) second derivatives of the energy in eV/A^2 by automatic differentiation; use
        float64.

        of: indices of k atoms, for their rows (3k, 3n) only.
        """
        structure = self._checked(atoms)
        pairs = graph.half_list(structure, self.cutoff)
        graph.check_distances(structure, pairs)
        batch = self._evaluate([structure], [pairs]).graph
        try:
            return evaluation.hessian(self.model, batch, of).cpu().numpy()
        except evaluation.Undefined as error:
            raise PropertyNotImplementedError(str(error)) from None

    def cost(self, atoms):
        """{name: number}, what symmetrisation asks of the network, predicted without running it.

        {} for a plain model.
        """
        if not self.model.is_symmetrised:
            return {}
        structure = self._checked(atoms)
        return self.model.cost(graph.build([structure], self.cutoff, device=self.device))

    def check_state(self, atoms, tol=1e-15):
        """ASE's changes since the last calculation.

        And those of the total charge and spin in `atoms.info`.
        """
        changes = super().check_state(atoms, tol)
        if self.atoms is not None and not changes:
            old, new = self.atoms.info, atoms.info
            changes = [
                key for key in ("charge", "spin") if not np.array_equal(old.get(key), new.get(key))
            ]
        return changes

    def todict(self, skip_default=True):
        """Arguments that make this calculator again.

        Without a model where it was made from a module.
        """
        return {name: value for name, value in self.parameters.items() if value is not None}

    @classmethod
    def fromdict(cls, arguments):
        """The calculator that `todict` describes."""
        arguments = dict(arguments)
        if "model" not in arguments:
            raise ValueError("this calculator was made from a module: it has no name to load it by")
        return cls(arguments.pop("model"), **arguments)

    def __getstate__(self):
        return {**self.__dict__, "_evaluation": None}

    def _check_properties(self, names):
        unknown = [name for name in names if name not in self.implemented_properties]
        if unknown:
            raise PropertyNotImplementedError(
                f"{', '.join(unknown)}: this calculator gives "
                f"{', '.join(self.implemented_properties)}"
            )

    def _checked(self, atoms, where=""):
        try:
            structure = graph.from_atoms(atoms, self._conditioned)
            graph.check(structure, self.species)
        except graph.InvalidStructure as error:
            raise graph.InvalidStructure(where + str(error)) from None
        return structure

    def _half_list(self, structure, search, where=""):
        """HalfList by `search`.

        Warns of distances below those of training, once for each system in turn.
        """
        try:
            pairs = search(structure)
            close = graph.check_distances(structure, pairs, self.card.shortest_distances)
        except graph.InvalidStructure as error:
            raise graph.InvalidStructure(where + str(error)) from None
        if close and not np.array_equal(self._warned, structure.numbers):
            self._warned = structure.numbers
            warnings.warn(
                f"{where}atoms closer than in training: {'; '.join(close)}. Results are an"
                " extrapolation.",
                stacklevel=3,
            )
        return pairs

    def _evaluate(self, structures, lists):
        atoms, edges = sum(map(len, structures)), 2 * sum(len(pairs.centres) for pairs in lists)
        dtype = torch.float64 if self.model.exact_geometry else self.dtype
        with _memory(self.device, atoms, edges, len(structures)):
            batch = graph.build(structures, lists, dtype=dtype, device=self.device)
        return evaluation.Evaluation(self.model, batch, direct=self._direct)

    def _evaluate_chunk(self, structures, properties, first):
        """Outputs of structures, the first of which is number `first` of the user's list."""
        lists = [
            self._half_list(
                structure, lambda found: graph.half_list(found, self.cutoff), f"structure {k}: "
            )
            for k, structure in enumerate(structures, first)
        ]
        try:
            return self._outputs(self._evaluate(structures, lists), properties, first)
        except MemoryError:
            if len(structures) == 1:
                raise
        half = len(structures) // 2
        return self._evaluate_chunk(structures[:half], properties, first) + self._evaluate_chunk(
            structures[half:], properties, first + half
        )

    def _outputs(self, results, names, first=0):
        size = results.graph
        try:
            with _memory(self.device, size.n_atoms, 2 * len(size.pair_vectors), size.n_structures):
                return outputs.compute(results, names)
        except evaluation.Undefined as error:
            counted = f", counted from structure {first}" if first else ""
            raise PropertyNotImplementedError(f"{error}{counted}") from None


@contextlib.contextmanager
def _memory(device, atoms, edges, structures):
    """Turns the many ways in which memory runs out into one MemoryError that says for what."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, RuntimeError) and not any(
            text in str(error) for text in OUT_OF_MEMORY
        ):
            raise
        raise MemoryError(
            f"out of memory on {device} with {atoms} atoms and {edges} edges in {structures}"
            " structures: use a smaller `batch_atoms`, dtype='float32' or a device with more"
            " memory"
        ) from None
