"""Errors of calculators, and the text of any error."""

from __future__ import annotations

import linecache
import sys
import traceback
from pathlib import Path
from types import FrameType

PACKAGE = Path(__file__).resolve().parent


class WrongResult(ValueError):
    """A calculator returned something that is no result: another type or shape, nan or inf."""


def error_text(error: BaseException) -> str:
    """Type and text of an error; of errors whose text cannot be made, the type.

    Parameters
    ----------
    error:
        What was raised, by any library.
    """
    try:
        text = str(error)
    except Exception:  # classes of other packages
        text = ""
    return f"{type(error).__name__}: {text}".removesuffix(": ")


def origin(error: BaseException) -> str:
    """Where an error was raised: a foreign calculator, a library, or "" where it explains itself.

    Parameters
    ----------
    error:
        What was raised.
    """
    name = foreign_calculator(error)
    if name is not None:
        return name
    if is_deliberate(error) or (isinstance(error, OSError) and error.errno):
        return ""
    return library(error) or PACKAGE.name


def foreign_calculator(error: BaseException) -> str | None:
    """Class of the calculator of another package in which an error was raised, else None.

    Parameters
    ----------
    error:
        What was raised. This package raises WrongResult about such calculators.
    """
    module = sys.modules.get("ase.calculators.calculator")
    if module is None or isinstance(error, WrongResult):
        return None
    for frame in reversed(_frames(error)):
        owner = frame.f_locals.get("self")
        if isinstance(owner, module.BaseCalculator):
            own = type(owner).__module__.partition(".")[0] == PACKAGE.name
            return None if own else type(owner).__name__
    return None


def is_deliberate(error: BaseException) -> bool:
    """Whether a `raise` of this package, or no code at all, made the error.

    Parameters
    ----------
    error:
        What was raised.
    """
    if error.__traceback__ is None:
        return True
    *_, (frame, number) = traceback.walk_tb(error.__traceback__)
    path = frame.f_code.co_filename
    source = linecache.getline(path, number).strip()
    return Path(path).is_relative_to(PACKAGE) and source.startswith("raise")


def library(error: BaseException) -> str | None:
    """Name of the package in which an error was raised, None for this one.

    Parameters
    ----------
    error:
        What was raised.
    """
    frames = _frames(error)
    name = str(frames[-1].f_globals.get("__name__", "")).partition(".")[0] if frames else ""
    return None if name in (PACKAGE.name, "__main__", "") else name


def _frames(error: BaseException) -> list[FrameType]:
    """Frames of the traceback of an error, the innermost last."""
    return [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
