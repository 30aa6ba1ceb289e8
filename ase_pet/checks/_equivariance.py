"""Comparison of a structure with its images under symmetries, shared by the symmetry checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike

from ._check import Properties
from ._results import Limit, Measured
from ._subject import Subject

SYMMETRY_LIMITS = {
    "energy": Limit("meV/atom", float64=1e-6, float32=1e-2),
    "forces": Limit("eV/A", float64=1e-8, float32=1e-4),
    "stress": Limit("eV/A^3", float64=1e-9, float32=1e-5),
}

Transformation = Callable[[np.ndarray], np.ndarray]


def unchanged(values: np.ndarray) -> np.ndarray:
    """The same `values`, of a symmetry that does not change them."""
    return values


@dataclass(frozen=True)
class Image:
    """A structure that is equivalent by symmetry to another one, the original.

    Attributes
    ----------
    atoms:
        The image.
    expected_forces:
        Function from the forces (n, 3) of the original to those of the image.
    expected_stress:
        Function from the stress (3, 3) of the original to that of the image.
    """

    atoms: Atoms
    expected_forces: Transformation = unchanged
    expected_stress: Transformation = unchanged


def compare(subject: Subject, atoms: Atoms, images: Sequence[Image]) -> Iterator[Measured]:
    """Yield the largest differences of energy, forces and stress between a structure and images.

    Parameters
    ----------
    subject:
        Calculator.
    atoms:
        The original structure.
    images:
        Structures that are equivalent to it.
    """
    energy, forces = subject.energy_and_forces(atoms)
    evaluated = [subject.energy_and_forces(image.atoms) for image in images]

    energies = np.array([image_energy for image_energy, _ in evaluated])
    differences = 1e3 * (energies - energy) / len(atoms)  # meV/atom, (number of images,)
    largest = np.abs(differences).max()
    note = _rms_note(differences, "meV/atom")
    noise = subject.noise
    yield Measured("energy", largest, note, noise=1e3 * noise.energy)

    force_errors = []
    for image, (_, image_forces) in zip(images, evaluated, strict=True):
        expected_forces = image.expected_forces(forces)
        difference = np.abs(image_forces - expected_forces)
        force_errors.append(difference.max())
    note = _rms_note(force_errors, "eV/A")
    yield Measured("forces", max(force_errors), note, noise=noise.forces)

    # Last, since it raises NotApplicable for a structure without a volume.
    stress = subject.stress(atoms)
    stress_errors = []
    for image in images:
        image_stress = subject.stress(image.atoms)
        expected_stress = image.expected_stress(stress)
        difference = np.abs(image_stress - expected_stress)
        stress_errors.append(difference.max())
    note = _rms_note(stress_errors, "eV/A^3")
    yield Measured("stress", max(stress_errors), note, noise=noise.stress)


def compare_repeated(
    subject: Subject, atoms: Atoms, repeated: Sequence[Atoms]
) -> Iterator[Measured]:
    """Yield the largest differences of energy, forces and stress of a structure and repetitions.

    Parameters
    ----------
    subject:
        Calculator.
    atoms:
        Structure.
    repeated:
        Structures of whole copies of it, listed one after another.
    """
    energy, forces = subject.energy_and_forces(atoms)
    energy_errors = []
    force_errors = []
    for many in repeated:
        copies = len(many) // len(atoms)
        total_energy, all_forces = subject.energy_and_forces(many)
        energy_error = abs(total_energy / copies - energy)
        # Atoms are listed copy by copy.
        expected_forces = np.tile(forces, (copies, 1))
        difference = all_forces - expected_forces
        largest = np.abs(difference).max()
        energy_errors.append(1e3 * energy_error / len(atoms))  # meV/atom
        force_errors.append(largest)
    noise = subject.noise
    note = f"{len(repeated[-1])} atoms"
    yield Measured("energy", max(energy_errors), note, noise=1e3 * noise.energy)
    yield Measured("forces", max(force_errors), note, noise=noise.forces)

    # Last, since it raises NotApplicable for a structure without a volume.
    stress = subject.stress(atoms)
    differences = [subject.stress(many) - stress for many in repeated]
    largest = np.abs(differences).max()
    yield Measured("stress", largest, note, noise=noise.stress)


def _rms_note(values: ArrayLike, unit: str) -> str:
    """Text of the rms of values (m,), "" for a single one."""
    number = np.size(values)
    if number == 1:
        return ""
    rms = np.sqrt(np.mean(np.square(values)))
    return f"rms {rms:.2g} {unit} of {number}"


def transformed(atoms: Atoms, matrix: np.ndarray) -> Image:
    """Image of a structure under an orthogonal matrix Q, which maps positions to x @ Q.T.

    Parameters
    ----------
    atoms:
        Structure.
    matrix:
        Orthogonal matrix (3, 3): a rotation, reflection or inversion.
    """
    image = atoms.copy()
    image.set_cell(atoms.cell.array @ matrix.T)
    image.set_positions(atoms.positions @ matrix.T)
    return Image(
        image,
        expected_forces=lambda forces: forces @ matrix.T,
        expected_stress=lambda stress: matrix @ stress @ matrix.T,
    )


def altered(
    properties: Properties,
    energy: ArrayLike = 0.0,
    forces: ArrayLike = 0.0,
    stress: ArrayLike = 0.0,
) -> Properties:
    """Properties with numbers added to them, for broken calculators.

    Parameters
    ----------
    properties:
        {"energy", "forces"} and, where the structure has a volume, "stress".
    energy:
        Number to add in eV.
    forces:
        Array to add in eV/A, of a shape that broadcasts to (n, 3).
    stress:
        Array to add in eV/A^3, of a shape that broadcasts to (6,).
    """
    changed = dict(properties)
    changed["energy"] = properties["energy"] + energy
    changed["forces"] = properties["forces"] + forces
    if "stress" in properties:
        changed["stress"] = properties["stress"] + stress
    return changed
