"""Folders of results: they are not overwritten unless that is asked for."""

from __future__ import annotations

from pathlib import Path


def require_new(folder: Path, name: str, overwrite: bool) -> None:
    """Raise ValueError if a folder holds results already.

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
