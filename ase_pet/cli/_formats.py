"""Formats of files of structures, by their names in ASE."""

from __future__ import annotations

import difflib


def check_format(name: str) -> None:
    """Raise ValueError, with the closest names, for a format that ASE does not read.

    Parameters
    ----------
    name:
        Value of --format.
    """
    from ase.io.formats import ioformats

    if name not in ioformats:
        close = difflib.get_close_matches(name, ioformats, n=3) or ["extxyz", "vasp", "lammps-data"]
        raise ValueError(
            f"`--format` is {name!r}: expected the name of a format that ASE reads, such as"
            f" {', '.join(close)}; all of them: ase info --formats"
        )
