"""Results of calculators of other packages: real numbers of the right shape, or an error."""

from __future__ import annotations

import contextlib
import copyreg
import numbers
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError

from .errors import WrongResult


@runtime_checkable
class ListsProperties(Protocol):
    """A calculator that lists the properties that it computes, as those of ASE do."""

    implemented_properties: Sequence[str]


class MissingResult(WrongResult, PropertyNotImplementedError):
    """A calculator did not return a property that it says it computes."""


# methods of ASE's calculators, and the property that each returns; None: its first argument
METHODS = {
    "get_property": None,
    "get_potential_energy": "energy",
    "get_forces": "forces",
    "get_stress": "stress",
}
NUMBER: tuple[tuple[int, ...], ...] = ((),)


def check(name: str, value: Any, count: int, owner: str, finite: bool = True) -> Any:
    """The value of a property as it is, whole numbers as floats.

    Parameters
    ----------
    name:
        ASE's name of the property, such as "forces".
    value:
        What the calculator returned.
    count:
        Number of atoms.
    owner:
        Name of the calculator's class, for the message.
    finite:
        Whether nan and inf are refused.

    Raises
    ------
    WrongResult
        The value is none of this property. Properties without a known shape have any of numbers.
    """
    shapes = _shapes(count).get(name)
    if shapes is None:
        return value
    expected = "a real number" if shapes == NUMBER else f"{_listed(shapes)} real numbers"
    problem = _problem(value, shapes)
    if not problem and finite and not np.isfinite(value).all():
        problem = "nan or inf"
    if problem:
        raise WrongResult(f"`{name}` of {owner}: expected {expected}, got {problem}")
    # constraints and integrators change forces in place
    return (
        value.astype(float) if isinstance(value, np.ndarray) and value.dtype.kind != "f" else value
    )


def checked(calculator: Any, finite: bool) -> Any:
    """The calculator itself; from now on, it raises WrongResult for results of a wrong kind.

    Its class becomes one of the same name, derived from it. Copies have the class that it had.

    Parameters
    ----------
    calculator:
        ASE calculator.
    finite:
        Whether nan and inf are refused.
    """
    kind = type(calculator)
    methods = {
        method: _method(kind, method, name, finite)
        for method, name in METHODS.items()
        if callable(getattr(kind, method, None))
    }
    reduced = {"__reduce_ex__": _reduce(kind)}
    names = {name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")}
    with contextlib.suppress(Exception):  # some classes, such as compiled ones, allow no other one
        make: Any = type(kind)
        calculator.__class__ = make(kind.__name__, (kind,), names | methods | reduced)
    return calculator


def _shapes(count: int) -> dict[str, tuple[tuple[int, ...], ...]]:
    """Shapes that each property may have."""
    return {
        "energy": NUMBER,
        "free_energy": NUMBER,
        "forces": ((count, 3),),
        "stress": ((6,), (3, 3)),
        "energies": ((count,),),
        "stresses": ((count, 6), (count, 3, 3)),
        "dipole": ((3,),),
        "magmom": ((), (3,)),
        "magmoms": ((count,), (count, 3)),
        "charges": ((count,),),
        "energy_uncertainty": NUMBER,
        "energies_uncertainty": ((count,),),
    }


def _listed(shapes: tuple[tuple[int, ...], ...]) -> str:
    """Text of the shapes."""
    return " or ".join(str(shape) for shape in shapes)


def _problem(value: Any, shapes: tuple[tuple[int, ...], ...]) -> str:
    """What a value is if it has another type or shape, else ""."""
    if value is None:
        return "None"
    if not isinstance(value, np.ndarray | np.generic):
        # Python's own numbers are energies; lists add up as no array does
        real = isinstance(value, numbers.Real) and not isinstance(value, bool)
        if not real:
            return f"a value of type {type(value).__name__}"
        return "" if () in shapes else "one number"
    if value.dtype.kind not in "iuf":
        return f"values of type {value.dtype}"
    if np.ma.is_masked(value):
        return "masked values"
    if value.shape in shapes:
        return ""
    return str(value.shape) if value.shape else "one number"


def _method(kind: type, method: str, name: str | None, finite: bool) -> Any:
    """Method of a calculator that checks what that of its class returns."""
    original = getattr(kind, method)

    def get(self: Any, *arguments: Any, **more: Any) -> Any:
        given = dict(more)
        keys = ("atoms", "force_consistent") if name else ("name", "atoms", "allow_calculation")
        given.update(zip(keys, arguments, strict=False))
        what = name or given.get("name")
        try:
            value = original(self, *arguments, **more)
        except PropertyNotImplementedError as error:
            # ASE says the same of what a calculator cannot compute, and of what it forgot
            known = isinstance(error, MissingResult) or given.get("force_consistent")
            if known or what not in _stated(self):
                raise
            raise MissingResult(
                f"`{what}` of {kind.__name__}: expected a result, as `implemented_properties` lists"
                " it, got none"
            ) from error
        # nothing was asked to be computed, and nothing was
        if value is None and given.get("allow_calculation") is False:
            return None
        atoms = given.get("atoms")
        if not isinstance(atoms, Atoms):
            atoms = vars(self).get("atoms")
        if not isinstance(what, str) or not isinstance(atoms, Atoms):
            return value
        return check(what, value, len(atoms), kind.__name__, finite)

    get.__name__ = method
    return get


def _stated(calculator: Any) -> Sequence[str]:
    """Properties that a calculator says it computes."""
    return calculator.implemented_properties if isinstance(calculator, ListsProperties) else ()


def _reduce(kind: Any) -> Any:
    """Method for copies and pickles, which find a class by its name: they have the original one."""

    def reduce(self: Any, protocol: Any) -> Any:
        value = kind.__reduce_ex__(self, protocol)
        if not isinstance(value, tuple):
            return value
        function, given, *rest = value
        # pickle allows its own function for objects of their present class only
        if function is copyreg.__newobj__:  # type: ignore[attr-defined]
            function = _new
        return function, tuple(kind if each is type(self) else each for each in given), *rest

    return reduce


def _new(kind: Any, *arguments: Any) -> Any:
    """Object of a class before its state is set."""
    return kind.__new__(kind, *arguments)
