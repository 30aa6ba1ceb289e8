"""Reference energies, forces, stresses and dipoles of a structure, under whatever names.

The names of ASE are `energy` (eV), `forces` (eV/A), `stress` (eV/A^3, positive under tension) and
`dipole` (e A). Some programs use other names with one meaning only, see `CONVENTIONS`. Any other
name has to be given: no label is left out in silence.
"""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import ase
import numpy as np
from ase.stress import voigt_6_to_full_3x3_stress

from . import constrained
from .schema import Keys

KINDS = ("energy", "forces", "stress", "dipole")
# what each key of [keys] is a name of: (kind of label, unit)
MEANINGS = {
    "energy": ("energy", "eV"),
    "forces": ("forces", "eV/A"),
    "stress": ("stress", "eV/A^3"),
    "virial": ("stress", "eV, -stress times volume"),
    "dipole": ("dipole", "e A"),
}
# names that are read without being given: {name: key of [keys] whose meaning it has}
CONVENTIONS = {
    "energy": "energy",
    "free_energy": "energy",
    "forces": "forces",
    "force": "forces",
    "stress": "stress",
    "virial": "virial",
    "virials": "virial",
    "dipole": "dipole",
}
REDUNDANT = ("free_energy", "virial", "virials")  # beside `energy` and `stress`
# how other names look that may mean a label
LOOKS = {
    "energy": r".*energy.*|e_?(0|tot|ref|dft)?|etot",
    "forces": r".*(force|grad).*|f_?(ref|dft)?",
    "stress": r".*(stress|virial).*",
    "dipole": r".*dipole.*|mu",
}
# names that look like labels, but are something about them
NO_LABELS = r".*(uncertainty|std|sigma|error|cutoff|tolerance|correction|kinetic|weight).*"
# arrays of vectors that are certainly no forces
NO_FORCES = {"positions", "momenta", "initial_magmoms", "magmoms", "vel", "velo", "velocities"}
LARGEST = 1e6  # eV per atom, eV/A: beyond all electrons and all nuclei
ASYMMETRY = 0.05  # of a stress, relative to its largest component
SMALL_STRESS = 1e-3  # eV/A^3, below which a stress may be noise


@dataclass
class Notes:
    """Notes on structures, collected so that thousands of them give one line for each kind."""

    places: dict[str, list[str]] = field(default_factory=dict)  # {note: structures}

    def add(self, note: str, where: str) -> None:
        """Add a note on a structure.

        Parameters
        ----------
        note:
            Text, the same for structures of the same kind.
        where:
            What messages call the structure.
        """
        self.places.setdefault(note, []).append(where)

    def warn(self) -> None:
        """Give each note as a warning, with the first of its structures, and forget it."""
        for note, places in self.places.items():
            first, *others = dict.fromkeys(places)
            more = f" and {len(others)} more" if others else ""
            warnings.warn(f"{first}{more}: {note}", stacklevel=3)
        self.places.clear()


def of_structure(
    atoms: ase.Atoms, keys: Keys, where: str, notes: Notes, dipole: bool = True
) -> dict[str, np.ndarray]:
    """Labels of a structure of n atoms, those that it has, in ASE's units and signs.

    {"energy": () eV, "forces": (n, 3) eV/A, "stress": (3, 3) eV/A^3, "dipole": (3,) e A}. Forces
    are raw: where constraints have changed them they are NaN, not known.

    Parameters
    ----------
    atoms:
        Structure whose calculator, `info` and `arrays` hold the labels.
    keys:
        Names of the labels.
    where:
        What messages call the structure.
    notes:
        Notes, to which those on this structure are added.
    dipole:
        Whether dipoles are wanted.

    Raises
    ------
    ValueError
        A label is not finite or has a wrong shape, or has a name that means nothing.
    """
    values = held(atoms)
    kinds = KINDS if dipole else KINDS[:-1]
    sources = {kind: _source(kind, keys, values, where, notes) for kind in kinds}
    _check_named(sources, keys, values, where)
    if sources["forces"] is None and keys.forces is None:
        for name in sorted(atoms.arrays.keys() - NO_FORCES):
            if _shape(atoms.arrays[name]) == (len(atoms), 3):
                notes.add(
                    f"no forces, and `{name}`, three numbers for each atom, is not used", where
                )
    labels: dict[str, np.ndarray] = {}
    for kind, source in sources.items():
        if source is None:
            continue
        name, key = source
        value = _number(name, key, values[name], len(atoms), where)
        if kind == "stress":
            if not (atoms.cell.rank == 3 and atoms.pbc.any()):
                notes.add("stress without a periodic cell, so without a volume: not used", where)
                continue
            value = -value / atoms.cell.volume if key == "virial" else value
            _check_virial(value, keys, values, atoms, where)
        labels[kind] = value
    for note in constrained.leave_out(labels, atoms):
        notes.add(note, where)
    return labels


def held(atoms: ase.Atoms) -> dict[str, Any]:
    """All that a structure holds under a name: entries of `arrays` and `info`, results.

    Parameters
    ----------
    atoms:
        Structure.
    """
    arrays = dict(atoms.arrays)
    del arrays["numbers"], arrays["positions"]
    results: Mapping[str, Any] = atoms.calc.results if atoms.calc is not None else {}
    found = {**arrays, **atoms.info, **results}
    return {str(name): value for name, value in found.items() if value is not None}


def check_found(keys: Keys, found: set[str], files: str) -> None:
    """Raise ValueError for a name that was given and that no structure has.

    Parameters
    ----------
    keys:
        Names of the labels.
    found:
        Names under which structures hold something.
    files:
        What the message calls the data.
    """
    for key in MEANINGS:
        name = getattr(keys, key)
        if name and name not in found:
            raise ValueError(f"{files}: no structure has `{name}`, the name in `keys.{key}`")


def parse(text: str | None) -> Keys:
    """Names of labels of a text such as "energy=REF_energy,forces=REF_forces".

    Parameters
    ----------
    text:
        Value of an option; None for names of ASE.

    Raises
    ------
    ValueError
        The text has another form or an unknown kind of label.
    """
    given = {}
    for part in (text or "").split(","):
        key, separator, name = part.partition("=")
        if part and not (separator and key.strip() in MEANINGS):
            raise ValueError(f"`--keys` is {text!r}: {_wrong_key(part, key.strip(), separator)}")
        if part:
            given[key.strip()] = name.strip()
    return Keys(**given)


def _wrong_key(part: str, key: str, separator: str) -> str:
    """What is wrong with a part of a text of keys, and what is expected."""
    expected = f"expected such as energy=REF_energy,forces=REF_forces, of {', '.join(MEANINGS)}"
    if not separator:
        return f"{part.strip()!r} has no `=`; {expected}"
    close = difflib.get_close_matches(key, MEANINGS, n=1)
    hint = f", did you mean `{close[0]}`?" if close else ""
    return f"there is no key `{key}`{hint or ';'} {expected}"


def _source(
    kind: str, keys: Keys, values: Mapping[str, Any], where: str, notes: Notes
) -> tuple[str, str] | None:
    """Name of a label in a structure and the key of its meaning, None where it has none."""
    names = {key: getattr(keys, key) for key in MEANINGS if MEANINGS[key][0] == kind}
    given = {key: name for key, name in names.items() if name}
    for key, name in given.items():
        if name in values:
            return name, key
    # an empty name: the user does not want the label
    if given or "" in names.values():
        for name in given.values():
            notes.add(f"no `{name}`", where)
        return None

    similar = list(_similar(kind, values))
    for name, key in CONVENTIONS.items():
        if key not in names or name not in values:
            continue
        if name != kind:
            notes.add(f"`{name}` is read as {' in '.join(MEANINGS[key])}", where)
        unused = [other for other in similar if other not in (name, *REDUNDANT)]
        if unused:
            notes.add(f"`{name}` is used, {_listed(unused)} not: `keys.{key}` chooses", where)
        return name, key
    return None


def _check_named(
    sources: Mapping[str, tuple[str, str] | None],
    keys: Keys,
    values: Mapping[str, Any],
    where: str,
) -> None:
    """Refuse a structure that may hold labels under names that mean nothing."""
    there = []
    proposed = {}
    for kind, source in sources.items():
        given = [getattr(keys, key) for key in MEANINGS if MEANINGS[key][0] == kind]
        similar = list(_similar(kind, values))
        # names that were given, and labels that are not wanted, are known
        if source or not similar or any(name is not None for name in given):
            continue
        there.append(f"no `{kind}`, but {_listed(similar)}")
        key = "virial" if "virial" in similar[0].lower() else kind
        proposed[key] = similar[0]
    if not proposed:
        return
    lines = [f'{key} = "{name}" ({MEANINGS[key][1]})' for key, name in proposed.items()]
    option = ",".join(f"{key}={name}" for key, name in proposed.items())
    raise ValueError(
        f"{where}: {'; '.join(there)}. Say what they are, in [keys] of the recipe such as"
        f" {', '.join(lines)}, or for eval by --keys {option}; an empty name means that the"
        " label is not used"
    )


def _similar(kind: str, values: Mapping[str, Any]) -> Iterator[str]:
    """Names that look like those of a label of a kind, and whose values have its shape."""
    shapes: dict[str, list[tuple[int, ...]]] = {
        "energy": [(), (1,)],
        "stress": [(3, 3), (9,), (6,)],
        "dipole": [(3,)],
    }
    for name, value in values.items():
        if not re.fullmatch(LOOKS[kind], name, re.IGNORECASE):
            continue
        if re.fullmatch(NO_LABELS, name, re.IGNORECASE):
            continue
        shape = _shape(value)
        # forces of any number of atoms: a wrong one is an error, not another kind of label
        if shape in shapes.get(kind, []) or (kind == "forces" and len(shape or ()) == 2):
            yield name


def _shape(value: Any) -> tuple[int, ...] | None:
    """Shape of a number or an array of numbers, None of anything else."""
    try:
        array = np.asarray(value)
    except ValueError:  # a list of lists of different lengths
        return None
    return array.shape if array.dtype.kind in "iuf" else None


def _number(name: str, key: str, value: Any, n_atoms: int, where: str) -> np.ndarray:
    """Value of a label in float64, of the shape that its kind has."""
    kind, unit = MEANINGS[key]
    # six components are in Voigt's order for stresses only: programs differ in that of virials
    six: list[tuple[int, ...]] = [(6,)] if key == "stress" else []
    shapes: dict[str, list[tuple[int, ...]]] = {
        "energy": [(), (1,)],
        "forces": [(n_atoms, 3)],
        "stress": [(3, 3), (9,), *six],
        "dipole": [(3,)],
    }
    shape = _shape(value)
    if shape not in shapes[kind]:
        found = f"shape {shape}" if shape is not None else f"the value {value!r}"
        expected = " or ".join(map(str, shapes[kind]))
        raise ValueError(f"{where}: `{name}` has {found}: expected {expected}, in {unit}")
    array = np.asarray(value, dtype=np.float64)
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        atom = f" (atom {bad[0][0]})" if kind == "forces" else ""
        raise ValueError(f"{where}: `{name}` is not finite{atom}: {array[tuple(bad[0])]}")
    largest = np.abs(array).max()
    limit = LARGEST * (n_atoms if kind == "energy" else 1)
    if kind in ("energy", "forces") and largest > limit:
        atom = f" (atom {np.argwhere(np.abs(array) == largest)[0][0]})" if kind == "forces" else ""
        raise ValueError(
            f"{where}: `{name}` is {largest:.3g} {unit} in size{atom}: expected at most"
            f" {LARGEST:g} {unit}{' per atom' if kind == 'energy' else ''}"
        )
    if kind == "energy":
        return array.reshape(())
    return _symmetric(array, name, where) if kind == "stress" else array


def _symmetric(stress: np.ndarray, name: str, where: str) -> np.ndarray:
    """Stress or virial (3, 3) of one with 6 or 9 components."""
    # stresses may come in Voigt's order
    full: np.ndarray = (
        stress.reshape(3, 3) if stress.size == 9 else voigt_6_to_full_3x3_stress(stress)
    )
    transposed = full.T
    largest = np.abs(full).max()
    asymmetry = np.abs(full - transposed).max()
    if asymmetry > max(ASYMMETRY * largest, SMALL_STRESS):
        raise ValueError(f"{where}: `{name}` is not symmetric: {full.tolist()}")
    symmetric: np.ndarray = (full + transposed) / 2
    return symmetric


def _check_virial(
    stress: np.ndarray, keys: Keys, values: Mapping[str, Any], atoms: ase.Atoms, where: str
) -> None:
    """Refuse a stress and a virial that contradict each other, unless one of them was chosen."""
    if keys.stress is not None or keys.virial is not None or "stress" not in values:
        return
    for name in ("virial", "virials"):
        if name not in values:
            continue
        virial = _number(name, "virial", values[name], len(atoms), where)
        expected = -stress * atoms.cell.volume
        largest = np.abs(expected).max()
        limit = max(ASYMMETRY * largest, SMALL_STRESS * atoms.cell.volume)
        if np.abs(virial - expected).max() > limit:
            raise ValueError(
                f"{where}: `{name}` is not -`stress` times the volume: one of them has another sign"
                " or unit. Choose one by `keys.stress` or `keys.virial`"
            )


def _listed(names: list[str]) -> str:
    """Names in backticks, at most four."""
    text = ", ".join(f"`{name}`" for name in names[:4])
    return f"{text}, ..." if len(names) > 4 else text
