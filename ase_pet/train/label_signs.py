"""Signs and units of labels against a calculator at hand, which may be of another method.

Forces and stresses of two methods for one structure are similar: with labels a and predictions b,

    cosine = a.b / (|a| |b|),    ratio = sign(a.b) |a| / |b|,

the ratio of right labels is about 1 where the cosine is close to 1 in size. It is -1 for a wrong
sign, and a ratio of units for a wrong unit. Stresses of the calculator are finite differences of
its energy, dE/de / V with a strain e, so that they do not depend on the sign of its own stress.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase import units as ase_units

from ..models.base import AtomisticModel
from .data import Sample
from .prediction import predict
from .unit_conversion import ENERGIES, LENGTHS, PRESSURES

STRUCTURES = 16  # that are compared
STRAINED = 6  # structures whose stress is compared
STRAINS = 2  # of each of them
STEP = 5e-3  # size of a strain
FEWEST = 12  # numbers of a kind of label
SIMILAR = 0.9  # cosine, below which nothing is said
LARGEST = 1.6  # ratio, within which another method explains it; the least unit is Bohr, 0.53
SAME_UNIT = 0.15  # difference of logarithms


def notes(pairs: Mapping[str, np.ndarray], name: str) -> list[str]:
    """Lines on labels whose sign or unit is not that of a calculator.

    Parameters
    ----------
    pairs:
        {"forces" or "stress": (2, m) labels and predictions in eV and A}.
    name:
        What the lines call the calculator.
    """
    texts = []
    for kind, (labels, predictions) in pairs.items():
        sizes = np.linalg.norm(labels), np.linalg.norm(predictions)
        if len(labels) < FEWEST or not all(sizes):
            continue
        cosine = float(labels @ predictions / (sizes[0] * sizes[1]))
        ratio = float(np.sign(cosine) * sizes[0] / sizes[1])
        is_right = 1 / LARGEST < ratio < LARGEST
        if abs(cosine) < SIMILAR or is_right:
            continue
        texts.append(
            f"`{kind}` of the data are {ratio:.3g} times those of {name} (cosine {cosine:.2f}):"
            f" {_reason(kind, ratio)}"
        )
    return texts


def warn(
    model: AtomisticModel,
    samples: Sequence[Sample],
    name: str,
    dtype: torch.dtype,
    device: torch.device | str,
) -> None:
    """Warn of labels whose sign or unit is not that of a model, such as the start of a training.

    Parameters
    ----------
    model:
        Model.
    samples:
        Training samples.
    name:
        What the warning calls the model.
    dtype:
        Precision of the model.
    device:
        Device of the model.
    """
    some = _some(samples, STRUCTURES)
    values = predict(model, some, dtype, device)
    for text in notes({kind: values[kind] for kind in ("forces", "stress")}, name):
        warnings.warn(text, stacklevel=4)


def of_calculator(calculator: Any, samples: Sequence[Sample], name: str) -> list[str]:
    """Lines on labels whose sign or unit is not that of an ASE calculator.

    Parameters
    ----------
    calculator:
        ASE calculator of energies and forces.
    samples:
        Samples with labels.
    name:
        What the lines call the calculator.
    """
    forces: list[np.ndarray] = []
    stresses: list[tuple[float, float]] = []
    with_stress = 0
    for sample in _some(samples, STRUCTURES):
        atoms = _atoms(sample)
        atoms.calc = calculator
        known = np.isfinite(sample.forces)
        forces.append(np.stack([sample.forces[known], atoms.get_forces()[known]]))
        if np.isfinite(sample.virial).all() and with_stress < STRAINED:
            stresses += _strained(atoms, sample, with_stress)
            with_stress += 1
    pairs = {"forces": np.concatenate([np.empty((2, 0)), *forces], axis=1)}
    pairs["stress"] = np.array(stresses).reshape(-1, 2).T
    return notes(pairs, name)


def _strained(atoms: Atoms, sample: Sample, seed: int) -> list[tuple[float, float]]:
    """Labels s:e and finite differences dE/de / V in eV/A^3 for some strains e of size 1."""
    generator = np.random.default_rng(seed)
    volume = sample.structure.volume
    rows = []
    for _ in range(STRAINS):
        matrix = generator.normal(size=(3, 3))
        strain = matrix + matrix.T
        strain /= np.linalg.norm(strain)
        energies = []
        for sign in (1, -1):
            strained = atoms.copy()
            deformation = np.eye(3) + sign * STEP * strain
            strained.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
            strained.calc = atoms.calc
            energies.append(strained.get_potential_energy())
        slope = (energies[0] - energies[1]) / (2 * STEP * volume)
        rows.append((float((sample.virial * strain).sum()) / volume, slope))
    return rows


def _atoms(sample: Sample) -> Atoms:
    """ASE structure of a sample, with charge and spin where they are given."""
    structure = sample.structure
    states = {"charge": structure.charge, "spin": structure.spin}
    info = {name: value for name, value in states.items() if value is not None}
    return Atoms(
        structure.numbers, structure.positions, cell=structure.cell, pbc=structure.pbc, info=info
    )


def _some(samples: Sequence[Sample], most: int) -> list[Sample]:
    """At most so many samples, evenly distributed."""
    step = max(1, len(samples) // most)
    places = range(0, len(samples), step)[:most]
    return [samples[place] for place in places]


def _reason(kind: str, ratio: float) -> str:
    """What a ratio says about sign and unit, and what to do."""
    sign = "-" if ratio < 0 else ""
    meaning = "gradients" if kind == "forces" else "positive under compression"
    reversed_sign = f", {meaning}" if sign else ""
    for unit, size in _units(kind).items():
        # numbers in a unit are those in eV and A over its size
        if abs(np.log(abs(ratio) * size)) < SAME_UNIT:
            return f'as if they were in {unit}{reversed_sign}; see `units.{kind}` = "{sign}{unit}"'
    return f"another unit (`units.{kind}`), or structures of which it knows nothing?"


def _units(kind: str) -> dict[str, float]:
    """{unit: size in eV and A} of forces or stresses, that of ASE first."""
    if kind == "stress":
        return {"eV/A^3": 1.0, **PRESSURES, "Hartree/Bohr^3": ase_units.Hartree / ase_units.Bohr**3}
    lengths = {name: LENGTHS[name] for name in ("A", "Bohr")}
    return {
        f"{energy}/{length}": size / unit
        for length, unit in lengths.items()
        for energy, size in ENERGIES.items()
    }
