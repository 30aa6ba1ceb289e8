"""The calculator that is checked: its evaluation, and the properties that it states of itself."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
from ase import Atoms

from ..errors import error_text
from ._noise import Noise, line, scatter
from ._results import NotApplicable

# Names of the cutoff in this package, in MACE, in ASE's EMT and in ASE's Lennard-Jones.
CUTOFF_NAMES = ("cutoff", "r_max", "rc_list", "rc")
DTYPE_NAMES = ("dtype", "default_dtype")  # in this package, in MACE
LONGEST_NOTE = 300  # characters
BOX = 10.0  # A of vacuum around free structures, for calculators that need a cell


class Calculator(Protocol):
    """What checks need of an ASE calculator; any calculator of ASE has these methods."""

    def get_potential_energy(self, atoms: Any = None) -> Any:
        """Energy of `atoms` in eV."""

    def get_forces(self, atoms: Any = None) -> Any:
        """Forces on `atoms`, (n, 3) in eV/A."""

    def get_stress(self, atoms: Any = None) -> Any:
        """Stress of `atoms`, (6,) in eV/A^3."""


class Evaluate(Protocol):
    """Method of a calculator that evaluates many structures at once."""

    def __call__(
        self, structures: Sequence[Atoms], properties: tuple[str, ...], /
    ) -> Sequence[Mapping[str, Any]]:
        """List of {property: value}, one for each of the structures."""


@dataclass(frozen=True)
class Capabilities:
    """What a calculator states of itself; None where it states nothing.

    Attributes
    ----------
    species:
        Atomic numbers of the elements that it supports.
    dtype:
        Its precision, "float64" or "float32".
    cutoff:
        Range of its interactions in A.
    evaluate:
        Method that evaluates many structures at once.
    """

    species: Sequence[int] | None
    dtype: str | None
    cutoff: float | None
    evaluate: Evaluate | None


def capabilities_of(calculator: Calculator) -> Capabilities:
    """What `calculator` states of itself: its species, precision, cutoff and batches.

    ASE defines no interface for these. This is the only place that knows their names in this
    package and in others.
    """
    return Capabilities(
        species=next(_attributes(calculator, ["species"]), None),
        dtype=_dtype(_attributes(calculator, DTYPE_NAMES)),
        cutoff=_cutoff(calculator),
        evaluate=_evaluate(_attributes(calculator, ["evaluate"])),
    )


def _attributes(calculator: Calculator, names: Iterable[str]) -> Iterator[Any]:
    """Values of those of the named attributes that a calculator has and that are not None."""
    for name in names:
        value = getattr(calculator, name, None)
        if value is not None:
            yield value


def _dtype(values: Iterator[Any]) -> str | None:
    """Name of the first value, which may be a string, a numpy or a torch dtype."""
    text = str(next(values, ""))
    return next((name for name in ("float64", "float32") if name in text), None)


def _cutoff(calculator: Calculator) -> float | None:
    """First number in A among the attributes and the parameters with the name of a cutoff."""
    parameters: Mapping[str, Any] = next(_attributes(calculator, ["parameters"]), {})
    for name in CUTOFF_NAMES:
        for value in (*_attributes(calculator, [name]), parameters.get(name)):
            # ASE's cutoff may be unset (None), and other packages use the names for methods.
            is_number = value is not None and np.ndim(value) == 0 and not callable(value)
            if is_number and value:
                return float(value)
    return None


def _evaluate(values: Iterator[Any]) -> Evaluate | None:
    """The method `evaluate`, where it takes the names of properties; other packages differ."""
    method = next(values, None)
    if callable(method) and "properties" in inspect.signature(method).parameters:
        return cast(Evaluate, method)
    return None


def one_line(error: BaseException) -> str:
    """Text of an error in one line, of 300 characters at most."""
    text = error_text(error).removeprefix(type(error).__name__).removeprefix(": ")
    return " ".join(text.split())[:LONGEST_NOTE]


@contextlib.contextmanager
def extreme(structures: str) -> Iterator[None]:
    """Turn errors of a calculator into NotApplicable, for structures far from those given.

    A calculator may refuse what it was not made for, such as atoms at 0.5 A, or a slab: that is
    better than wrong numbers.

    Parameters
    ----------
    structures:
        What the structures are, for the message.
    """
    try:
        yield
    # these are not applicable already
    except (NotApplicable, NotImplementedError):
        raise
    except Exception as error:
        kind = type(error).__name__
        raise NotApplicable(
            f"the calculator refuses {structures}: {kind}: {one_line(error)}"
        ) from error


class Subject:
    """An ASE calculator under examination, with the settings of the checks.

    Attributes
    ----------
    species, cutoff, evaluate:
        As in Capabilities.
    dtype:
        "float64" or "float32": sets the limits and the steps of finite differences.
    full:
        Whether checks run longer and on more samples.
    temperature:
        Temperature of molecular dynamics in K.
    seed:
        Seed of all random numbers.
    noise:
        Scatter of the results, zero until it is measured.
    refuses_free:
        Why the calculator computes no free structures, "" if it does.
    boxed:
        Whether free structures get a box, without periodicity, as the calculator needs a cell.
    """

    def __init__(
        self,
        calculator: Calculator,
        *,
        dtype: str | None = None,
        full: bool = False,
        temperature: float = 300.0,
        seed: int = 0,
    ) -> None:
        stated = capabilities_of(calculator)
        self.calculator = calculator
        self.species = stated.species
        self.cutoff = stated.cutoff
        self.evaluate = stated.evaluate
        self.full = full
        self.temperature = temperature
        self.seed = seed
        self.noise = Noise()
        self.boxed = False
        self.refuses_free = ""
        self._dtype = dtype or stated.dtype

    def of(self, calculator: Calculator | None) -> Subject:
        """The same subject with a calculator like its own, made in another process; or without one.

        Parameters
        ----------
        calculator:
            The calculator; None leaves what can be sent to another process.
        """
        subject: Any = copy.copy(self)
        subject.calculator = calculator
        subject.evaluate = None if calculator is None else capabilities_of(calculator).evaluate
        return cast(Subject, subject)

    @property
    def dtype(self) -> str:
        """Precision of the calculator; float64 as long as it is unknown."""
        return self._dtype or "float64"

    @property
    def precision(self) -> str:
        """Precision that sets the steps of differences: float32 for results that scatter."""
        return "float32" if self.noise.is_coarse else self.dtype

    def infer_dtype(self, atoms: Atoms) -> None:
        """Set the dtype to that of the forces on `atoms`, unless it is stated."""
        if self._dtype is not None:
            return
        try:
            forces = np.asarray(self.with_calculator(atoms).get_forces())
        except Exception:  # the checks will report the error
            return
        self._dtype = "float32" if forces.dtype == np.float32 else "float64"

    def measure_noise(self, atoms: Atoms) -> Noise:
        """Scatter of the results around `atoms`, zero where the calculator raises errors."""
        # Self-consistent calculators start from the last result, which is another one each time: in
        # random order, after structures that differ more.
        structures = line(atoms, self.generator(7))
        distant = line(atoms, self.generator(9), spacing=0.02)
        order = self.generator(8).permutation(len(structures))
        energies = np.zeros(len(structures))
        forces = np.zeros((len(structures), len(atoms), 3))
        stresses = np.zeros((len(structures), 6))
        for k in order:
            moving = self.with_calculator(structures[k])
            try:
                self.with_calculator(distant[k]).get_forces()
                forces[k] = moving.get_forces()
                energies[k] = moving.get_potential_energy()
            except Exception:  # the checks will report the error
                return Noise()
            with contextlib.suppress(Exception):  # a calculator may have no stress
                stresses[k] = moving.get_stress()
        return Noise(
            energy=scatter(energies) / len(atoms),
            forces=scatter(forces),
            stress=scatter(stresses),
        )

    def adapt_to_free(self, atoms: Atoms) -> None:
        """Put free structures into a box if the calculator needs that, tried on `atoms`."""
        try:
            self.forces(atoms)
        except Exception as error:
            self.boxed = True
            try:
                self.forces(atoms)
            except Exception:  # not for want of a cell
                self.boxed = False
                self.refuses_free = f"{type(error).__name__}: {one_line(error)}"

    def generator(self, stream: int = 0) -> np.random.Generator:
        """Random number generator, always the same for the same `stream`."""
        return np.random.default_rng([self.seed, stream])

    def with_calculator(self, atoms: Atoms) -> Atoms:
        """Copy of `atoms` with the calculator, in a box where it needs one."""
        atoms = atoms.copy()
        if self.boxed and atoms.cell.rank < 3 and not atoms.pbc.any():
            atoms.center(vacuum=BOX)
        atoms.calc = self.calculator
        return atoms

    def energy_and_forces(self, atoms: Atoms) -> tuple[float, np.ndarray]:
        """Energy in eV and forces (n, 3) in eV/A on `atoms`, of one calculation."""
        atoms = self.with_calculator(atoms)
        # Forces first: calculators that compute energies alone would otherwise run twice.
        forces = np.asarray(atoms.get_forces(), dtype=np.float64)
        return float(atoms.get_potential_energy()), forces

    def forces(self, atoms: Atoms) -> np.ndarray:
        """Forces (n, 3) on `atoms` in eV/A."""
        return self.energy_and_forces(atoms)[1]

    def stress(self, atoms: Atoms) -> np.ndarray:
        """Stress (3, 3) of `atoms` in eV/A^3; NotApplicable for a structure without a volume."""
        if atoms.cell.rank < 3:
            raise NotApplicable("a structure without a cell has no stress")
        return np.asarray(self.with_calculator(atoms).get_stress(voigt=False), dtype=np.float64)

    def energies_and_forces(
        self, structures: Sequence[Atoms]
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Energies (m,) in eV and m arrays of forces (n, 3) in eV/A of the `structures`.

        They are evaluated in batches where the calculator supports it.
        """
        if self.evaluate is None:
            pairs = [self.energy_and_forces(atoms) for atoms in structures]
            energies = [energy for energy, _ in pairs]
            forces = [array for _, array in pairs]
        else:
            rows = self.evaluate(structures, ("energy", "forces"))
            # Numbers in float64, in whatever precision the calculator returns them.
            energies = [float(row["energy"]) for row in rows]
            forces = [np.asarray(row["forces"], dtype=np.float64) for row in rows]
        return np.array(energies), forces
