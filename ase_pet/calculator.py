"""PETCalculator: trained models as ASE calculators. The only place that knows ASE's calculator interface."""

import copy
import warnings

import torch
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from torch import nn

from . import evaluation, graph, outputs, plugins, store, symmetrisers

CHUNK_ATOMS = {"cpu": 256, "cuda": 4096}  # atoms evaluated at once by `evaluate`


class PETCalculator(Calculator):
    """ASE calculator of a trained model: energy, free_energy (eV), energies (n,), forces (n, 3) eV/A, stress (6,) eV/A^3.

    model: name of a shipped calculator, path of a calculator folder or checkpoint, or a module that honours the model
        contract (`ase_pet.models`).
    device: "auto" (CUDA if there is one), "cpu", "cuda", "cuda:1", ...
    dtype: "float32", "float64", None for what the calculator's card says. Energies and forces are summed in float64.
    symmetrise: None for what the card says, or a symmetriser: "none", ...
    variant: energy head of a model with several.
    non_conservative: False, True, "forces", "stress": direct heads instead of derivatives, where the model has them.
    skin: A; neighbours are searched again once an atom has moved by half of it; 0 searches at each call.
    batch_atoms: atoms that `evaluate` treats at once, None for a default of the device.
    compile: "auto" or False run eagerly; True compiles with torch.compile (measured: no gain on a CPU).

    Raises ValueError with the valid choices for a bad argument, FileNotFoundError with the closest names for an unknown
    model. Bad structures raise `ase_pet.InvalidStructure` before any compute; a property that a structure does not have,
    such as the stress of a molecule, raises ASE's PropertyNotImplementedError.
    """

    name = "ase_pet"

    def __init__(self, model, *, device="auto", dtype=None, symmetrise=None, variant=None, non_conservative=False,
                 skin=1.0, batch_atoms=None, compile="auto"):
        super().__init__()
        self.parameters.update(
            model=str(model) if not isinstance(model, nn.Module) else None, device=device, dtype=dtype,
            symmetrise=symmetrise, variant=variant, non_conservative=non_conservative, skin=skin,
            batch_atoms=batch_atoms, compile=compile)
        self.device = _device(device)
        network, self.card = _load(model)
        self.dtype = store.dtype_of(dtype or self.card.dtype)
        _select(network, variant, non_conservative)
        network = network.to(self.device, self.dtype).eval().requires_grad_(False)
        self.model = symmetrisers.symmetrise(network, symmetrise or self.card.symmetrise)
        if compile not in ("auto", True, False):
            raise ValueError(f"`compile` is {compile!r}: valid choices are 'auto', True, False")
        self._run = torch.compile(self.model, dynamic=True) if compile is True else self.model
        if not skin >= 0:
            raise ValueError(f"`skin` is {skin!r}: expected a length in A, 0 or more")
        self._neighbours = graph.VerletList(self.cutoff, skin)
        self._batch_atoms = batch_atoms or CHUNK_ATOMS[self.device.type]
        self._evaluation = None
        self._warned = False
        self.implemented_properties = plugins.names("ase_pet.outputs")

    @property
    def cutoff(self):
        """Range of an edge in A."""
        return self.model.cutoff

    @property
    def species(self):
        """Atomic numbers that the model knows."""
        return tuple(self.model.species)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        """Compute the properties that were asked for into `results`; what was computed before is not computed again."""
        super().calculate(atoms, properties, system_changes)
        if system_changes or self._evaluation is None:
            self._evaluation = None
            structure = self._checked(self.atoms)
            self._evaluation = self._evaluate([structure], [self._half_list(structure)])
        names = dict.fromkeys([*properties, "energy", "free_energy", "energies"])
        unknown = [name for name in names if name not in self.implemented_properties]
        if unknown:
            raise PropertyNotImplementedError(f"{', '.join(unknown)}: this calculator gives "
                                              f"{', '.join(self.implemented_properties)}")
        self.results.update(self._outputs(self._evaluation, names)[0])

    def evaluate(self, list_of_atoms, properties=("energy", "forces")):
        """List of {property: value} for many structures, evaluated together in chunks of bounded size.

        Values are as in `results`. The calculator's own state does not change.
        """
        unknown = [name for name in properties if name not in self.implemented_properties]
        if unknown:
            raise PropertyNotImplementedError(f"{', '.join(unknown)}: this calculator gives "
                                              f"{', '.join(self.implemented_properties)}")
        structures = [self._checked(atoms) for atoms in list_of_atoms]
        results, start = [], 0
        while start < len(structures):
            stop, atoms = start + 1, len(structures[start])
            while stop < len(structures) and atoms + len(structures[stop]) <= self._batch_atoms:
                atoms, stop = atoms + len(structures[stop]), stop + 1
            results += self._evaluate_chunk(structures[start:stop], properties)
            start = stop
        return results

    def hessian(self, atoms):
        """(3n, 3n) second derivatives of the energy in eV/A^2 by automatic differentiation; use float64."""
        structure = self._checked(atoms)
        batch = self._evaluate([structure], [graph.half_list(structure, self.cutoff)]).graph
        return evaluation.hessian(self.model, batch).cpu().numpy()

    def check_state(self, atoms, tol=1e-15):
        """ASE's changes since the last calculation, and those of the total charge and spin in `atoms.info`."""
        changes = super().check_state(atoms, tol)
        if self.atoms is not None and not changes:
            changes = [key for key in ("charge", "spin") if self.atoms.info.get(key) != atoms.info.get(key)]
        return changes

    def todict(self, skip_default=True):
        """Arguments that make this calculator again; without a model where it was made from a module."""
        return {name: value for name, value in self.parameters.items() if value is not None}

    @classmethod
    def fromdict(cls, arguments):
        """The calculator that `todict` describes."""
        arguments = dict(arguments)
        if "model" not in arguments:
            raise ValueError("this calculator was made from a module: it has no name to load it by")
        return cls(arguments.pop("model"), **arguments)

    def __getstate__(self):
        return {**self.__dict__, "_evaluation": None, "_run": None}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._run = self.model

    def _checked(self, atoms):
        structure = graph.from_atoms(atoms)
        graph.check(structure, self.species)
        return structure

    def _half_list(self, structure):
        pairs = self._neighbours(structure)
        close = graph.check_distances(structure, pairs, self.card.shortest_distances)
        if close and not self._warned:
            warnings.warn(f"atoms closer than in training: {'; '.join(close)}. Results are an extrapolation.",
                          stacklevel=2)
        self._warned = bool(close)
        return pairs

    def _evaluate(self, structures, lists):
        batch = graph.build(structures, lists, dtype=self.dtype, device=self.device)
        return evaluation.Evaluation(self._run, batch)

    def _evaluate_chunk(self, structures, properties):
        lists = [graph.half_list(structure, self.cutoff) for structure in structures]
        for structure, pairs in zip(structures, lists, strict=True):
            graph.check_distances(structure, pairs)
        try:
            return self._outputs(self._evaluate(structures, lists), properties)
        except MemoryError:
            if len(structures) == 1:
                raise
        half = len(structures) // 2
        return (self._evaluate_chunk(structures[:half], properties)
                + self._evaluate_chunk(structures[half:], properties))

    def _outputs(self, results, names):
        try:
            return outputs.compute(results, names)
        except evaluation.Undefined as error:
            raise PropertyNotImplementedError(str(error)) from None
        except RuntimeError as error:
            if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
                raise
        size = results.graph
        raise MemoryError(f"out of memory on {self.device} with {size.n_atoms} atoms and "
                          f"{2 * len(size.pair_vectors)} edges in {size.n_structures} structures: use a smaller "
                          "`batch_atoms`, dtype='float32' or a device with more memory")


def _load(model):
    if not isinstance(model, nn.Module):
        return store.load(model)
    dtype = next((parameter.dtype for parameter in model.parameters()), torch.float64)
    return copy.deepcopy(model), store.Card(name=type(model).__name__, dtype=str(dtype).removeprefix("torch."))


def _device(name):
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        device = None
    if device is None or device.type not in CHUNK_ATOMS:
        raise ValueError(f"`device` is {name!r}: valid choices are auto, cpu, cuda, cuda:N")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"`device` is {name!r}, but this torch sees no CUDA device: use 'cpu' or 'auto'")
    return device


def _select(network, variant, non_conservative):
    """Point the model at one of its energy heads; refuse heads that it does not have."""
    heads = list(getattr(getattr(network, "settings", None), "heads", {"energy": 1}))
    variants = [name.partition("/")[2] for name in heads if name.split("/")[0] == "energy"]
    if variant is not None:
        if variant not in variants:
            raise ValueError(f"`variant` is {variant!r}: valid choices are {', '.join(map(repr, variants))}")
        network.energy_head = f"energy/{variant}" if variant else "energy"
    if non_conservative not in (False, True, "forces", "stress"):
        raise ValueError(f"`non_conservative` is {non_conservative!r}: valid choices are False, True, 'forces', 'stress'")
    if non_conservative:
        raise ValueError("`non_conservative`: this model has no direct heads that are served; leave it False")
