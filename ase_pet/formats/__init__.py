"""Readers of checkpoints that other programs wrote: one file per format, see README.md.

Each has `recognises(path) -> bool` and `read(path, ...) -> model`. `BY_CONTENT` says whether
`recognises` looks into files; such formats are tried before those that only look at names.
"""

from __future__ import annotations

from pathlib import Path

from .. import plugins
from ..models.base import AtomisticModel
from ._damage import damage


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
    reason = damage(Path(path))
    if reason is not None:
        raise ValueError(f"`{path}` {reason}")
    raise ValueError(
        f"`{path}` is not a calculator folder nor a checkpoint that can be read: "
        f"known formats are {', '.join(plugins.names(__name__))}"
    )
