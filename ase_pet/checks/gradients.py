"""Gradients: forces are minus the derivative of the energy in the positions, stress is that in the
strain over volume.

Where it fails, energy is not conserved, and minima of the energy are not where forces vanish.
"""

import numpy as np
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress

from ._results import Limit, Measured

LEVEL, STRUCTURES = "quick", "any"
LIMITS = {
    "forces": Limit("of the largest", float64=1e-6, float32=5e-3),
    "stress": Limit("of the largest", float64=1e-6, float32=5e-3),
}
STEP = {"float64": 1e-3, "float32": 1e-2}  # A, and of strain
SMALLEST = {
    "forces": 0.01,
    "stress": 1e-4,
}  # eV/A, eV/A^3: what counts as the largest where all are smaller
ATOMS = {False: 3, True: 12}


def measure(subject, atoms):
    """Largest difference to central finite differences with h and 2h, extrapolated.

    The error is of the order h^4.
    """
    subject_atoms, step = subject.attached(atoms), STEP[subject.dtype]
    chosen = np.unique(np.linspace(0, len(atoms) - 1, ATOMS[subject.full]).astype(int))
    forces = subject.forces(atoms)[chosen]
    yield _difference(
        "forces",
        forces,
        [calculate_numerical_forces(subject_atoms, eps=h, iatoms=chosen) for h in (step, 2 * step)],
    )
    stress = subject.stress(atoms)
    yield _difference(
        "stress",
        stress,
        [
            calculate_numerical_stress(subject_atoms, eps=h, voigt=False, force_consistent=False)
            for h in (0.1 * step, 0.2 * step)
        ],
    )


def _difference(quantity, found, numerical):
    expected = (4 * numerical[0] - numerical[1]) / 3
    largest = max(np.abs(expected).max(), SMALLEST[quantity])
    unit = {"forces": "eV/A", "stress": "eV/A^3"}[quantity]
    return Measured(
        quantity, np.abs(found - expected).max() / largest, f"largest {largest:.3g} {unit}"
    )


def broken(calculate):
    """Forces and stress that are 5 % too large."""

    def wrong(atoms):
        results = calculate(atoms)
        return results | {
            name: 1.05 * results[name] for name in ("forces", "stress") if name in results
        }

    return wrong
