"""What a set of labelled structures holds: counts, ranges, and structures to look at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import units
from ase.data import chemical_symbols

from . import agreement, inspection, recipe_files
from .data import Sample, sample
from .files import structures
from .label_notes import Notes
from .labels import check_found, held
from .recipe import Keys
from .unit_conversion import Factors

LARGE_FORCE = 50.0  # eV/A
OUTLIER = 10.0  # median deviations of an energy from those of its composition
LEAST = 0.5  # eV per atom, below which an energy is no outlier
FEW = 5  # structures of a composition, below which none is an outlier


def read_files(
    names: Iterable[str],
    keys: Keys,
    factors: Factors,
    cutoff: float,
    format: str | None = None,
) -> dict[str, list[Sample]]:
    """Samples of files and folders, {file: samples}; labels that are missing are NaN.

    Parameters
    ----------
    names:
        Paths of files and folders.
    keys:
        Names of the labels.
    factors:
        Units of all files.
    cutoff:
        Distance in A up to which pairs of atoms are looked for.
    format:
        Format of the files by its name in ASE; None for what names and contents say.

    Raises
    ------
    ValueError
        A file or a label is bad; names file and structure.
    """
    groups: dict[str, list[Sample]] = {}
    notes = Notes()
    found: set[str] = set()
    for name in names:
        for path in recipe_files.paths(Path(), name):
            frames = structures(path, ":", format)
            for index, atoms in enumerate(frames):
                where = f"`{path}`, structure {index}"
                found |= held(atoms).keys()
                # every element is good: a recipe chooses from them
                elements = sorted({int(z) for z in atoms.numbers})
                each = sample(
                    atoms, elements, cutoff, where, True, keys, notes, factors, energy=False
                )
                groups.setdefault(str(path), []).append(each)
    check_found(keys, found, "the files")
    notes.warn()
    return groups


def of_samples(samples: Sequence[Sample]) -> dict[str, Any]:
    """Numbers of structures and labels, and ranges in eV, A and GPa.

    Parameters
    ----------
    samples:
        Samples with their total energies.
    """
    sizes = [len(each.structure) for each in samples]
    elements = np.unique(np.concatenate([each.structure.numbers for each in samples]))
    energies = [each.energy / len(each.structure) for each in samples]
    forces = [_largest_force(each) for each in samples]
    pressures = [-np.trace(each.virial) / 3 / max(each.structure.volume, 1) for each in samples]
    distances = [each.pairs.distances().min(initial=np.inf) for each in samples]
    return {
        "structures": len(samples),
        "energy": int(np.isfinite(energies).sum()),
        "forces": int(np.isfinite(forces).sum()),
        "stress": int(np.isfinite(pressures).sum()),
        "dipole": sum(bool(np.isfinite(each.dipole).all()) for each in samples),
        "elements": [chemical_symbols[z] for z in elements],
        "atoms": [min(sizes), max(sizes)],
        "periodic": sum(bool(each.structure.pbc.all()) for each in samples),
        "energy per atom (eV)": _range(energies),
        "largest force (eV/A)": _range(forces),
        "pressure (GPa)": _range([each / units.GPa for each in pressures]),
        "shortest distance (A)": _range(distances),
    }


def line(name: str, samples: Sequence[Sample]) -> str:
    """Numbers of structures, labels and atoms in one line.

    Parameters
    ----------
    name:
        What the samples are, such as the name of their split.
    samples:
        Samples.
    """
    numbers = of_samples(samples)
    labels = ", ".join(f"{numbers[kind]} {kind}" for kind in ("energy", "forces", "stress"))
    low, high = numbers["atoms"]
    atoms = f"{low}" if low == high else f"{low} to {high}"
    force = numbers["largest force (eV/A)"]
    largest = f", forces up to {force[1]:.3g} eV/A" if force else ""
    elements = " ".join(numbers["elements"])
    return f"{name}: {len(samples)} structures ({labels}) of {atoms} atoms, {elements}{largest}"


def suspicious(groups: Mapping[str, Sequence[Sample]]) -> list[str]:
    """Lines on structures that may be mistakes, by file and number.

    Parameters
    ----------
    groups:
        Samples with their total energies by file or split.
    """
    samples = list({each.where: each for group in groups.values() for each in group}.values())
    species = np.unique(np.concatenate([each.structure.numbers for each in samples])).tolist()
    return [
        *inspection.notes(groups, species),
        *_large_forces(samples),
        *_mixed_periodicity(samples),
        *_outliers(samples),
    ]


def _large_forces(samples: Sequence[Sample]) -> list[str]:
    """Line on structures with large forces."""
    places = []
    for each in samples:
        largest = _largest_force(each)
        if largest > LARGE_FORCE:
            places.append(f"{each.where} ({largest:.3g} eV/A)")
    return inspection.note(places, f"a force above {LARGE_FORCE:g} eV/A")


def _mixed_periodicity(samples: Sequence[Sample]) -> list[str]:
    """Lines on files in which few structures have other periodic directions than the others."""
    kinds: dict[str, dict[tuple[bool, ...], list[str]]] = {}
    for each in samples:
        # atoms alone are molecules in data of crystals, too
        if len(each.structure) > 1:
            pbc = tuple(map(bool, each.structure.pbc))
            kinds.setdefault(agreement.file_of(each), {}).setdefault(pbc, []).append(each.where)
    lines = []
    for table in kinds.values():
        common = max(table, key=lambda pbc: len(table[pbc]))
        for pbc, places in table.items():
            if pbc != common:
                text = f"periodic in {_directions(pbc)}, most of the file in {_directions(common)}"
                lines += inspection.note(places, text)
    return lines


def _outliers(samples: Sequence[Sample]) -> list[str]:
    """Line on energies far from those of the same composition in the same file."""
    groups: dict[tuple[str, bytes], list[Sample]] = {}
    for each in samples:
        content = np.sort(each.structure.numbers).tobytes()
        if np.isfinite(each.energy):
            groups.setdefault((agreement.file_of(each), content), []).append(each)
    places = []
    for group in groups.values():
        if len(group) < FEW:
            continue
        energies = np.array([each.energy / len(each.structure) for each in group])
        # of the median: one energy in another unit would shift a mean
        deviations = energies - np.median(energies)
        limit = max(LEAST, OUTLIER * float(np.median(np.abs(deviations))))
        for index in np.flatnonzero(np.abs(deviations) > limit):
            places.append(f"{group[index].where} ({deviations[index]:+.3g} eV/atom)")
    return inspection.note(places, "an energy far from those of the same composition")


def _largest_force(each: Sample) -> float:
    """Largest force on an atom in eV/A, NaN without forces."""
    sizes = np.linalg.norm(each.forces, axis=1)
    known = sizes[np.isfinite(sizes)]
    return float(known.max()) if len(known) else np.nan


def _range(values: Sequence[float]) -> list[float] | None:
    """Smallest and largest of the values that are known."""
    known = [float(value) for value in values if np.isfinite(value)]
    return [min(known), max(known)] if known else None


def _directions(pbc: Sequence[bool]) -> str:
    """Periodic directions in words."""
    names = [name for name, there in zip("abc", pbc, strict=True) if there]
    return ", ".join(names) or "none"
