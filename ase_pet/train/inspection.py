"""Training data that are probably mistakes: duplicates, short distances, energies far off."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from ase import units
from ase.data import chemical_symbols, covalent_radii

from . import data

SHORT = 0.5  # A: shorter than any bond, H-H is 0.74 A
FAR = 20.0  # eV per atom from a fit of energies of elements; cohesion is below 10
SCATTER = 10.0  # median deviations from the fit, below which an energy is one of the others
LEAST = 0.5  # eV per atom, below which a deviation is no mistake of units
FITS = 3
OUTLIER = 3.0  # median deviations, beyond which a structure is left out of the next fit
PRESSED = 0.75  # of the sum of covalent radii: nuclei that repel each other explain an energy
UNITS = {  # eV
    "Hartree": units.Hartree,
    "Rydberg": units.Rydberg,
    "kcal/mol": units.kcal / units.mol,
    "kJ/mol": units.kJ / units.mol,
}
SAME_UNIT = 0.02  # relative
DIGITS = 5  # of positions in A, in which duplicates agree


def warn(splits: Mapping[str, Sequence[data.Sample]], species: Sequence[int]) -> None:
    """Warn of structures that are probably mistakes, by file and number.

    Parameters
    ----------
    splits:
        Samples with their total energies, {split: list of Sample}.
    species:
        Atomic numbers of the model.
    """
    samples = [sample for each in splits.values() for sample in each]
    # a file that is listed twice is meant so
    different = list({sample.where: sample for sample in samples}.values())
    texts = [*_short(different), *_duplicates(splits), *_far(different, species)]
    for text in texts:
        warnings.warn(text, stacklevel=3)


def absent(samples: Sequence[data.Sample], species: Sequence[int]) -> list[int]:
    """Atomic numbers of a model that no training structure has.

    Parameters
    ----------
    samples:
        Training samples.
    species:
        Atomic numbers of the model.
    """
    present = np.unique(np.concatenate([sample.structure.numbers for sample in samples]))
    return [z for z in species if z not in present]


def _short(samples: Iterable[data.Sample]) -> list[str]:
    """Note on structures with atoms that are closer than any bond."""
    found = []
    for sample in samples:
        distances = sample.pairs.distances()
        if len(distances) and distances.min() < SHORT:
            closest = int(np.argmin(distances))
            ends = (sample.pairs.centres[closest], sample.pairs.neighbours[closest])
            symbols = "-".join(chemical_symbols[sample.structure.numbers[end]] for end in ends)
            found.append(f"{sample.where} ({symbols} {distances[closest]:.2f} A)")
    return _note(found, f"atoms closer than {SHORT} A")


def _duplicates(splits: Mapping[str, Sequence[data.Sample]]) -> list[str]:
    """Notes on structures that are there more than once, above all in two splits."""
    seen: dict[bytes, tuple[str, data.Sample]] = {}
    found: dict[str, list[str]] = {}
    for split, samples in splits.items():
        for sample in {sample.where: sample for sample in samples}.values():
            first_split, first = seen.setdefault(_content(sample), (split, sample))
            if first.where == sample.where and first_split == split:
                continue
            kind = "the same structure twice"
            if abs(first.energy - sample.energy) > LEAST * 1e-3 * len(sample.structure):
                kind = "the same structure with another energy"
            elif first_split != split:
                kind = f"a structure of the split `{split}` is in `{first_split}` as well"
            found.setdefault(kind, []).append(f"{sample.where} = {first.where}")
    return [text for kind, places in found.items() for text in _note(places, kind)]


def _content(sample: data.Sample) -> bytes:
    """Atoms, positions and cell of a structure, for comparison."""
    structure = sample.structure
    # adding 0 makes 0 of -0
    numbers = [np.round(array, DIGITS) + 0.0 for array in (structure.positions, structure.cell)]
    parts = (
        structure.numbers,
        *numbers,
        structure.pbc,
        np.array([structure.charge or 0, structure.spin or 0]),
    )
    return b"".join(part.tobytes() for part in parts)


def _far(samples: Sequence[data.Sample], species: Sequence[int]) -> list[str]:
    """Note on energies that are far from the sum of those of elements, which fit the others."""
    sizes = np.array([len(sample.structure) for sample in samples])
    energies = np.array([sample.energy for sample in samples])
    fits = _fit([sample.structure.numbers for sample in samples], energies, species)
    deviations = (energies - fits) / sizes  # eV per atom
    scatter = SCATTER * float(np.median(np.abs(deviations)))
    found = []
    for index in np.flatnonzero(np.abs(deviations) > max(scatter, LEAST)).tolist():
        unit = _unit(fits[index] / energies[index]) if energies[index] else ""
        by_size = abs(deviations[index]) > FAR and sizes[index] > 1
        repelled = deviations[index] > 0 and _pressed(samples[index])
        if unit or (by_size and not repelled):
            energy = energies[index] / sizes[index]
            expected = fits[index] / sizes[index]
            found.append(
                f"{samples[index].where} ({energy:.4g} eV/atom, the others let expect"
                f" {expected:.4g}{unit})"
            )
    return _note(found, "an energy far from those of the other structures")


def _fit(numbers: Sequence[np.ndarray], energies: np.ndarray, species: Sequence[int]) -> np.ndarray:
    """Energies (B,) in eV as sums of energies of elements that fit most structures."""
    counts = np.array([[np.sum(each == z) for z in species] for each in numbers])
    fitted = np.ones(len(energies), dtype=bool)
    robust = True
    for _ in range(FITS):
        chosen = np.flatnonzero(fitted).tolist()
        elements = data.fit_composition(
            [numbers[index] for index in chosen], energies[chosen], species, robust
        )
        fits: np.ndarray = counts @ np.array([elements[z] for z in species])
        # a second time without the worst, which shift even a robust fit of a few structures
        deviations = np.abs(energies - fits) / counts.sum(axis=1)
        fitted = deviations <= OUTLIER * max(float(np.median(deviations)), 1e-9)
        robust = False
    return fits


def _unit(ratio: float) -> str:
    """Remark on the unit of an energy, from the expected energy in eV divided by it."""
    for unit, size in UNITS.items():
        if abs(ratio / size - 1) < SAME_UNIT:
            return f": in {unit}?"
    return ""


def _pressed(sample: data.Sample) -> bool:
    """Whether some atoms are much closer than a bond."""
    radii = covalent_radii[sample.structure.numbers]
    bonds = radii[sample.pairs.centres] + radii[sample.pairs.neighbours]
    return bool((sample.pairs.distances() < PRESSED * bonds).any())


def _note(places: Sequence[str], what: str) -> list[str]:
    """Line on some structures, or none."""
    if not places:
        return []
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    return [f"{places[0]}{more}: {what}"]
