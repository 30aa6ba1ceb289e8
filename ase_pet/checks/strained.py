"""Strained structures: forces and stress are derivatives of the energy far from equilibrium too.

Structures are compressed and stretched by up to a quarter. Compression brings other neighbours into
range; stretching leaves only the long-range tail of the interactions.

What helps: forces and stress by automatic differentiation of the energy, and all terms of the
energy, such as tail corrections and repulsion, in all three.

Where it fails, hot runs, runs under pressure and equations of state do not conserve energy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from ase import Atoms

from ._check import Calculate, Properties
from ._results import NOISE_FACTOR, Limit, Measured, worst_index
from ._subject import Subject, extreme

LEVEL = "quick"
STRUCTURES = "any"
LIMITS = {
    "forces": Limit("of their norm", float64=1e-6, float32=5e-3),
    "stress": Limit("of its norm", float64=1e-6, float32=5e-3),
}
FACTORS = {False: (0.75, 0.9, 1.25), True: (0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.1, 1.25, 1.4)}
STEP = {"float64": 1e-3, "float32": 4e-3}  # A rms of a coordinate
STRAIN = {"float64": 1e-4, "float32": 1e-3}
SHORTER = 0.1  # of the steps, tried where a kink of the energy may lie within
SMALLEST_FORCES = 1e-2  # eV/A, norm that counts where it is smaller
SMALLEST_STRESS = 1e-5  # eV/A^3, norm that counts where it is smaller


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield the largest errors of forces and stress of `subject` in compressed, stretched `atoms`.

    Along the forces F themselves, and a random direction, the energy falls by |F| per length; the
    reference are central differences with steps h and 2h, (4 D(h) - D(2h)) / 3.
    """
    generator = subject.generator()
    structures = [_scaled(atoms, factor, generator) for factor in FACTORS[subject.full]]
    results = []
    with extreme("a compressed or stretched structure"):
        for structure in structures:
            error, noise = _force_error(subject, structure, generator)
            results.append(Measured("forces", error, noise=noise))
    yield _worst(results, FACTORS[subject.full])

    subject.stress(atoms)  # raises NotApplicable for a structure without a volume
    results = []
    with extreme("a compressed or stretched cell"):
        for structure in structures:
            error, noise = _stress_error(subject, structure, generator)
            results.append(Measured("stress", error, noise=noise))
    yield _worst(results, FACTORS[subject.full])


def _worst(results: list[Measured], factors: tuple[float, ...]) -> Measured:
    """The largest of values beyond their noise, with the factor of lengths as its note."""
    beyond = [result.value - NOISE_FACTOR * result.noise for result in results]
    worst = worst_index(np.array(beyond))
    note = f"lengths times {factors[worst]:g}"
    return replace(results[worst], note=note)


def _scaled(atoms: Atoms, factor: float, generator: np.random.Generator) -> Atoms:
    """Copy with all lengths times a factor, and a shear by 2 % rms."""
    shear = 0.02 * generator.normal(size=(3, 3))
    deformation = factor * (np.eye(3) + shear)
    scaled: Atoms = atoms.copy()
    scaled.set_cell(atoms.cell.array @ deformation)
    scaled.positions = atoms.positions @ deformation
    return scaled


def _force_error(
    subject: Subject, atoms: Atoms, generator: np.random.Generator
) -> tuple[float, float]:
    """Error of the forces along a direction, of their norm, and the part that noise can cause."""
    forces = subject.forces(atoms)
    norm = float(np.linalg.norm(forces))
    direction = _direction(forces, 0.3, generator)
    step = STEP[subject.precision] * float(np.sqrt(forces.size))  # along the unit vector

    def energy_at(displacement: float) -> float:
        moved = atoms.copy()
        moved.positions += displacement * direction
        return subject.energy_and_forces(moved)[0]

    expected = -float(np.sum(forces * direction))
    error = _derivative_error(energy_at, step, expected, subject.precision)
    # of energies over the step, and of the forces themselves
    energy_noise = subject.noise.energy * len(atoms)
    noise = energy_noise / step + subject.noise.forces
    scale = max(norm, SMALLEST_FORCES)
    return error / scale, noise / scale


def _stress_error(
    subject: Subject, atoms: Atoms, generator: np.random.Generator
) -> tuple[float, float]:
    """Error of the stress along a strain, of its norm, and the part that noise can cause."""
    stress = subject.stress(atoms)
    norm = float(np.linalg.norm(stress))
    random = _direction(stress, 0.3, generator)
    direction = 0.5 * (random + random.T)
    step = STRAIN[subject.precision]
    volume = float(atoms.get_volume())

    def energy_at(strain: float) -> float:
        deformed = atoms.copy()
        deformation = np.eye(3) + strain * direction
        deformed.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
        return subject.energy_and_forces(deformed)[0] / volume

    expected = float(np.sum(stress * direction))
    error = _derivative_error(energy_at, step, expected, subject.precision)
    # of energies over the step, and of the stress itself
    energy_noise = subject.noise.energy * len(atoms)
    noise = energy_noise / (step * volume) + subject.noise.stress
    scale = max(norm, SMALLEST_STRESS)
    return error / scale, noise / scale


def _direction(values: np.ndarray, share: float, generator: np.random.Generator) -> np.ndarray:
    """Unit vector of the shape of values, along them but for a random share."""
    random = generator.normal(size=values.shape)
    random *= share / np.linalg.norm(random)
    norm = np.linalg.norm(values)
    along = values / norm if norm > 0 else np.zeros_like(values)
    direction = along + random
    unit: np.ndarray = direction / np.linalg.norm(direction)
    return unit


def _derivative_error(
    energy_at: Callable[[float], float], step: float, expected: float, precision: str
) -> float:
    """|dE/dx - expected| by differences; the smaller of two steps in float64.

    An energy with a kink of its slope has it within the step by chance only, a wrong derivative is
    wrong with any step.
    """
    lengths = [step, SHORTER * step] if precision == "float64" else [step]
    errors = []
    for length in lengths:
        fine = _central(energy_at, length)
        coarse = _central(energy_at, 2 * length)
        slope = (4 * fine - coarse) / 3
        errors.append(abs(slope - expected))
    return min(errors)


def _central(energy_at: Callable[[float], float], step: float) -> float:
    """(E(h) - E(-h)) / 2h."""
    return (energy_at(step) - energy_at(-step)) / (2 * step)


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with forces and stress that are 1 % too small."""

    def wrong(atoms: Atoms) -> Properties:
        properties = calculate(atoms)
        scaled = {name: 0.99 * properties[name] for name in properties if name != "energy"}
        return properties | scaled

    return wrong
