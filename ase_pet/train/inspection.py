"""Training data that are probably mistakes: duplicates, short distances, energies far off."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from ase import units
from ase.data import chemical_symbols, covalent_radii

from . import agreement, data, force_scales

SHORT = 0.5  # A: shorter than any bond, H-H is 0.74 A
LARGEST_STRESS = 5.0  # eV/A^3, 800 GPa
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
SAME_ENERGY = 1e-3  # eV per atom
MEAN = 1e-5  # A, width of the classes of mean distances, in which moved copies are looked for
SAME_DISTANCE = 1e-4  # A, in which those of moved copies agree
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
    for text in notes(splits, species):
        warnings.warn(text, stacklevel=3)


def notes(splits: Mapping[str, Sequence[data.Sample]], species: Sequence[int]) -> list[str]:
    """Lines on structures that are probably mistakes, by file and number.

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
    with_energy = [sample for sample in different if np.isfinite(sample.energy)]
    return [
        *_short(different),
        *_stressed(different),
        *_duplicates(splits),
        *_moved(splits),
        *(_far(with_energy, species) if with_energy else []),
        *agreement.other_zeros(with_energy),
        *agreement.disagreements(with_energy),
        *force_scales.disagreements(different),
    ]


def _short(samples: Iterable[data.Sample]) -> list[str]:
    """Note on structures with atoms that are closer than any bond."""
    found = []
    for sample in samples:
        distances = sample.pairs.distances()
        if not len(distances) or distances.min() >= SHORT:
            continue
        closest = int(np.argmin(distances))
        numbers = sample.structure.numbers
        first = chemical_symbols[numbers[sample.pairs.centres[closest]]]
        second = chemical_symbols[numbers[sample.pairs.neighbours[closest]]]
        found.append(f"{sample.where} ({first}-{second} {distances[closest]:.2f} A)")
    return note(found, f"atoms closer than {SHORT} A")


def _stressed(samples: Iterable[data.Sample]) -> list[str]:
    """Note on stresses that no experiment and hardly any calculation reaches."""
    found = []
    for sample in samples:
        # NaN without a label
        largest = np.abs(sample.virial).max()
        if largest > LARGEST_STRESS * max(sample.structure.volume, 1.0):
            pressure = largest / sample.structure.volume
            found.append(f"{sample.where} ({pressure:.3g} eV/A^3 = {pressure / units.GPa:.3g} GPa)")
    return note(found, "a very large stress: in GPa or kbar rather than eV/A^3?")


def _duplicates(splits: Mapping[str, Sequence[data.Sample]]) -> list[str]:
    """Notes on structures that are there more than once, above all in two splits."""
    seen: dict[bytes, tuple[str, data.Sample]] = {}
    found: dict[str, list[str]] = {}
    for split, samples in splits.items():
        # a file that is listed twice is meant so
        for sample in {sample.where: sample for sample in samples}.values():
            content = _content(sample)
            first_split, first = seen.setdefault(content, (split, sample))
            if (first_split, first.where) == (split, sample.where):
                continue
            kind = "the same structure twice"
            if abs(first.energy - sample.energy) > SAME_ENERGY * len(sample.structure):
                kind = "the same structure with another energy"
            elif first_split != split:
                kind = f"a structure of the split `{split}` is in `{first_split}` as well"
            places = found.setdefault(kind, [])
            places.append(f"{sample.where} = {first.where}")
    return [text for kind, places in found.items() for text in note(places, kind)]


def _moved(splits: Mapping[str, Sequence[data.Sample]]) -> list[str]:
    """Note on structures that another split has shifted, turned or in another order of atoms."""
    known: dict[tuple[bytes, int], list[tuple[str, data.Sample]]] = {}
    found: dict[str, list[str]] = {}
    for split, samples in splits.items():
        for sample in {sample.where: sample for sample in samples}.values():
            # distances do not tell atoms that are alone
            if not len(sample.pairs.distances()):
                continue
            numbers = np.sort(sample.structure.numbers).tobytes()
            place = round(float(sample.pairs.distances().mean()) / MEAN)
            near = [each for k in (-1, 0, 1) for each in known.get((numbers, place + k), [])]
            for first_split, first in near:
                if first_split != split and _is_moved(first, sample):
                    places = found.setdefault(f"`{split}` is in `{first_split}` as well", [])
                    places.append(f"{sample.where} = {first.where}")
                    break
            known.setdefault((numbers, place), []).append((split, sample))
    end = "but for a shift, a turn or the order of atoms"
    return [
        text
        for kind, places in found.items()
        for text in note(places, f"a structure of the split {kind}, {end}")
    ]


def _is_moved(first: data.Sample, second: data.Sample) -> bool:
    """Whether two structures have the same distances of the same elements, at other places."""
    if _state(first) != _state(second) or _content(first) == _content(second):
        return False
    elements, distances = _distances(first)
    other_elements, others = _distances(second)
    if not np.array_equal(elements, other_elements):
        return False
    largest = np.abs(distances - others).max()
    return bool(largest <= SAME_DISTANCE)


def _state(sample: data.Sample) -> tuple[float, float, bytes]:
    """Charge, spin and periodic directions of a structure."""
    structure = sample.structure
    periodic = structure.pbc.tobytes()
    return structure.charge or 0, structure.spin or 0, periodic


def _distances(sample: data.Sample) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of elements (2, P) and distances (P,) in A of a structure, sorted."""
    numbers = sample.structure.numbers
    ends = np.stack([numbers[sample.pairs.centres], numbers[sample.pairs.neighbours]])
    ends.sort(axis=0)
    distances = sample.pairs.distances()
    order = np.lexsort([distances, ends[1], ends[0]])
    return ends[:, order], distances[order]


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
    numbers = [sample.structure.numbers for sample in samples]
    sizes = np.array([len(each) for each in numbers])
    totals = np.array([sample.energy for sample in samples])
    energies = totals / sizes  # eV per atom, as all below
    expected = _fit(numbers, totals, species) / sizes
    deviations = energies - expected
    deviations -= np.median(deviations)
    scatter = np.median(np.abs(deviations))
    limit = max(LEAST, SCATTER * scatter)
    found = []
    for index in np.flatnonzero(np.abs(deviations) > limit).tolist():
        sample = samples[index]
        unit = _unit(expected[index], energies[index])
        # atoms alone and nuclei that repel each other have other energies
        unusual = sizes[index] == 1 or (deviations[index] > 0 and _pressed(sample))
        if unit or (abs(deviations[index]) > FAR and not unusual):
            expectation = f"the others let expect {expected[index]:.4g}{unit}"
            found.append(f"{sample.where} ({energies[index]:.4g} eV/atom, {expectation})")
    return note(found, "an energy far from those of the other structures")


def _fit(numbers: Sequence[np.ndarray], energies: np.ndarray, species: Sequence[int]) -> np.ndarray:
    """Energies (B,) in eV as sums of energies of elements that fit most structures."""
    counts = data.count_atoms(numbers, species)
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


def _unit(expected: float, energy: float) -> str:
    """Remark on the unit of an energy of which another one, in eV, is expected."""
    for unit, size in UNITS.items():
        if energy and abs(expected / energy / size - 1) < SAME_UNIT:
            return f": in {unit}?"
    return ""


def _pressed(sample: data.Sample) -> bool:
    """Whether some atoms are much closer than a bond."""
    radii = covalent_radii[sample.structure.numbers]
    bonds = radii[sample.pairs.centres] + radii[sample.pairs.neighbours]
    return bool((sample.pairs.distances() < PRESSED * bonds).any())


def note(places: Sequence[str], what: str) -> list[str]:
    """Line on some structures, or none.

    Parameters
    ----------
    places:
        What messages call each structure.
    what:
        What is odd about them.
    """
    if not places:
        return []
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    return [f"{places[0]}{more}: {what}"]
