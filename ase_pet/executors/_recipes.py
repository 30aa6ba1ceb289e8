"""How workers make calculators: what is sent to them, and what they keep."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from ..errors import error_text

KEPT = 2  # calculators that a worker keeps

_kept: dict[str, Any] = {}  # of this worker, the one used last at the end
_makers: weakref.WeakKeyDictionary[Any, Callable[[], Any]] = weakref.WeakKeyDictionary()


@runtime_checkable
class Remade(Protocol):
    """A calculator that its arguments make again."""

    def todict(self) -> dict[str, Any]:
        """Arguments of the calculator."""

    @classmethod
    def fromdict(cls, arguments: dict[str, Any]) -> Any:
        """The calculator of these arguments."""

    def fingerprint(self) -> str:
        """Hash of its model."""


@runtime_checkable
class HasParameters(Protocol):
    """A calculator of ASE."""

    def todict(self) -> dict[str, Any]:
        """Its parameters."""


@dataclass(frozen=True)
class Recipe:
    """How a worker makes the calculator.

    Attributes
    ----------
    content:
        Pickle of a function without arguments that returns it.
    model:
        Name of its model, "" if it is not loaded by name.
    fingerprint:
        Hash of that model.
    """

    content: bytes
    model: str = ""
    fingerprint: str = ""

    @property
    def key(self) -> str:
        """Name under which a worker keeps the calculator."""
        return hashlib.sha256(self.content + self.fingerprint.encode()).hexdigest()


def made_by(calculator: Any, maker: Callable[[], Any]) -> Any:
    """The calculator itself; from now on workers call `maker` for one like it.

    Parameters
    ----------
    calculator:
        Calculator that may hold what cannot be pickled.
    maker:
        Function of a module, that workers can import.
    """
    with contextlib.suppress(TypeError):  # of classes without weak references
        _makers[calculator] = maker
    return calculator


def calculator_of(recipe: Recipe) -> Any:
    """The calculator of this worker, made once.

    Parameters
    ----------
    recipe:
        How to make it.

    Raises
    ------
    ValueError
        It has other weights than that of the user.
    """
    key = recipe.key
    calculator = _kept.pop(key, None)
    if calculator is None:
        if "OMP_NUM_THREADS" not in os.environ:
            # workers share the cores: more threads would wait for each other
            torch.set_num_threads(1)
        calculator = pickle.loads(recipe.content)()
        if recipe.fingerprint and calculator.fingerprint() != recipe.fingerprint:
            raise ValueError(
                f"`model` {recipe.model} has other weights in a worker than here: they were changed"
                " after they were loaded, or the worker finds other files; write the calculator to"
                " a folder that all workers can read"
            )
        while len(_kept) >= KEPT:
            _kept.pop(next(iter(_kept)))
    _kept[key] = calculator
    return calculator


def recipe_of(calculator: Any) -> Recipe:
    """How a worker makes a calculator like this one.

    Parameters
    ----------
    calculator:
        Any ASE calculator.

    Raises
    ------
    ValueError
        It cannot be sent.
    """
    try:
        if calculator in _makers:
            return Recipe(pickle.dumps(_makers[calculator]))
    except TypeError:  # an object without a hash has no function
        pass
    try:
        arguments = calculator.todict() if isinstance(calculator, Remade) else {}
        if "model" not in arguments:
            return Recipe(pickle.dumps(functools.partial(_itself, calculator)))
        arguments["model"] = _absolute(arguments["model"])
        make = functools.partial(type(calculator).fromdict, arguments)
        return Recipe(pickle.dumps(make), arguments["model"], calculator.fingerprint())
    except Exception as error:  # of pickle, and of any class
        kind: Any = type(calculator)
        # the calculators of ASE are defined by their parameters, and may hold functions
        if kind.__module__.startswith("ase.") and isinstance(calculator, HasParameters):
            return Recipe(pickle.dumps(functools.partial(kind, **calculator.todict())))
        raise ValueError(
            f"`executor`: {kind.__name__} cannot be sent to workers ({error_text(error)}): expected"
            " a calculator that can be pickled"
        ) from None


def _itself(calculator: Any) -> Any:
    """The calculator, which was pickled as it is."""
    return calculator


def _absolute(model: str) -> str:
    """Path of a model that does not depend on the folder of a worker; names stay as they are."""
    path = Path(model)
    is_path = len(path.parts) > 1 or path.suffix != ""
    return str(path.resolve()) if is_path and path.exists() else model
