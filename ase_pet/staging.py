"""Files of one result: all of them are complete, or none is written."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Folder for new files, which are moved into `folder` once all of them are written.

    A full disk, or Ctrl-C, leaves the files of `folder` as they were.

    Parameters
    ----------
    folder:
        Folder to write to; it is created if needed. Files of the same names are replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # on the same disk, where a move is one step and needs no space
    with tempfile.TemporaryDirectory(dir=folder, prefix=".incomplete-") as name:
        stage = Path(name)
        yield stage
        every = sorted(stage.rglob("*"))
        # reports are the last: one that is there has all of its files
        for is_report in (False, True):
            for path in every:
                if path.is_dir() or is_report != (path.suffix == ".json"):
                    continue
                target = folder / path.relative_to(stage)
                target.parent.mkdir(exist_ok=True)
                os.replace(path, target)
