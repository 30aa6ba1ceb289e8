"""D3 dispersion added to any calculator, by the library s-dftd3 (package `dftd3`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from ase import Atoms
from ase.calculators.mixing import SumCalculator
from ase.cell import Cell

from .choices import one_of
from .extras import how_to_install
from .phonons._protocols import SupportsBatches, SupportsHessian

DAMPING = {"bj": "d3bj", "zero": "d3zero", "mbj": "d3mbj", "mzero": "d3mzero"}
MARGIN = 1.0  # A, between atoms and the ends of the cell of a layer
ADDED = ("energy", "free_energy", "forces", "stress")
OF_ATOMS = ("energies", "stresses")  # to which D3 would add


@runtime_checkable
class StatesSpecies(Protocol):
    """A calculator that says which elements it supports."""

    species: Sequence[int]


@runtime_checkable
class StatesPrecision(Protocol):
    """A calculator that says its precision."""

    dtype: Any


class WithDispersion(SumCalculator):
    """Sum of a calculator and of D3: energy, free_energy, forces and stress.

    Other properties, such as dipoles, are those of the calculator. Energies of atoms are left out,
    as they would not add up.

    Parameters
    ----------
    calculator:
        Any ASE calculator.
    d3:
        ASE calculator of the dispersion.
    functional:
        Functional and damping of D3.
    """

    def __init__(self, calculator: Any, d3: Any, functional: str) -> None:
        super().__init__([calculator, d3])  # type: ignore[no-untyped-call]
        self.calculator = calculator
        self.d3 = d3
        self.functional = functional
        # what runs compare before they continue
        self.parameters = {"d3": functional}
        stated = calculator.implemented_properties
        self.own = [name for name in stated if name not in (*ADDED, *OF_ATOMS)]
        self.implemented_properties = [*self.implemented_properties, *self.own]
        if isinstance(calculator, StatesSpecies):
            self.species = calculator.species
        if isinstance(calculator, StatesPrecision):
            self.dtype = calculator.dtype

    def get_property(
        self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True
    ) -> Any:
        """Value of a property, in ASE's units.

        Parameters
        ----------
        name:
            ASE's name of the property.
        atoms:
            Structure; None for the last one.
        allow_calculation:
            Whether it may be computed; None is returned if it may not and is not known.
        """
        if name in self.own:
            return self.calculator.get_property(name, atoms or self.atoms, allow_calculation)
        return super().get_property(name, atoms, allow_calculation)  # type: ignore[no-untyped-call]

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Changes since the last calculation, as ASE and the calculator name them.

        Parameters
        ----------
        atoms:
            Structure.
        tol:
            Smallest change of positions and cell in A.
        """
        changes: list[str] = super().check_state(atoms, tol)  # type: ignore[no-untyped-call]
        # a calculator may depend on more than ASE compares, such as charge and spin in `info`
        own: list[str] = self.calculator.check_state(atoms, tol)
        return [*changes, *(change for change in own if change not in changes)]


class BatchedWithDispersion(WithDispersion):
    """`WithDispersion` for calculators that have batches and second derivatives."""

    def evaluate(
        self, list_of_atoms: Iterable[Atoms], properties: Sequence[str] = ("energy", "forces")
    ) -> list[dict[str, Any]]:
        """{property: value} of each structure; the calculator sees all of them in one call.

        Parameters
        ----------
        list_of_atoms:
            Structures.
        properties:
            Names of properties; D3 has no part in those that are not in `ADDED`.
        """
        structures = list(list_of_atoms)
        # D3 evaluates them one by one
        results: list[dict[str, Any]] = self.calculator.evaluate(structures, properties)
        added = [name for name in properties if name in ADDED]
        for atoms, row in zip(structures, results, strict=True):
            for name in added:
                row[name] = row[name] + self.d3.get_property(name, atoms)
        return results

    def hessian(self, atoms: Atoms, of: Sequence[int] | None = None) -> np.ndarray:
        """Second derivatives (3n, 3n) of the energy in eV/A^2, both parts analytic.

        Parameters
        ----------
        atoms:
            Structure of n atoms.
        of:
            Indices of k atoms, for their rows (3k, 3n) only; None for all.
        """
        hessian = np.array(self.calculator.hessian(atoms, of=of), dtype=float)
        dispersion = np.array(self.d3.get_hessian(atoms), dtype=float)
        if of is not None:
            # rows x, y and z of each atom
            dispersion = dispersion.reshape(len(atoms), 3, -1)[list(of)]
        total: np.ndarray = hessian + dispersion.reshape(hessian.shape)
        return total


def with_dispersion(calculator: Any, functional: str) -> WithDispersion:
    """ASE calculator of the sum of `calculator` and D3.

    Use it where the calculator was trained on data without dispersion. D3 of the same functional
    that made the data is meant; a model that was trained on corrected data has it already.

    Source: S. Grimme, J. Antony, S. Ehrlich, H. Krieg, J. Chem. Phys. 132, 154104 (2010),
    doi:10.1063/1.3382344, and S. Grimme, S. Ehrlich, L. Goerigk, J. Comput. Chem. 32, 1456 (2011),
    doi:10.1002/jcc.21759, as implemented in s-dftd3.

    Parameters
    ----------
    calculator:
        Any ASE calculator.
    functional:
        Functional, such as "pbe", and after a colon the damping: bj (Becke-Johnson, the default),
        zero, mbj, mzero; such as "pbe:zero".

    Raises
    ------
    ValueError
        The package `dftd3` is not installed, or has no parameters for the functional.
    """
    check(functional)
    d3 = _calculator(*parse(functional))
    if isinstance(calculator, SupportsBatches) and isinstance(calculator, SupportsHessian):
        return BatchedWithDispersion(calculator, d3, functional)
    return WithDispersion(calculator, d3, functional)


def _calculator(method: str, damping: str) -> Any:
    """ASE calculator of D3."""
    from dftd3.ase import DFTD3

    class D3(DFTD3):
        """DFTD3 with a free energy, which is its energy, and for layers and wires."""

        def calculate(
            self,
            atoms: Atoms | None = None,
            properties: Any = None,
            system_changes: Any = (),
        ) -> None:
            """Compute properties into `results`."""
            if atoms is None or atoms.pbc.all() or not atoms.pbc.any():
                super().calculate(atoms, properties, system_changes)
                return
            boxed = in_a_box(atoms)
            super().calculate(boxed, properties, system_changes)
            stress = self.results.pop("stress", None)
            if stress is not None and atoms.cell.rank == 3:
                self.results["stress"] = stress * boxed.get_volume() / atoms.get_volume()
            self.atoms = atoms.copy()

    d3 = D3(method=method, damping=DAMPING[damping])
    # sums of calculators have the properties that all of them have
    d3.implemented_properties = [*ADDED, "hessian"]
    return d3


def in_a_box(atoms: Atoms) -> Atoms:
    """Copy of a layer or wire in a cell that contains all its atoms.

    s-dftd3 (1.7) wraps atoms into the cell along directions that are not periodic too, and divides
    by its volume: atoms at both sides of the origin, or no vector there, give wrong energies. Here
    the vectors of these directions are orthogonal to the others and longer than the structure.

    Parameters
    ----------
    atoms:
        Structure with one or two periodic directions.
    """
    boxed: Atoms = atoms.copy()
    boxed.set_constraint()
    vectors = atoms.cell.array.copy()
    vectors[~atoms.pbc] = 0
    vectors = Cell(vectors).complete().array  # unit vectors in place of the others
    for axis in np.flatnonzero(~atoms.pbc):
        heights = atoms.positions @ vectors[axis]
        boxed.positions += (MARGIN - heights.min()) * vectors[axis]
        vectors[axis] *= np.ptp(heights) + 2 * MARGIN
    boxed.set_cell(vectors)
    return boxed


def parse(functional: str) -> tuple[str, str]:
    """Name of the functional, and that of the damping.

    Parameters
    ----------
    functional:
        Text such as "pbe" or "pbe:zero".
    """
    method, _, damping = functional.partition(":")
    damping = damping or "bj"
    if not method:
        raise ValueError(f"`d3` is {functional!r}: expected a functional, such as pbe or pbe:zero")
    one_of("damping of d3", damping, tuple(DAMPING))
    return method, damping


def check(functional: str | None) -> None:
    """Raise ValueError for a bad value of an option --d3, before a model is loaded.

    Parameters
    ----------
    functional:
        Argument of `with_dispersion`, or None.

    Raises
    ------
    ValueError
        The package `dftd3` is not installed, or has no parameters for the functional.
    """
    if functional is None:
        return
    method, damping = parse(functional)
    try:
        from dftd3 import interface
    except ImportError as error:
        raise ValueError(
            f"D3 needs the package dftd3, of the extra `d3` ({how_to_install('d3')}): {error}"
        ) from None
    parameters = {
        "bj": interface.RationalDampingParam,
        "zero": interface.ZeroDampingParam,
        "mbj": interface.ModifiedRationalDampingParam,
        "mzero": interface.ModifiedZeroDampingParam,
    }
    try:
        parameters[damping](method=method)  # type: ignore[no-untyped-call]
    except RuntimeError:
        raise ValueError(
            f"`d3` is {functional!r}: s-dftd3 has no parameters of the functional {method!r} with"
            f" {damping} damping; expected one such as pbe, pbesol, r2scan, b3lyp or pbe0"
        ) from None


def dispersed(calculator: Any, functional: str | None) -> Any:
    """`calculator`, with D3 if a functional is named: the value of an option --d3.

    Parameters
    ----------
    calculator:
        Any ASE calculator.
    functional:
        Argument of `with_dispersion`, or None.
    """
    return calculator if functional is None else with_dispersion(calculator, functional)
