"""What ASE's readers pass over in silence, and users of a structure have to know."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from . import crystal_checks, xyz_checks
from .crystal_checks import Refused as Refused

XYZ = ("extxyz", "xyz")
KEYS = ("Lattice", "Properties", "pbc")  # of extended XYZ, whose readers distinguish a and A
ROUNDING = 1e-3  # of occupancies, which files give to two digits or three
# words of a LAMMPS file that says which elements its types are
ELEMENTS = (b"Masses", b"Atom Type Labels", b"element", b"mass")
PROPERTIES = r'(^|\s)Properties\s*=\s*"?([^\s"]+)'
BASE_COLUMNS = 4  # of a plain XYZ file: element and position


def check(path: Path, kind: str, frames: Any, index: int | str, name: str) -> None:
    """Refuse or note what ASE reads from a file in silence.

    Parameters
    ----------
    path:
        Path of a file that ASE could read.
    kind:
        Its format.
    frames:
        A structure of it, or a list of them, as ASE read it.
    index:
        Which structures were read.
    name:
        What notes call the file.

    Raises
    ------
    Refused
        Structures after a blank line, which ASE leaves out, values without a column, or what is
        given twice: keys, elements, locations of atoms.
    """
    if kind == "cif":
        crystal_checks.check_cif(path, frames, index, name)
    if kind == "proteindatabank":
        crystal_checks.check_pdb(path, frames, name)
    if kind in XYZ:
        _check_xyz(path, kind, name)


def check_occupancy(atoms: Atoms, where: str) -> None:
    """Raise Refused for sites that are occupied in part, or by several elements.

    ASE puts the element of the largest share there, as if it were the only one.

    Parameters
    ----------
    atoms:
        Structure as ASE read it.
    where:
        What messages call it.
    """
    texts = []
    sites = atoms.info.get("occupancy")
    tables = sites.values() if isinstance(sites, dict) else ()
    # another program may use the same word for something else
    for shares in (table for table in tables if isinstance(table, dict)):
        known = {element: share for element, share in shares.items() if _is_number(share)}
        partial = any(abs(float(share) - 1) > ROUNDING for share in known.values())
        if len(shares) > 1 or partial:
            # the largest share first, whatever the order in the file
            largest = sorted(known.items(), key=lambda item: -item[1])
            texts.append(" + ".join(f"{share} {element}" for element, share in largest))
    # files of proteins: 0 stands for an occupancy that is not given
    column = atoms.arrays.get("occupancy", np.ones(0))
    for atom in np.flatnonzero((column > ROUNDING) & (column < 1 - ROUNDING)):
        texts.append(f"{column[atom]} {atoms[atom].symbol}")
    if texts:
        kinds = ", ".join(list(dict.fromkeys(texts))[:3])
        raise Refused(
            f"{where}: occupancy of {len(texts)} of {len(atoms)} sites is partial or mixed"
            f" ({kinds}): expected an ordered structure, for instance an ordered supercell"
        )


def check_elements(path: Path, kind: str, frames: Any, name: str) -> None:
    """Raise Refused for a LAMMPS file without elements: for ASE, type 1 is hydrogen, 2 is helium.

    Parameters
    ----------
    path:
        Path of the file.
    kind:
        Its format.
    frames:
        A structure of it, or a list of them.
    name:
        What messages call the file.
    """
    if not kind.startswith("lammps"):
        return
    for atoms in [frames] if isinstance(frames, Atoms) else frames:
        types = atoms.arrays.get("type", np.zeros(0))
        if not np.array_equal(types, atoms.numbers):
            continue
        content = path.read_bytes()
        if not any(word in content for word in ELEMENTS):
            raise Refused(
                f"`{name}` does not say which elements its types are: expected masses or type"
                " labels (a column `element` in a dump)"
            )


def check_keys(atoms: Atoms, where: str) -> None:
    """Raise Refused for keys of extended XYZ whose letters have the wrong case.

    ASE would read `lattice="..."` as a remark, and the structure as a molecule.

    Parameters
    ----------
    atoms:
        Structure as ASE read it.
    where:
        What messages call it.
    """
    for key in KEYS:
        misspelt = [name for name in atoms.info if str(name).lower() == key.lower()]
        if misspelt == [key]:  # from another format
            raise Refused(
                f"{where}: `info` has the key `{key}`, with which extended XYZ files give the"
                f" cell, columns and periodicity: delete it, `del atoms.info[{key!r}]`"
            )
        if misspelt:
            raise Refused(f"{where}: the key `{misspelt[0]}` means nothing: expected `{key}`")


def _is_number(value: Any) -> bool:
    """Whether a CIF gives a number, not "?" or "." for one that is not known."""
    return isinstance(value, int | float)


def _check_xyz(path: Path, kind: str, name: str) -> None:
    """Refuse or note what ASE leaves out of an XYZ file."""
    notes = set()
    with path.open() as file:
        lines = iter(file)
        for number, (comment, rows) in enumerate(_frames(lines, name)):
            # plain XYZ has free text there
            if kind == "extxyz":
                _check_said_twice(comment, rows, f"`{name}`, structure {number}")
            notes |= _notes_of_frame(comment, rows, name)
            last = rows[-2:]
    # a file that was cut off between two numbers has no other sign of it
    if len(last) == 2 and not last[1].endswith("\n") and len(last[1]) < len(last[0]) - 1:
        notes.add("its last line is short and does not end: is the file complete?")
    for note in sorted(notes):
        warnings.warn(f"`{name}`: {note}", stacklevel=2)


def _check_said_twice(comment: str, rows: list[str], where: str) -> None:
    """Raise Refused for a structure of extended XYZ that contradicts itself."""
    twice = xyz_checks.repeated(comment)
    if twice:
        raise Refused(f"{where}: the key `{twice[0]}` is given twice in the comment line")
    stated = re.search(PROPERTIES, comment)
    text = xyz_checks.contradiction(stated.group(2), rows) if stated else ""
    if text:
        raise Refused(f"{where}: {text}")


def _frames(lines: Iterator[str], name: str) -> Iterator[tuple[str, list[str]]]:
    """Comment line and lines of the atoms of each structure of an XYZ file."""
    number = 0
    for line in lines:
        if line.startswith("VEC"):  # a cell vector, after the atoms
            continue
        # ASE ends at the first blank line
        if not line.strip():
            if any(rest.strip() for rest in lines):
                raise Refused(
                    f"`{name}` has a blank line after structure {number - 1}, and more text after"
                    " it that is not read: delete the line"
                )
            return
        comment = next(lines, "")
        n_atoms = int(line)
        yield comment, [next(lines, "") for _ in range(n_atoms)]
        number += 1


def _notes_of_frame(comment: str, rows: list[str], name: str) -> set[str]:
    """Notes on a structure of an XYZ file."""
    notes = set()
    lattice = re.search(r"(^|\s)Lattice\s*=", comment)
    if lattice and not re.search(r"(^|\s)pbc\s*=", comment):
        notes.add("no `pbc` beside `Lattice`: taken as periodic in all directions")
    stated = re.search(PROPERTIES, comment)
    columns = BASE_COLUMNS
    if stated:
        columns = sum(int(count) for count in stated.group(2).split(":")[2::3])
    found = len(rows[0].split()) if rows else columns
    if found > columns and stated:
        raise Refused(
            f"`{name}`: a line of an atom has {found} values, but `Properties` names {columns}"
        )
    if found > columns:
        notes.add(f"values after the position ({found - columns} columns) have no name: not used")
    return notes
