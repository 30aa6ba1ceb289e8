"""Calculators of other packages, made by a function that the user names as `module:factory`."""

from __future__ import annotations

import difflib
import importlib
import inspect
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ..errors import error_text


@runtime_checkable
class AseCalculator(Protocol):
    """Any calculator with ASE's interface."""

    def get_potential_energy(self, atoms: Any = None) -> float:
        """Energy in eV."""

    def get_forces(self, atoms: Any = None) -> Any:
        """Forces (n, 3) in eV/A."""


def made(text: str, option: str = "calculator") -> Any:
    """ASE calculator that `module:factory` returns.

    Parameters
    ----------
    text:
        Value of the option.
    option:
        Name of the option without its dashes.

    Raises
    ------
    ValueError
        There is no such factory, it needs arguments, raised an error, or returned something else.
    """
    what = f"`--{option}` {text!r}"
    factory = _factory(text, what)
    if not callable(factory):
        kind = type(factory).__name__
        raise ValueError(f"{what} is an object of {kind}: expected a function or class to call")
    needed = _required_arguments(factory)
    if needed:
        raise ValueError(
            f"{what} needs the arguments {', '.join(needed)}: expected a function without"
            " arguments, such as `def make(): return Calculator(...)` in a file of yours"
        )
    try:
        calculator = factory()
    except (Exception, SystemExit) as error:
        raise ValueError(f"{what} raised {error_text(error)}") from error
    # a class has the methods too, but is no object with results
    if inspect.isclass(calculator):
        raise ValueError(f"{what} returned the class {calculator.__name__}: expected an object")
    if not isinstance(calculator, AseCalculator):
        kind = "None" if calculator is None else f"an object of {type(calculator).__name__}"
        raise ValueError(f"{what} returned {kind}: expected an ASE calculator")
    return calculator


def is_name(text: str) -> bool:
    """Whether a text names a calculator of this package, and no `module:factory`.

    Parameters
    ----------
    text:
        Value of the option.
    """
    if ":" in text and not Path(text).exists():
        return False
    # only here, as they import torch
    from .. import published, store

    return text in store.shipped() or published.is_name(text) or Path(text).exists()


def _factory(text: str, what: str) -> Any:
    """The object that `module:factory` names."""
    module, _, name = text.partition(":")
    if not module or not name or ":" in name:
        raise ValueError(
            f"{what}: expected module:factory, such as ase.calculators.emt:EMT, or a name of"
            " `ase-pet list`"
        )
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise ValueError(f"{what}: its import raised {error_text(error)}") from error
        hint = "; expected module:factory"
        if module.endswith(".py"):
            hint = f"; name a module without .py: {module.removesuffix('.py')}:{name}"
        raise ValueError(f"{what}: {error}{hint}") from error
    except (Exception, SystemExit) as error:
        raise ValueError(f"{what}: its import raised {error_text(error)}") from error
    try:
        return operator.attrgetter(name)(imported)
    except AttributeError as error:
        close = difflib.get_close_matches(name, dir(imported), n=1)
        hint = f"; did you mean {module}:{close[0]}?" if close else ""
        raise ValueError(f"{what}: {module} has no {name}{hint}") from error


def _required_arguments(factory: Callable[..., Any]) -> list[str]:
    """Names of the arguments that a function cannot be called without."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:  # of some compiled functions, which have to be tried
        return []
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty and parameter.kind not in several
    ]
