"""Structures from files of any format that ASE reads: the one reader of all commands."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ase.db
import ase.io
import numpy as np
from ase import Atoms
from ase.io.formats import filetype, open_with_compression
from ase.utils import string2index

from ..duplicates import merge_duplicates
from . import file_checks, lmdb_checks

COMPRESSED = (".bz2", ".gz", ".xz")
LMDB = "aselmdb"
DATABASES = ("db", "json", LMDB)


def structures(path: Path | str, index: int | str = ":", format: str | None = None) -> Any:
    """List of ase.Atoms in a file, or one ase.Atoms where index is a number.

    A path that exists is taken as it is, whatever `@` it has; if it does not, `name@3` is structure
    3 of `name`, as in ASE. A compressed file is decompressed once: ASE would start again for each
    structure, and cannot read binary formats.

    Parameters
    ----------
    path:
        Path of the file, whose suffixes say its compression and, unless given, its format.
    index:
        Which structures, as for ase.io.read: ":" all, -1 the last one.
    format:
        Name of the format in ASE, such as "lammps-data"; None for what name and content say.

    Raises
    ------
    ValueError
        The file is empty, damaged or of an unknown format, or a structure in it has positions or a
        cell that are not finite, or sites that are occupied in part.
    OSError
        There is no such file, or it may not be read.
    """
    path = Path(path)
    before, _, selection = str(path).rpartition("@")
    if selection and not path.exists() and Path(before).is_file():
        return _selected(Path(before), selection, index, format)
    if path.is_file() and path.stat().st_size == 0:
        raise ValueError(f"`{path}` is empty: expected structures")
    try:
        if path.suffix in COMPRESSED:
            frames = _decompressed(path, index, format)
        else:
            frames = _read(path, index, format)
    except file_checks.Refused:
        raise
    except Exception as error:  # readers of some hundred formats, each with errors of its own
        # an OSError of the system says all: no such file, no permission
        if isinstance(error, OSError) and error.errno and error.filename:
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
        raise ValueError(
            f"`{path}` cannot be read as structures: {reason} (is it complete, and of the format"
            " that its name says?)"
        ) from None

    if isinstance(frames, Atoms):
        which = "last structure" if index == -1 else f"structure {index}"
        _check(frames, f"`{path}`, {which}")
        return merge_duplicates(frames)
    for number, atoms in enumerate(frames):
        _check(atoms, f"`{path}`, structure {number}")
    return [merge_duplicates(atoms) for atoms in frames]


def _selected(path: Path, selection: str, index: int | str, format: str | None) -> Any:
    """Structures of `path@selection`, or the last of them where index is a number."""
    chosen = string2index(selection)
    if isinstance(chosen, str):
        raise ValueError(f"`{path}@{selection}`: there is no such file, and {chosen!r} is no index")
    frames = structures(path, ":", format)
    try:
        frames = frames[chosen] if isinstance(chosen, slice) else [frames[chosen]]
    except IndexError:
        raise ValueError(f"`{path}` holds {len(frames)} structures: no {selection}") from None
    return frames[index] if isinstance(index, int) else frames


def _decompressed(path: Path, index: int | str, format: str | None) -> Any:
    """Structures of a compressed file."""
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / path.stem
        with open_with_compression(str(path), "rb") as packed, plain.open("wb") as file:
            shutil.copyfileobj(packed, file)
        return _read(plain, index, format, name=path.name)


def _read(path: Path, index: int | str, format: str | None, name: str | None = None) -> Any:
    """Structures of a plain file, which notes call `name`."""
    path.stat()  # some readers of ASE take any text for the address of a database
    kind = LMDB if path.suffix == f".{LMDB}" else format or filetype(str(path))
    if kind in DATABASES:
        return _of_database(path, index, kind)
    frames = ase.io.read(path, index, format=kind, do_not_split_by_at_sign=True)
    file_checks.check(path, kind, frames, index, name or path.name)
    last = frames if isinstance(frames, Atoms) else frames[-1:]
    file_checks.check_elements(path, kind, last, name or path.name)
    return frames


def _of_database(path: Path, index: int | str, kind: str) -> Any:
    """Structures of a database of ASE, with what it holds beside them under the names there."""
    # LMDB is the format of OMat24 and OMol25
    if kind == LMDB:
        lmdb_checks.check(path)
    frames = list(_rows(path, kind))
    selection: Any = string2index(index) if isinstance(index, str) else index
    return frames[selection]


def check_rows(path: Path) -> Iterator[Atoms]:
    """Structures of an LMDB database, one after the other, each with the checks of `structures`.

    Parameters
    ----------
    path:
        Path of the database.

    Raises
    ------
    ValueError
        It is damaged, a structure in it is bad, or ase-db-backends is missing.
    """
    lmdb_checks.check(path)
    rows = _rows(path, LMDB)
    for number in itertools.count():
        try:
            atoms = next(rows, None)
        except Exception as error:  # of LMDB, of its compression, and of its JSON
            reason = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
            raise ValueError(f"`{path}`, structure {number}, cannot be read: {reason}") from None
        if atoms is None:
            return
        _check(atoms, f"`{path}`, structure {number}")
        yield merge_duplicates(atoms)


def _rows(path: Path, kind: str) -> Iterator[Atoms]:
    """Structures of a database, one after the other."""
    # nothing is written, not even a lock
    options = {"readonly": True} if kind == LMDB else {}
    database = ase.db.connect(str(path), type=kind, use_lock_file=False, **options)
    for row in database.select():
        atoms = row.toatoms()
        # splits, weights, and labels under names of their own
        atoms.info.update(row.data)
        atoms.info.update(row.key_value_pairs)
        yield atoms


def _check(atoms: Atoms, where: str) -> None:
    """Refuse numbers that are not finite, partial occupancy, and misspelt keys."""
    values = {"cell": np.asarray(atoms.cell), **atoms.arrays}
    for name in ("cell", "positions", "momenta", "masses"):
        if name in values and not np.isfinite(values[name]).all():
            raise ValueError(f"{where}: `{name}` is not finite")
    file_checks.check_occupancy(atoms, where)
    file_checks.check_keys(atoms, where)
