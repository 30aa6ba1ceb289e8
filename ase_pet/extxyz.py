"""What the format extxyz cannot hold: one line holds all of `info`, another one each atom."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Protocol, runtime_checkable

import ase.io
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.extxyz import key_val_dict_to_str, key_val_str_to_dict

from .errors import WrongResult
from .results import check

RESERVED = ("Lattice", "Properties", "pbc", "Vacuum", "nAtoms")
KINDS = "iufbU"  # kinds of numpy's types that a column may have
AXES = 2
LABELS = (
    "energy",
    "free_energy",
    "energies",
    "forces",
    "stress",
    "stresses",
    "dipole",
    "charges",
    "magmom",
    "magmoms",
)


@runtime_checkable
class HasResults(Protocol):
    """A calculator that keeps what it computed, as those of ASE do."""

    results: dict[str, Any]


def write(target: Path | IO[str], structures: Sequence[Atoms]) -> None:
    """Write structures without what the format cannot hold.

    Parameters
    ----------
    target:
        Path, or an open file.
    structures:
        Structures, with their calculators if they have them.
    """
    frames = [writable(atoms) for atoms in structures]
    with warnings.catch_warnings():
        # values that have no text at all, such as ASE's adsorption sites
        warnings.filterwarnings("ignore", "Skipping unhashable information")
        ase.io.write(target, frames, format="extxyz")


def writable(atoms: Atoms) -> Atoms:
    """The structure, or a copy without what would make its file unreadable, with a warning.

    Left out are names and texts with line breaks or control characters, names that the format uses
    itself, columns of anything but numbers and words, and results of a calculator that are none,
    such as a stress that is one number. Labels of `info` and columns are replaced by those of the
    calculator, without a warning.

    Parameters
    ----------
    atoms:
        Structure, with its calculator if it has one.
    """
    # ASE refuses a label that the calculator and the structure both have
    if atoms.calc is not None and any(name in [*atoms.info, *atoms.arrays] for name in LABELS):
        calculator = atoms.calc
        atoms = atoms.copy()
        atoms.calc = calculator
        without_labels(atoms)
    entries = [key for key, value in atoms.info.items() if not _fits(key, value)]
    columns = [name for name, array in atoms.arrays.items() if not _is_column(name, array)]
    wrong = _wrong_results(atoms)
    if not entries and not columns and not wrong:
        return atoms
    copy: Atoms = atoms.copy()
    copy.calc = atoms.calc
    if wrong:
        rest = {name: atoms.calc.results.get(name) for name in LABELS if name not in wrong}
        copy.calc = SinglePointCalculator(copy, **rest)
    for key in entries:
        del copy.info[key]
    for name in columns:
        del copy.arrays[name]
    if entries or columns:
        shown = ", ".join(map(repr, [*entries, *columns]))
        warnings.warn(f"left out of extxyz, which cannot hold it: {shown}", stacklevel=2)
    for problem in wrong.values():
        warnings.warn(f"left out of extxyz: {problem}", stacklevel=2)
    return copy


def without_labels(atoms: Atoms) -> None:
    """Remove old energies, forces and other labels from `info` and `arrays` of a structure.

    Parameters
    ----------
    atoms:
        Structure, which is changed.
    """
    for name in LABELS:
        atoms.info.pop(name, None)
        atoms.arrays.pop(name, None)


def _wrong_results(atoms: Atoms) -> dict[str, str]:
    """{name: what is wrong} of results of the calculator of another type or shape, nan or inf."""
    problems: dict[str, str] = {}
    if not isinstance(atoms.calc, HasResults):
        return problems
    for name in [name for name in LABELS if name in atoms.calc.results]:
        try:
            check(name, atoms.calc.results[name], len(atoms), type(atoms.calc).__name__)
        except WrongResult as error:
            problems[name] = str(error)
    return problems


def _fits(key: Any, value: Any) -> bool:
    """Whether an entry of `info` can be read again."""
    if not isinstance(key, str) or key in RESERVED or not key or "=" in key:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            text = key_val_dict_to_str({key: value})
            # ASE leaves out by itself what has no text
            return not text or (text.isprintable() and key in key_val_str_to_dict(text))
    except Exception:  # values of any class
        return False


def _is_column(name: str, array: Any) -> bool:
    """Whether an array can be written as columns."""
    if not name.isprintable() or not name or set(name) & set(' :="'):
        return False
    if array.dtype.kind not in KINDS or array.ndim > AXES:
        return False
    words = array.ravel().tolist() if array.dtype.kind == "U" else []
    return all(word.isprintable() and len(word.split()) == 1 for word in words)
