"""Labelled structures: energies, forces and stresses of a calculator, written as they come."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.singlepoint import SinglePointCalculator

from . import executors
from .constraints import without
from .errors import WrongResult, error_text
from .graph import chunking
from .phonons._protocols import SupportsBatches
from .results import check

ALWAYS = ("energy", "free_energy", "forces")
# ASE's names of labels that are written where the calculator has them
OPTIONAL = ("stress", "dipole", "energies", "magmom", "magmoms", "charges")
UNCERTAINTIES = ("energy_uncertainty", "energies_uncertainty")
PER_ATOM = ("forces", "energies", "magmoms", "charges")
SOURCE = "source"  # key of `info`: file and index of a structure
CHUNK_ATOMS = 2048  # atoms that are passed to `evaluate` at once, and that an interrupt may lose
JOB_ATOMS = 256  # the same for one job of a worker
SAME_ENERGY = 1e-5  # eV per atom between two evaluations of a structure, in float32
COMPARED = 10  # structures that are evaluated again before a run continues
SAME_POSITION = 1e-6  # A; extxyz holds eight decimals


@runtime_checkable
class StatesProperties(Protocol):
    """A calculator that says what it computes, as those of ASE do."""

    implemented_properties: Sequence[str]


@dataclass(frozen=True)
class Failure:
    """A structure that has no labels.

    Attributes
    ----------
    source:
        File and index of the structure, such as "water.xyz:3".
    error:
        Message of the calculator.
    """

    source: str
    error: str


def label(
    calculator: Any,
    structures: Sequence[Atoms],
    sources: Sequence[str] | None = None,
    executor: Any = None,
) -> Iterator[Atoms | Failure]:
    """Labelled copy of each structure, in order, or a Failure in its place.

    Labels are energy (eV), free_energy, forces (eV/A), stress (eV/A^3) where all three directions
    are periodic, and what else the calculator has: a dipole, energies of atoms, uncertainties
    (energy_uncertainty in `info`, energies_uncertainty in `arrays`, in eV). Forces are those of the
    calculator; constraints are left out, with a warning. Old labels are replaced.

    Parameters
    ----------
    calculator:
        Any ASE calculator. One with `evaluate` is given many structures at once.
    structures:
        Structures.
    sources:
        Name of each structure in messages; None for their numbers, from 0.
    executor:
        Processes that share the work, see `ase_pet.executors`; None for this one.
    """
    names = [str(k) for k in range(len(structures))] if sources is None else sources
    constrained = [atoms for atoms in structures if atoms.constraints]
    if constrained:
        without(constrained[0], "labels")  # one warning for all
    most_atoms = CHUNK_ATOMS if executor is None else JOB_ATOMS
    chunks = chunking.split([len(atoms) for atoms in structures], most_atoms)
    parts = [structures[chunk] for chunk in chunks]
    found = executors.stream(executor, calculator, _results, parts)
    for chunk, rows in zip(chunks, found, strict=True):
        for atoms, row, name in zip(structures[chunk], rows, names[chunk], strict=True):
            if isinstance(row, str):
                yield Failure(name, row)
                continue
            wrong = [key for key, value in row.items() if not np.isfinite(value).all()]
            if wrong:
                yield Failure(name, f"the calculator returned {', '.join(wrong)} with nan or inf")
            else:
                yield _labelled(atoms, row, name)


def renamed(atoms: Atoms, prefix: str) -> Atoms:
    """The labelled structure, with its labels under other names in `info` and `arrays`.

    Parameters
    ----------
    atoms:
        Structure with its labels.
    prefix:
        Beginning of the names; "" leaves the structure as it is.
    """
    if not prefix or atoms.calc is None:
        return atoms
    copy: Atoms = atoms.copy()
    for name, value in atoms.calc.results.items():
        place = copy.arrays if name in PER_ATOM else copy.info
        place[prefix + name] = value
    return copy


def _named(frame: Atoms, prefix: str) -> Atoms:
    """The structure of a file, with labels of a prefix as those of ASE."""
    results = {}
    for place in (frame.arrays, frame.info):
        for key in [key for key in place if key.startswith(prefix)]:
            name = key.removeprefix(prefix)
            if name in (*ALWAYS, *OPTIONAL):
                results[name] = place.pop(key)
    if results:
        frame.calc = SinglePointCalculator(frame, **results)
    return frame


def remaining(
    path: Path,
    calculator: Any,
    structures: Sequence[Atoms],
    names: list[str],
    prefix: str = "",
) -> int:
    """Number of structures that need no label any more, as an interrupted run wrote theirs.

    A frame at the end of the file that was cut off is removed from it. Each frame is compared with
    its structure; a few of them, the first and the last too, are evaluated again.

    Parameters
    ----------
    path:
        File of labelled structures.
    calculator:
        Calculator of the labels.
    structures:
        All structures to label.
    names:
        Their sources.
    prefix:
        Beginning of the names of labels in the file, see `renamed`.

    Raises
    ------
    ValueError
        The file holds other structures, or labels of another calculator.
    """
    frames = _whole_frames(path)
    if prefix:
        frames = [_named(frame, prefix) for frame in frames]
    position = -1
    for frame in frames:
        source = frame.info.get(SOURCE)
        # failed structures are missing, but the order stays
        if source not in names[position + 1 :]:
            raise ValueError(
                f"`output` {path} holds a structure from {source!r}, which is not among those to"
                " label, or in another order: resume with the same files"
            )
        position = names.index(source, position + 1)
        _require_same(path, frame, structures[position])
    # the time of a restart must stay short
    for row in sorted(set(np.linspace(0, len(frames) - 1, COMPARED).round().astype(int))):
        if frames:
            structure = structures[names.index(frames[row].info[SOURCE])]
            _require_same_energy(path, calculator, frames[row], structure)
    return position + 1


def _results(calculator: Any, structures: Sequence[Atoms]) -> list[dict[str, Any] | str]:
    """Results of each structure, or the text of the error of the calculator."""
    if isinstance(calculator, SupportsBatches) and len(structures) > 1:
        # one bad structure fails its batch: the structures are then tried one by one
        with contextlib.suppress(Exception):
            return _batch(calculator, structures)
    results: list[dict[str, Any] | str] = []
    for atoms in structures:
        try:
            results.append(_one(calculator, atoms))
        except Exception as error:  # foreign calculators have errors of their own
            known = isinstance(error, WrongResult)
            results.append(str(error) if known else error_text(error))
    return results


def _batch(calculator: SupportsBatches, structures: Sequence[Atoms]) -> list[dict[str, Any] | str]:
    """Results of many structures at once: those with a stress, and those without."""
    results: dict[int, dict[str, Any]] = {}
    for periodic in (True, False):
        rows = [k for k, atoms in enumerate(structures) if atoms.pbc.all() == periodic]
        if not rows:
            continue
        # molecules have no stress
        names = _properties(calculator, structures[rows[0]])
        values = calculator.evaluate([structures[k] for k in rows], names)
        results.update(zip(rows, values, strict=True))
    return [results[k] for k in range(len(structures))]


def _one(calculator: Any, atoms: Atoms) -> dict[str, Any]:
    """Results of one structure; what the calculator lacks for it is left out."""
    free = without(atoms)
    results = {}
    # forces first: calculators compute the energy with them
    for name in sorted(_properties(calculator, atoms), key=lambda name: name != "forces"):
        try:
            value = calculator.get_property(name, free)
            # nan and inf have a message of their own, of all properties
            results[name] = check(name, value, len(free), type(calculator).__name__, finite=False)
        except PropertyNotImplementedError:
            if name in ("energy", "forces"):
                raise
    return results


def _properties(calculator: Any, atoms: Atoms) -> list[str]:
    """Names of the labels of a structure."""
    if not isinstance(calculator, StatesProperties):
        return ["energy", "forces"]
    implemented = calculator.implemented_properties
    names = ["energy", "forces"]
    for name in (*ALWAYS, *OPTIONAL, *UNCERTAINTIES):
        if name in implemented and name not in names:
            names.append(name)
    if not atoms.pbc.all() and "stress" in names:
        names.remove("stress")
    return names


def _labelled(atoms: Atoms, row: dict[str, Any], source: str) -> Atoms:
    """Copy of a structure with its labels and its source."""
    copy = without(atoms)
    for name in (*ALWAYS, *OPTIONAL, *UNCERTAINTIES):
        copy.info.pop(name, None)
        copy.arrays.pop(name, None)
    copy.info[SOURCE] = source
    # ASE's calculator of stored results takes its own properties only
    row = dict(row)
    for name in UNCERTAINTIES:
        if name not in row:
            continue
        value = row.pop(name)
        if np.ndim(value):
            copy.arrays[name] = np.asarray(value)
        else:
            copy.info[name] = float(value)
    copy.calc = SinglePointCalculator(copy, **row)
    return copy


def _whole_frames(path: Path) -> list[Atoms]:
    """Frames of a file; a last one that is cut off is removed from the file."""
    # bytes: the last letter may be cut off, too
    lines = path.read_bytes().splitlines(keepends=True)
    start = 0
    # a frame is the number of atoms, a comment and the atoms
    while start < len(lines):
        if not lines[start].strip().isdigit():
            raise ValueError(f"`output` {path}, line {start + 1}: this is no file of labels")
        end = start + 2 + int(lines[start])
        if end > len(lines) or not lines[end - 1].endswith(b"\n"):
            break
        start = end
    # cut, not written anew: a full disk must not cost the labels that are there
    os.truncate(path, sum(map(len, lines[:start])))
    frames: Any = ase.io.read(path, ":", format="extxyz") if start else []
    return list(frames)


def _require_same(path: Path, frame: Atoms, structure: Atoms) -> None:
    """Raise ValueError if a frame is not the structure of its source, or has no labels."""
    source = frame.info[SOURCE]
    before = _state(frame)
    for name, now in _state(structure).items():
        then = before[name]
        # positions of the file have eight decimals
        if now.shape != then.shape or np.abs(now - then).max(initial=0.0) >= SAME_POSITION:
            raise ValueError(
                f"`output` {path} holds another structure as {source}, with other {name}: the file"
                " of structures has changed since; remove the output, or resume with the same files"
            )
    labels = {} if frame.calc is None else frame.calc.results
    for name in ("energy", "forces"):
        if name not in labels or not np.isfinite(labels[name]).all():
            raise ValueError(f"`output` {path} holds no {name} of {source}: remove the output")


def _state(atoms: Atoms) -> dict[str, np.ndarray]:
    """What the energy and later uses of a structure depend on, as numbers."""
    state = {
        "atoms": atoms.numbers,
        "positions": atoms.positions,
        "cell": atoms.cell.array,
        "pbc": atoms.pbc.astype(int),
        "masses": atoms.get_masses(),
        "magnetic moments": atoms.get_initial_magnetic_moments(),
        "initial charges": atoms.get_initial_charges(),
    }
    for name in ("charge", "spin"):
        values: Any = [atoms.info[name]] if name in atoms.info else []
        try:
            state[name] = np.array(values, dtype=float)
        except (TypeError, ValueError):  # the calculator says what is wrong with it
            state[name] = np.empty(0)
    return state


def _require_same_energy(path: Path, calculator: Any, frame: Atoms, structure: Atoms) -> None:
    """Raise ValueError if the label of a frame is not the energy of the calculator."""
    free = without(structure)
    value = calculator.get_property("energy", free)
    energy = check("energy", value, len(free), type(calculator).__name__)
    if not abs(energy - frame.get_potential_energy()) <= SAME_ENERGY * len(frame):
        raise ValueError(
            f"`output` {path} holds labels of another calculator: {frame.info[SOURCE]} has"
            f" {frame.get_potential_energy():.6f} eV there and {energy:.6f} eV now"
        )
