"""Structures of files that are larger than memory, one after the other."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ase import Atoms

from . import file_checks
from .files import LMDB, check_rows, structures

XYZ = (".extxyz", ".xyz")
LARGE = 2**27  # bytes, above which files of XYZ are read in pieces
PIECE = 2**25  # bytes of a piece


def stream(path: Path) -> Iterator[Atoms]:
    """Structures of a file, as `files.structures` reads them.

    Databases are read row by row, and large files of XYZ in pieces; others are read at once.

    Parameters
    ----------
    path:
        Path of the file.

    Raises
    ------
    ValueError
        The file is empty, damaged or of an unknown format, or a structure is bad.
    """
    if path.suffix == f".{LMDB}":
        yield from check_rows(path)
    elif path.suffix in XYZ and path.stat().st_size > LARGE:
        yield from _in_pieces(path)
    else:
        yield from structures(path)


def _in_pieces(path: Path) -> Iterator[Atoms]:
    """Structures of a file of XYZ."""
    first = 0
    with tempfile.TemporaryDirectory() as folder, path.open("rb") as file:
        piece = Path(folder) / path.name
        while content := _next_piece(file, path):
            piece.write_bytes(content)
            try:
                frames = structures(piece)
            except ValueError as error:
                text = str(error).replace(str(piece), str(path))
                raise ValueError(f"{text} (counted from structure {first})") from None
            yield from frames
            first += len(frames)


def _next_piece(file: BinaryIO, path: Path) -> bytes:
    """Lines of the next structures of a file, about PIECE bytes."""
    lines = []
    size = 0
    while size < PIECE and (header := file.readline()).strip():
        if not header.strip().isdigit():
            shown = header[:40].decode(errors="replace").strip()
            raise ValueError(
                f"`{path}` cannot be read as structures: a number of atoms is {shown!r}"
            )
        frame = [header, *(file.readline() for _ in range(int(header) + 1))]
        lines += frame
        size += sum(map(len, frame))
    # a reader of a piece does not see what is after a blank line
    if size < PIECE and file.read(PIECE).strip():
        raise file_checks.Refused(
            f"`{path}` has structures after a blank line, which would be left out: remove it"
        )
    return b"".join(lines)
