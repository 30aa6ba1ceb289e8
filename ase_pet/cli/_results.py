"""Folders of results: writable before work begins, and not overwritten unless that is asked for."""

from __future__ import annotations

import tempfile
from pathlib import Path


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
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise OSError(f"`{name}` {folder} cannot be written: {error.strerror}") from None


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
