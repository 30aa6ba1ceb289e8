"""Disorder, origins and atoms on top of each other in files of crystals and proteins."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io.cif import CIFBlock, parse_cif
from ase.neighborlist import neighbor_list

from ..duplicates import merge_duplicates

# tags of a CIF by which ASE finds the symmetry: operations, then names of space groups
OPERATIONS = (
    "_space_group_symop_operation_xyz",
    "_space_group_symop.operation_xyz",
    "_symmetry_equiv_pos_as_xyz",
)
NUMBERS = (
    "_space_group.it_number",
    "_space_group_it_number",
    "_symmetry_int_tables_number",
)
NAMES = (
    "_space_group_name_h-m_alt",
    "_symmetry_space_group_name_h-m",
    "_space_group.patterson_name_h-m",
)
SETTING = "_symmetry_space_group_setting"
DISORDER = ("_atom_site_disorder_group", "_atom_site_disorder_assembly")
UNKNOWN = (None, ".", "?", "")
# numbers of space groups with two choices of the origin
TWO_ORIGINS = {
    *(48, 50, 59, 68, 70, 85, 86, 88, 125, 126, 129, 130),
    *(133, 134, 137, 138, 141, 142, 201, 203, 222, 224, 227, 228),
}
ALTERNATIVES = 0.6  # A, nearer atoms of different groups of disorder are one atom
SHORT = 0.3  # A, shorter than any bond
ATOM_LINES = ("ATOM", "HETATM")
LOCATION = 16  # column of a PDB file


class Refused(ValueError):
    """A file that ASE reads, but not as what it means; the message names the file."""


def check_cif(path: Path, frames: Any, index: int | str, name: str) -> None:
    """Refuse or note what a CIF says and ASE passes over.

    Parameters
    ----------
    path:
        Path of the file.
    frames:
        Structure of it, or list of them.
    index:
        Which structures were read.
    name:
        What messages call the file.

    Raises
    ------
    Refused
        Atoms of several groups of disorder lie on top of each other, or a space group is named in
        a setting that is not applied.
    """
    with path.open("rb") as file:
        blocks = [block for block in parse_cif(file) if block.has_structure()]
    if isinstance(index, int) and len(blocks) > 1:
        names = ", ".join(block.name for block in blocks)
        warnings.warn(
            f"`{name}` holds {len(blocks)} structures ({names}): {blocks[index].name} is used",
            stacklevel=2,
        )
    chosen = [blocks[index]] if isinstance(index, int) else blocks
    if not all(any(tag in block for tag in (*OPERATIONS, *NUMBERS, *NAMES)) for block in chosen):
        warnings.warn(
            f"`{name}` gives no space group and no symmetry operations: only the atoms that it"
            " lists are used",
            stacklevel=2,
        )
    for block, atoms in zip(chosen, _listed(frames), strict=False):
        _check_setting(block, atoms, name)
        groups = {group for tag in DISORDER for group in block.get(tag) or ()}
        if groups.difference(UNKNOWN) and _shortest(atoms) < ALTERNATIVES:
            raise Refused(
                f"`{name}` has groups of disorder, whose atoms lie {_shortest(atoms):.2f} A apart:"
                " expected an ordered structure, with the atoms of one group only"
            )
    _note_short(frames, name)


def check_pdb(path: Path, frames: Any, name: str) -> None:
    """Refuse or note what a PDB file says and ASE passes over.

    Parameters
    ----------
    path:
        Path of the file.
    frames:
        Structure of it, or list of them.
    name:
        What messages call the file.

    Raises
    ------
    Refused
        Some atoms have alternate locations, all of which ASE takes.
    """
    with path.open(errors="replace") as file:
        atoms = [line for line in file if line.startswith(ATOM_LINES)]
    locations = {line[LOCATION : LOCATION + 1] for line in atoms}
    letters = sorted(location for location in locations if location.strip())
    if len(letters) > 1:
        raise Refused(
            f"`{name}` has alternate locations {', '.join(letters)} (column {LOCATION + 1}):"
            " expected one location of each atom, delete the others"
        )
    _note_short(frames, name)


def _check_setting(block: CIFBlock, atoms: Atoms, name: str) -> None:
    """Refuse or note the setting of a space group that a CIF gives without operations."""
    if any(block.get(tag) for tag in OPERATIONS) or SETTING in block:
        return
    group = atoms.info.get("spacegroup")
    if group is None:
        return
    # such as "F d -3 m :2" or "R -3 m :R"
    symbols = [str(block[tag]) for tag in NAMES if tag in block]
    chosen = [symbol.partition(":")[2].strip().lower() for symbol in symbols]
    wrong = [choice for choice in chosen if choice in ("1", "2", "h", "r")]
    wrong = [choice for choice in wrong if choice not in (str(group.setting), " hr"[group.setting])]
    if wrong:
        raise Refused(
            f"`{name}` names setting {wrong[0]!r} of space group {group.no}, and gives no symmetry"
            f" operations: ASE would apply setting {group.setting}. Add the operations, or"
            " _symmetry_space_group_setting 2"
        )
    if group.no in TWO_ORIGINS and not any(chosen):
        warnings.warn(
            f"`{name}`: space group {group.no} has two choices of the origin, and the file gives no"
            f" symmetry operations: origin choice {group.setting} is assumed",
            stacklevel=2,
        )


def _note_short(frames: Any, name: str) -> None:
    """Note atoms on top of each other."""
    for number, atoms in enumerate(_listed(frames)):
        shortest = _shortest(atoms)
        if shortest < SHORT:
            warnings.warn(
                f"`{name}`, structure {number}: atoms {shortest:.2g} A apart, nearer than any bond",
                stacklevel=2,
            )


def _listed(frames: Any) -> Sequence[Atoms]:
    """Structures of a file, of which there may be one."""
    return [frames] if isinstance(frames, Atoms) else list(frames)


def _shortest(atoms: Atoms) -> float:
    """Shortest distance below ALTERNATIVES in A, of atoms that are not duplicates."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # duplicates are noted elsewhere
        merged = merge_duplicates(atoms)
    distances: np.ndarray = neighbor_list("d", merged, ALTERNATIVES)
    return float(distances.min(initial=np.inf))
