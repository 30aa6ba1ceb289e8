"""Jacobian: the matrix of derivatives of the forces is symmetric, as forces have an energy.

It is minus the matrix of second derivatives of that energy.

What helps: a conservative model: direct forces have no energy; for phonons at least symmetrised
force constants.

Where it fails, forces are not the gradient of an energy: runs heat or cool, and vibrations have no
frequencies.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms

from . import net_torque
from ._check import Calculate
from ._results import Limit, Measured
from ._subject import Subject

LEVEL = "quick"
STRUCTURES = "any"
LIMITS = {"asymmetry": Limit("", float64=1e-6, float32=1e-3)}
# A. Short, so that no kink of the forces lies within, such as the onset of a cutoff.
STEP = {"float64": 1e-5, "float32": 2e-2}
DIRECTIONS = {False: 4, True: 12}  # by subject.full


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield |(J - J^T) / 2| / |J| of the Jacobian J of the forces of `subject` on `atoms`.

    The Frobenius norms are estimated with Gaussian random directions u and v:
    E[(v J u - u J v)^2] = |J - J^T|^2 and E[|J u|^2] = |J|^2. Source of the quantity: Bigi, Langer,
    Ceriotti, arXiv:2412.11569.
    """
    generator = subject.generator()
    step = STEP[subject.precision]
    number = DIRECTIONS[subject.full]
    directions = generator.normal(size=(number, len(atoms), 3))
    products = np.array([_product(subject, atoms, direction, step) for direction in directions])

    matrix = np.einsum("ank,bnk->ab", directions, products)  # v J u of all pairs of directions
    pairs = np.triu_indices(number, 1)
    differences = (matrix - matrix.T)[pairs]
    squares = np.sum(products**2, axis=(1, 2))  # |J u|^2, (number,)
    norm = np.sqrt(np.mean(squares))
    asymmetry = 0.5 * np.sqrt(np.mean(differences**2)) / norm
    note = f"norm of the Jacobian {norm:.3g} eV/A^2"
    # |J u| of the noise alone: 3n coordinates, each over the step
    noise = subject.noise.forces / step * np.sqrt(3 * len(atoms)) / norm
    yield Measured("asymmetry", asymmetry, note, noise=noise)


def _product(subject: Subject, atoms: Atoms, direction: np.ndarray, step: float) -> np.ndarray:
    """J u (n, 3) in eV/A^2 of a direction u (n, 3), by differences of the order of step^4."""
    fine = _central_difference(subject, atoms, direction, step)
    coarse = _central_difference(subject, atoms, direction, 2 * step)
    extrapolated: np.ndarray = (4 * fine - coarse) / 3
    return extrapolated


def _central_difference(
    subject: Subject, atoms: Atoms, direction: np.ndarray, step: float
) -> np.ndarray:
    """(F(r + h u) - F(r - h u)) / 2h (n, 3), with |h u| <= step for each coordinate."""
    largest = np.abs(direction).max()
    # The largest coordinate moves by the step, and the difference is scaled back to u.
    displacement = step * direction / largest  # (n, 3)
    forces = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions += sign * displacement
        forces.append(subject.forces(moved))
    forward, backward = forces
    slopes: np.ndarray = (forward - backward) / (2 * step) * largest
    return slopes


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with forces around an axis, which do work on a closed path."""
    return net_torque.broken(calculate)
