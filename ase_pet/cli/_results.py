"""Folders of results: writable before work begins, and not overwritten unless that is asked for."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import screen

PROBE = 1_000_000  # bytes, of results without their trajectories

_held: dict[Path, tuple[int, list[Path]]] = {}  # descriptor, and folders made, of those held


def require_writable(folder: Path, name: str = "output") -> None:
    """Raise OSError if files cannot be written to a folder, which may not exist yet.

    Hours of work are lost if that is noticed at their end.

    Parameters
    ----------
    folder:
        Folder to write to.
    name:
        Name of the option.
    """
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    try:
        # a file that has no name, or only for a moment: bad input shall leave nothing behind
        with tempfile.TemporaryFile(dir=existing) as file:
            # a full disk is noticed before the work as well
            file.write(bytes(PROBE))
    except OSError as error:
        raise OSError(f"`{name}` {folder} cannot be written: {error.strerror}") from None


@contextlib.contextmanager
def printed_if_unwritten(content: dict[str, Any]) -> Iterator[None]:
    """Print results as JSON if their files cannot be written: hours of work may be in them.

    Parameters
    ----------
    content:
        All numbers of the results.
    """
    try:
        yield
    except OSError:
        screen.print_json(content)
        screen.note("the results that could not be written are on stdout")
        raise


def require_new(folder: Path, name: str, overwrite: bool) -> None:
    """Raise ValueError if a folder holds results already, OSError if it cannot be written.

    Parameters
    ----------
    folder:
        Folder to write to.
    name:
        Name of the file of results.
    overwrite:
        Whether the user allows to replace them.
    """
    path = folder / name
    if path.exists() and not overwrite:
        raise ValueError(
            f"`output` {folder} holds results ({name}): name another folder, or replace them with"
            " --overwrite"
        )
    require_writable(folder)
    hold(folder)


def hold(folder: Path) -> None:
    """Keep other commands out of a folder of results until `release`, or the end of the process.

    The folder is made if it is missing.

    Parameters
    ----------
    folder:
        Folder to write to.

    Raises
    ------
    BlockingIOError
        Another command writes to it.
    """
    path = folder.absolute()
    if path in _held:
        return
    made = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    # a lock on the folder itself leaves no file behind
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise BlockingIOError(
            f"`output` {folder} belongs to a command that is running: wait for it, or name another"
            " folder"
        ) from None
    except OSError:
        pass  # some file systems of clusters have no locks: the command goes on without one
    _held[path] = (descriptor, made)


def release() -> None:
    """Let go of the folders that are held, and remove those made that are empty."""
    while _held:
        _, (descriptor, made) = _held.popitem()
        os.close(descriptor)
        with contextlib.suppress(OSError):  # the first folder that is not empty
            for path in made:
                path.rmdir()
