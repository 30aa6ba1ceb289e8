"""One line for an error of any kind, and its exit status."""

from __future__ import annotations

import linecache
import sys
import tempfile
import traceback
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Protocol, runtime_checkable

from ..errors import WrongResult, error_text
from . import screen

PACKAGE = Path(__file__).resolve().parent.parent
LONGEST = 600  # characters of an error of a library
FAILED = 1
BAD_INPUT = 2


@runtime_checkable
class UsageError(Protocol):
    """An error of the command line itself, of typer or click."""

    exit_code: int
    ctx: Any

    def format_message(self) -> str:
        """Text for the user."""


def status(error: BaseException) -> int:
    """Exit status: 1 where a run failed, as RuntimeErrors of this package say, else 2.

    Parameters
    ----------
    error:
        What was raised.
    """
    own = type(error).__module__.partition(".")[0] == "ase_pet"
    failed = isinstance(error, RuntimeError) and not isinstance(error, WrongResult)
    return FAILED if own and failed else BAD_INPUT


def line(error: BaseException) -> str:
    """Text of an error; of a library or foreign calculator with its name and the error's type.

    Errors that this package raises on purpose explain themselves. Any other one is a fault of
    ase_pet, and its traceback is written to a file.

    Parameters
    ----------
    error:
        What was raised.
    """
    if isinstance(error, UsageError):
        command = error.ctx.command_path if error.ctx else "ase-pet"
        message = error.format_message()  # "" where the help itself was shown
        return message and f"{message.removesuffix('.')} (see {command} --help)"
    if screen.verbosity.verbose:
        screen.note("".join(traceback.format_exception(error)).rstrip())
    frames = _frames(error)
    name = None if isinstance(error, WrongResult) else _foreign_calculator(frames)
    if name is None and isinstance(error, OSError) and error.errno:
        return f"`{error.filename}`: {error.strerror}" if error.filename else str(error.strerror)
    if name is None and _is_deliberate(error.__traceback__):
        return ". ".join([str(error), *error.__notes__] if _has_notes(error) else [str(error)])

    what = " ".join(error_text(error).split())
    if len(what) > LONGEST:
        what = f"{what[:LONGEST]} ..."
    hint = "" if screen.verbosity.verbose else " (-v shows the traceback)"
    name = name or _library(frames)
    if name is not None:
        return f"{name}: {what}{hint}"
    return f"internal error: {what}; please report it, with {_written(error)}"


def is_foreign(error: BaseException) -> bool:
    """Whether a calculator of another package raised an error.

    Parameters
    ----------
    error:
        What was raised.
    """
    return _foreign_calculator(_frames(error)) is not None


def _frames(error: BaseException) -> list[FrameType]:
    """Frames of the traceback of an error, the innermost last."""
    return [frame for frame, _ in traceback.walk_tb(error.__traceback__)]


def _has_notes(error: Any) -> bool:
    """Whether `add_note` was called."""
    return "__notes__" in vars(error)


def _foreign_calculator(frames: list[FrameType]) -> str | None:
    """Class of the calculator of another package in which an error was raised, else None."""
    module = sys.modules.get("ase.calculators.calculator")
    if module is None:
        return None
    for frame in reversed(frames):
        owner = frame.f_locals.get("self")
        if isinstance(owner, module.BaseCalculator):
            own = type(owner).__module__.partition(".")[0] == "ase_pet"
            return None if own else type(owner).__name__
    return None


def _is_deliberate(trace: TracebackType | None) -> bool:
    """Whether a `raise` of this package, or no code at all, made the error."""
    if trace is None:
        return True
    *_, (frame, number) = traceback.walk_tb(trace)
    path = frame.f_code.co_filename
    source = linecache.getline(path, number).strip()
    return Path(path).is_relative_to(PACKAGE) and source.startswith("raise")


def _library(frames: list[FrameType]) -> str | None:
    """Name of the package in which an error was raised, None for this one."""
    name = str(frames[-1].f_globals.get("__name__", "")).partition(".")[0] if frames else ""
    return None if name in ("ase_pet", "__main__", "") else name


def _written(error: BaseException) -> str:
    """Path of a new file that holds the traceback."""
    text = "".join(traceback.format_exception(error))
    with tempfile.NamedTemporaryFile(
        "w", prefix="ase-pet-", suffix=".log", delete=False, encoding="utf-8"
    ) as file:
        file.write(screen.plain(text))
    return file.name
