"""Structures with labels from files of any format that ASE reads."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import ase.io
from ase.io.formats import filetype, open_with_compression

COMPRESSED = (".bz2", ".gz", ".xz")


def structures(path: Path | str, index: int | str = ":") -> Any:
    """List of ase.Atoms in a file, or one ase.Atoms where index is a number.

    A compressed file is decompressed once into memory: ASE seeks in a file for each structure, and
    would decompress it from its start each time.

    Parameters
    ----------
    path:
        Path of the file, whose suffixes say its format and its compression.
    index:
        Which structures, as for ase.io.read: ":" all, -1 the last one.
    """
    path = Path(path)
    if path.suffix not in COMPRESSED:
        return ase.io.read(path, index)
    with open_with_compression(str(path)) as file:
        content = io.StringIO(file.read())
    return ase.io.read(content, index, format=filetype(path.stem, read=False))
