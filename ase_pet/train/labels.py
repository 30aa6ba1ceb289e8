"""Reference energies, forces, stresses and dipoles of a structure, under whatever names.

The names of ASE are `energy` (eV), `forces` (eV/A), `stress` (eV/A^3, positive under tension) and
`dipole` (e A). Other names with one meaning only, see `label_names`, are read, and a note says so.
Any other name has to be given: no label is left out in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ase
import numpy as np
from ase.stress import voigt_6_to_full_3x3_stress

from . import constrained
from .label_names import KINDS, MEANINGS, REDUNDANT, family, listed, read_as, shape, similar
from .label_notes import Notes as Notes
from .schema import Keys
from .unit_conversion import Factors

# arrays of vectors that are certainly no forces
NO_FORCES = {"positions", "momenta", "initial_magmoms", "magmoms", "vel", "velo", "velocities"}
SAME_ENERGY = 1e-3  # eV per atom, of `energy` and `free_energy`
LARGEST = 1e6  # eV per atom, eV/A: beyond all electrons and all nuclei
ASYMMETRY = 0.05  # of a stress, relative to its largest component
SMALL_STRESS = 1e-3  # eV/A^3, below which a stress may be noise


def of_structure(
    atoms: ase.Atoms,
    keys: Keys,
    where: str,
    notes: Notes,
    dipole: bool = True,
    factors: Factors | None = None,
) -> dict[str, np.ndarray]:
    """Labels of a structure of n atoms, those that it has, in ASE's units and signs.

    {"energy": () eV, "forces": (n, 3) eV/A, "stress": (3, 3) eV/A^3, "dipole": (3,) e A}. Forces
    are raw: where constraints have changed them they are NaN, not known.

    Parameters
    ----------
    atoms:
        Structure in A whose calculator, `info` and `arrays` hold the labels.
    keys:
        Names of the labels.
    where:
        What messages call the structure.
    notes:
        Notes, to which those on this structure are added.
    dipole:
        Whether dipoles are wanted.
    factors:
        Units of the labels; None for those of ASE.

    Raises
    ------
    ValueError
        A label is not finite or has a wrong shape, or has a name that means nothing.
    """
    # names first: a bad one is the usual mistake, and numbers mean nothing without it
    values = held(atoms)
    sizes = factors or Factors()
    kinds = KINDS if dipole else KINDS[:-1]
    sources = {kind: _source(kind, keys, values, where) for kind in kinds}
    _check_named(sources, keys, values, where)
    _check_one_method(sources, keys, values, where)
    for kind, source in sources.items():
        _note_source(kind, source, keys, values, where, notes, sizes)
    if sources["forces"] is None and keys.forces is None:
        for name in sorted(atoms.arrays.keys() - NO_FORCES):
            if shape(atoms.arrays[name]) == (len(atoms), 3):
                notes.add(
                    f"no forces, and `{name}`, three numbers for each atom, is not used", where
                )
    labels: dict[str, np.ndarray] = {}
    for kind, source in sources.items():
        if source is None:
            continue
        name, key = source
        value = _number(name, key, values[name], len(atoms), where, sizes)
        if kind == "stress":
            if not (atoms.cell.rank == 3 and atoms.pbc.any()):
                notes.add("stress without a periodic cell, so without a volume: not used", where)
                continue
            value = -value / atoms.cell.volume if key == "virial" else value
            _check_virial(value, keys, values, atoms, where, sizes)
        labels[kind] = value
    _note_free_energy(sources["energy"], keys, values, len(atoms), where, notes)
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


def _source(kind: str, keys: Keys, values: Mapping[str, Any], where: str) -> tuple[str, str] | None:
    """Name of a label in a structure and the key of its meaning, None where it has none."""
    names = {key: getattr(keys, key) for key in MEANINGS if MEANINGS[key][0] == kind}
    given = {key: name for key, name in names.items() if name}
    for key, name in given.items():
        if name in values:
            return name, key
    # an empty name: the user does not want the label
    if given or "" in names.values():
        return None

    found = read_as(kind, values)
    methods = {method for _, method in found.values()}
    # without a plain name, several methods are for the user to choose from
    if "" not in methods and len(methods) > 1:
        key = "virial" if kind == "stress" and "stress" not in dict(found.values()) else kind
        raise ValueError(
            f"{where}: {listed(list(found))} may be the {kind}: choose by `keys.{key}` of the"
            f" recipe, or on the command line by --keys {key}={next(iter(found))}"
        )
    for name, (key, _) in found.items():
        return name, key
    return None


def _note_source(
    kind: str,
    source: tuple[str, str] | None,
    keys: Keys,
    values: Mapping[str, Any],
    where: str,
    notes: Notes,
    sizes: Factors,
) -> None:
    """Note under which name and in which unit a label is read, and which others are not."""
    given = [getattr(keys, key) for key in MEANINGS if MEANINGS[key][0] == kind]
    if source is None:
        for name in filter(None, given):
            notes.add(f"no `{name}`", where)
        return
    name, key = source
    unit = sizes.word(key, MEANINGS[key][1])
    if name in given:
        return
    if name != kind or unit != MEANINGS[key][1]:
        notes.add(f"`{name}` is read as {kind} in {unit}", where)
    parts = family(name)
    method = parts[1] if parts else ""
    unused = []
    for other in similar(kind, values):
        other_parts = family(other)
        # stress and virial of one method say the same
        same_method = bool(method) and other_parts is not None and other_parts[1] == method
        if other not in (name, *REDUNDANT) and not same_method:
            unused.append(other)
    if unused:
        notes.add(f"`{name}` is used, {listed(unused)} not: `keys.{key}` chooses", where)


def _check_one_method(
    sources: Mapping[str, tuple[str, str] | None],
    keys: Keys,
    values: Mapping[str, Any],
    where: str,
) -> None:
    """Refuse energies of one method with forces of another, where one of them has both."""
    chosen = {kind: source[0] for kind, source in sources.items() if source is not None}
    methods = {}
    for kind, name in chosen.items():
        given = [getattr(keys, key) for key in MEANINGS if MEANINGS[key][0] == kind]
        parts = family(name)
        # names that were given are the choice of the user
        if name not in given and parts:
            methods[kind] = parts[1]
    for kind, method in methods.items():
        for other in methods:
            has_both = any(parts[1] == method for parts in read_as(other, values).values())
            if methods[other] == method or not method or not has_both:
                continue
            names = [name for name, (_, each) in read_as(other, values).items() if each == method]
            raise ValueError(
                f"{where}: `{chosen[kind]}` would be read with `{chosen[other]}`, but there is"
                f" {listed(names)} as well: choose by `keys.{other}` of the recipe, or on the"
                f" command line by --keys {other}={names[0]}"
            )


def _note_free_energy(
    source: tuple[str, str] | None,
    keys: Keys,
    values: Mapping[str, Any],
    n_atoms: int,
    where: str,
    notes: Notes,
) -> None:
    """Note that a free energy, whose derivatives the forces are, is not the energy that is read."""
    free = values.get("free_energy")
    if source is None or source[0] != "energy" or keys.energy is not None or shape(free) != ():
        return
    if abs(float(np.ravel(values["energy"])[0]) - float(free or 0)) > SAME_ENERGY * n_atoms:
        notes.add(
            "`energy` is not `free_energy`, as with smeared occupations: forces are derivatives of"
            ' the latter, which `keys.energy = "free_energy"` chooses',
            where,
        )


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
        alike = list(similar(kind, values))
        # names that were given, and labels that are not wanted, are known
        if source or not alike or any(name is not None for name in given):
            continue
        there.append(f"no `{kind}`, but {listed(alike)}")
        key = "virial" if "virial" in alike[0].lower() else kind
        proposed[key] = alike[0]
    if not proposed:
        return
    lines = [f'{key} = "{name}" ({MEANINGS[key][1]})' for key, name in proposed.items()]
    option = ",".join(f"{key}={name}" for key, name in proposed.items())
    raise ValueError(
        f"{where}: {'; '.join(there)}. Say what they are, in [keys] of the recipe such as"
        f" {', '.join(lines)}, or on the command line by --keys {option} (of data, init,"
        " eval); an empty name means that the label is not used"
    )


def _number(
    name: str, key: str, value: Any, n_atoms: int, where: str, sizes: Factors
) -> np.ndarray:
    """Value of a label in float64 and ASE's units, of the shape that its kind has."""
    kind, unit = MEANINGS[key]
    # six components are in Voigt's order for stresses only: programs differ in that of virials
    six: list[tuple[int, ...]] = [(6,)] if key == "stress" else []
    shapes: dict[str, list[tuple[int, ...]]] = {
        "energy": [(), (1,)],
        "forces": [(n_atoms, 3)],
        "stress": [(3, 3), (9,), *six],
        "dipole": [(3,)],
    }
    dimensions = shape(value)
    if dimensions not in shapes[kind]:
        found = f"shape {dimensions}" if dimensions is not None else f"the value {value!r}"
        expected = " or ".join(map(str, shapes[kind]))
        raise ValueError(f"{where}: `{name}` has {found}: expected {expected}, in {unit}")
    array: np.ndarray = np.array(value, dtype=np.float64)
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        atom = f" (atom {bad[0][0]})" if kind == "forces" else ""
        raise ValueError(f"{where}: `{name}` is not finite{atom}: {array[tuple(bad[0])]}")
    array *= getattr(sizes, key)
    largest = np.abs(array).max(initial=0.0)
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
    stress: np.ndarray,
    keys: Keys,
    values: Mapping[str, Any],
    atoms: ase.Atoms,
    where: str,
    sizes: Factors,
) -> None:
    """Refuse a stress and a virial that contradict each other, unless one of them was chosen."""
    if keys.stress is not None or keys.virial is not None or "stress" not in values:
        return
    for name in ("virial", "virials"):
        if name not in values:
            continue
        virial = _number(name, "virial", values[name], len(atoms), where, sizes)
        expected = -stress * atoms.cell.volume
        largest = np.abs(expected).max()
        limit = max(ASYMMETRY * largest, SMALL_STRESS * atoms.cell.volume)
        if np.abs(virial - expected).max() > limit:
            raise ValueError(
                f"{where}: `{name}` is not -`stress` times the volume: one of them has another sign"
                " or unit. Choose one by `keys.stress` or `keys.virial`"
            )
