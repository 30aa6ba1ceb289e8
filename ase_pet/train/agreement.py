"""Whether energies, forces and stresses of data are derivatives of each other, in sign and unit.

Between two structures r and r' of a file, which differ little, the energy changes by

    E' - E = -sum_i (F_i + F'_i)/2 . u_i + (V s + V' s')/2 : e,

with the strain e of the cell, the displacements u beyond it and the stresses s. Over many pairs the
factor of each term has to be 1: it is -1 for a wrong sign, and a ratio of units for a wrong unit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import units

from . import data

LARGEST_SHIFT = 0.5  # A, of an atom between two structures that are compared
LARGEST_STRAIN = 0.05
LEAST_PAIRS = 8
EXPLAINED = 0.95  # of the variance of the energy differences, by both terms together
SHARE = 0.05  # of that variance by a term, below which its factor means nothing
TOLERANCE = 0.4  # of a factor: finite differences are not exact, and the least mistake is Bohr
ZERO = 0.5  # eV per atom between files, beyond which they have another zero of energy
FEWEST = 3  # structures of a composition in each file
SCATTER = 5.0  # and beyond this many times the scatter in a file
KCAL = units.kcal / units.mol
KJ = units.kJ / units.mol
FACTORS = {  # of energy differences over what forces or stresses predict
    "the sign is wrong": -1.0,
    "energies in Hartree, the others with eV": 1 / units.Hartree,
    "energies in eV, the others with Hartree": units.Hartree,
    "energies in kcal/mol, the others with eV": 1 / KCAL,
    "energies in eV, the others with kcal/mol": KCAL,
    "energies in kJ/mol, the others with eV": 1 / KJ,
    "energies in eV, the others with kJ/mol": KJ,
    "in Hartree/Bohr rather than eV/A": units.Hartree / units.Bohr,
    "lengths in Bohr rather than A": units.Bohr,
    "lengths in A rather than Bohr": 1 / units.Bohr,
    "in GPa rather than eV/A^3": units.GPa,
    "in kbar rather than eV/A^3": 0.1 * units.GPa,
    "in kbar and positive under compression": -0.1 * units.GPa,
    "in GPa and positive under compression": -units.GPa,
}


def disagreements(samples: Sequence[data.Sample]) -> list[str]:
    """Lines on files whose energies do not fit to their forces or stresses.

    Parameters
    ----------
    samples:
        Samples with their total energies, in the order of their files.
    """
    by_file: dict[str, list[data.Sample]] = {}
    for sample in samples:
        by_file.setdefault(file_of(sample), []).append(sample)
    texts = []
    for file, own in by_file.items():
        found = factors(own)
        # finite differences of anharmonic crystals are some 10 % off
        for kind, value in found.items():
            if abs(value - 1) > TOLERANCE:
                reason = _reason(value)
                texts.append(
                    f"`{file}`: differences of energies are {value:.3g} times what the {kind}"
                    f" let expect{reason}"
                )
    return texts


def factors(samples: Sequence[data.Sample]) -> dict[str, float]:
    """Energy differences over those that forces and stresses predict, {"forces", "stresses"}.

    Only factors that the samples determine are there; 1 is right.

    Parameters
    ----------
    samples:
        Samples of a file, in its order.
    """
    rows = []
    for first, second in zip(samples, samples[1:], strict=False):
        row = _change(first, second)
        if row is not None:
            rows.append(row)
    if len(rows) < LEAST_PAIRS:
        return {}
    table = np.array(rows)  # (pairs, 3): energy, work of the forces, work of the stress
    energies = table[:, 0]
    terms = table[:, 1:]
    scale = np.abs(terms).max(axis=0)
    used = scale > 0
    if not used.any() or not energies.any():
        return {}
    solution, *_ = np.linalg.lstsq(terms[:, used] / scale[used], energies, rcond=None)
    parts = terms[:, used] / scale[used] * solution  # (pairs, terms)
    rest = energies - parts.sum(axis=1)
    variance = np.mean(energies**2)
    if np.mean(rest**2) > (1 - EXPLAINED) * variance:
        return {}
    names = [name for name, there in zip(("forces", "stresses"), used, strict=True) if there]
    values = solution / scale[used]
    shares = np.mean(parts**2, axis=0) / variance
    return {
        name: float(value)
        for name, value, share in zip(names, values, shares, strict=True)
        if share > SHARE
    }


def other_zeros(samples: Sequence[data.Sample]) -> list[str]:
    """Lines on compositions whose energies have another zero in another file.

    Parameters
    ----------
    samples:
        Samples with their total energies.
    """
    # {composition: {file: energies per atom in eV}}
    table: dict[bytes, dict[str, list[float]]] = {}
    for sample in samples:
        # atoms alone have other energies than those of a crystal
        if not len(sample.pairs.centres):
            continue
        numbers, counts = np.unique(sample.structure.numbers, return_counts=True)
        # the same composition in cells of any size
        content = numbers.tobytes() + (counts // np.gcd.reduce(counts)).tobytes()
        files = table.setdefault(content, {})
        files.setdefault(file_of(sample), []).append(sample.energy / len(sample.structure))
    texts = {}
    for files in table.values():
        if len(files) < 2:
            continue
        (first, reference), *others = files.items()
        for file, energies in others:
            # of few structures, a mistake in one of them is said elsewhere
            if min(len(energies), len(reference)) < FEWEST:
                continue
            shift = float(np.median(energies) - np.median(reference))
            scatter = max(_scatter(energies), _scatter(reference))
            if abs(shift) > max(ZERO, SCATTER * scatter):
                texts[file] = (
                    f"`{file}`: energies of structures of a composition are {shift:.4g} eV/atom"
                    f" from those in `{first}`: another zero, or another unit, of energy?"
                )
    return list(texts.values())


def file_of(sample: data.Sample) -> str:
    """File of a sample.

    Parameters
    ----------
    sample:
        Sample, whose `where` is "`file`, structure index".
    """
    parts = sample.where.split("`")
    return parts[1] if len(parts) > 1 else ""


def _change(first: data.Sample, second: data.Sample) -> tuple[float, float, float] | None:
    """Energy difference in eV, and what forces and stresses predict; None if they differ much."""
    one = first.structure
    other = second.structure
    same = np.array_equal(one.numbers, other.numbers) and np.array_equal(one.pbc, other.pbc)
    known = np.isfinite(first.forces).all() and np.isfinite(second.forces).all()
    if not same or not known:
        return None
    positions = one.positions
    work_of_stress = 0.0
    periodic = bool(one.pbc.all())
    if periodic:
        deformation = np.linalg.solve(one.cell, other.cell)  # x -> x @ deformation
        strain = deformation - np.eye(3)
        if np.abs(strain).max() > LARGEST_STRAIN:
            return None
        positions = positions @ deformation
        virial = (first.virial + second.virial) / 2
        work_of_stress = float((virial * strain).sum()) if strain.any() else 0.0
    shift = other.positions - positions  # (n, 3)
    if periodic:
        scaled = np.linalg.solve(other.cell.T, shift.T).T
        shift = (scaled - np.round(scaled)) @ other.cell
    if np.abs(shift).max() > LARGEST_SHIFT or not np.isfinite(work_of_stress):
        return None
    forces = (first.forces + second.forces) / 2
    return second.energy - first.energy, -float((forces * shift).sum()), work_of_stress


def _scatter(energies: Sequence[float]) -> float:
    """Median deviation from the median."""
    return float(np.median(np.abs(np.array(energies) - np.median(energies))))


def _reason(value: float) -> str:
    """What a factor says about units and signs, empty if nothing."""
    for text, factor in FACTORS.items():
        if abs(value / factor - 1) < TOLERANCE / 2:
            return f": {text}?"
    return ": wrong units, or other labels?"
