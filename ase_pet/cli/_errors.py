"""One line for an error of any kind, and its exit status."""

from __future__ import annotations

import errno
import tempfile
import traceback
from typing import Any, Protocol, runtime_checkable

from ..errors import WrongResult, error_text, foreign_calculator, is_deliberate, library
from . import screen

LONGEST = 600  # characters of an error of a library
NO_SPACE = ": what is written is incomplete; make space, or write elsewhere, and repeat the command"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # disk, quota, limit of a file
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
    # an error of a worker says where it was raised
    name = vars(error).get("origin") or foreign_calculator(error)
    if name is None and isinstance(error, OSError) and error.errno:
        where = f"`{error.filename}`: " if error.filename else ""
        return f"{where}{error.strerror}{NO_SPACE if error.errno in FULL else ''}"
    if name is None and is_deliberate(error):
        return ". ".join([str(error), *error.__notes__] if _has_notes(error) else [str(error)])

    what = " ".join(error_text(error).split())
    if len(what) > LONGEST:
        what = f"{what[:LONGEST]} ..."
    hint = "" if screen.verbosity.verbose else " (-v shows the traceback)"
    name = name or library(error)
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
    return foreign_calculator(error) is not None


def _has_notes(error: Any) -> bool:
    """Whether `add_note` was called."""
    return "__notes__" in vars(error)


def _written(error: BaseException) -> str:
    """Path of a new file that holds the traceback."""
    text = "".join(traceback.format_exception(error))
    with tempfile.NamedTemporaryFile(
        "w", prefix="ase-pet-", suffix=".log", delete=False, encoding="utf-8"
    ) as file:
        file.write(screen.plain(text))
    return file.name
