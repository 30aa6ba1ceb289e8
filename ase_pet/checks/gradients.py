"""Gradients: forces and stress are derivatives of the energy, by positions and by strain.

F = -dE/dr, and stress = (dE/dstrain) / V.

What helps: forces and stress by automatic differentiation of the energy; direct forces: a
conservative model.

Where it fails, energy is not conserved, and minima of the energy are not where forces vanish.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress

from ._check import Calculate, Properties
from ._results import Limit, Measured
from ._subject import Subject

LEVEL = "quick"
STRUCTURES = "any"
LIMITS = {
    "forces": Limit("of the largest", float64=1e-6, float32=5e-3),
    "stress": Limit("of the largest", float64=1e-6, float32=5e-3),
}
STEPS = {"float64": (1e-3, 1e-4), "float32": (1e-2,)}  # A; a tenth of it for strain
SMALLEST_FORCE = 0.01  # eV/A, counts as the largest where all are smaller
SMALLEST_STRESS = 1e-4  # eV/A^3, counts as the largest where all are smaller
ATOMS = {False: 3, True: 12}  # whose forces are compared, by subject.full


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield the largest errors of forces and stress of `subject` on `atoms`, of the largest ones.

    The reference are central differences with steps h and 2h, extrapolated to an error of the order
    of h^4: (4 D(h) - D(2h)) / 3.
    """
    # Evenly spaced in the list of atoms, so that different elements are among them.
    evenly_spaced = np.linspace(0, len(atoms) - 1, ATOMS[subject.full])
    chosen = np.unique(evenly_spaced.astype(int))
    with_calculator = subject.with_calculator(atoms)
    steps = STEPS[subject.precision]
    energy_noise = subject.noise.energy * len(atoms)

    forces = subject.forces(atoms)[chosen]
    limit = LIMITS["forces"].high(subject.dtype) or 0.0
    for step in steps:
        fine = calculate_numerical_forces(with_calculator, eps=step, iatoms=chosen)
        coarse = calculate_numerical_forces(with_calculator, eps=2 * step, iatoms=chosen)
        error, largest = _relative_error(forces, fine, coarse, SMALLEST_FORCE)
        noise = (energy_noise / step + subject.noise.forces) / largest
        # A kink of the energy lies within the step by chance; a shorter step tells.
        if error <= limit:
            break
    yield Measured("forces", error, f"largest {largest:.3g} eV/A", noise=noise)

    stress = subject.stress(atoms)
    options = {"voigt": False, "force_consistent": False}
    limit = LIMITS["stress"].high(subject.dtype) or 0.0
    for step in steps:
        strain = 0.1 * step
        fine = calculate_numerical_stress(with_calculator, eps=strain, **options)
        coarse = calculate_numerical_stress(with_calculator, eps=2 * strain, **options)
        error, largest = _relative_error(stress, fine, coarse, SMALLEST_STRESS)
        noise = (energy_noise / (strain * atoms.get_volume()) + subject.noise.stress) / largest
        if error <= limit:
            break
    yield Measured("stress", error, f"largest {largest:.3g} eV/A^3", noise=noise)


def _relative_error(
    values: np.ndarray, fine: np.ndarray, coarse: np.ndarray, smallest: float
) -> tuple[float, float]:
    """Largest error over the largest reference value, and the latter.

    Parameters
    ----------
    values:
        Values of the calculator.
    fine:
        Central differences with the step h.
    coarse:
        Central differences with the step 2h.
    smallest:
        Lower bound of the largest reference value.
    """
    expected = (4 * fine - coarse) / 3
    largest = max(np.abs(expected).max(), smallest)
    return np.abs(values - expected).max() / largest, largest


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with forces and stress that are 5 % too large."""

    def wrong(atoms: Atoms) -> Properties:
        properties = calculate(atoms)
        scaled = {name: 1.05 * properties[name] for name in properties if name != "energy"}
        return properties | scaled

    return wrong
