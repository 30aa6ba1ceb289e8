"""Readers of checkpoints that other programs wrote: one file per format, see README.md.

Each has `recognises(path) -> bool` and `read(path, ...) -> model`. `BY_CONTENT` says whether
`recognises` looks into files; such formats are tried before those that only look at names.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from .. import plugins
from ..models.base import AtomisticModel
from ._archive import ZIP_ERRORS


def read(path: str | Path) -> AtomisticModel:
    """Model of a checkpoint in any known format.

    Parameters
    ----------
    path:
        Path of the checkpoint, a file or a folder.

    Raises
    ------
    ValueError
        No format recognises the checkpoint, or it is damaged or not supported.
    """
    modules = [plugins.load(__name__, name) for name in plugins.names(__name__)]
    for module in sorted(modules, key=lambda module: not module.BY_CONTENT):
        if module.recognises(path):
            model: AtomisticModel = module.read(path)
            return model
    if _is_cut_off(Path(path)):
        raise ValueError(
            f"`{path}` is damaged or incomplete: a ZIP archive that has lost its end; copy or"
            " download it again"
        )
    raise ValueError(
        f"`{path}` is not a calculator folder nor a checkpoint that can be read: "
        f"known formats are {', '.join(plugins.names(__name__))}"
    )


def _is_cut_off(path: Path) -> bool:
    """Whether a file begins as a ZIP archive but lacks the list of its records.

    A list that does not begin with the first record is that of an archive within this one.
    """
    if not path.is_file():
        return False
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return False
    try:
        with zipfile.ZipFile(path) as archive:
            return all(record.header_offset > 0 for record in archive.infolist())
    except (*ZIP_ERRORS, OSError):
        return True
