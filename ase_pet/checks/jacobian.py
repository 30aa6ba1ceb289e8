"""Jacobian: that of the forces is symmetric, as there is an energy whose second derivatives it
holds.

Where it fails, forces belong to no energy: runs heat or cool, and vibrations have no frequencies.
"""

import numpy as np

from ._equivariance import altered
from ._results import Limit, Measured

LEVEL, STRUCTURES = "quick", "any"
LIMITS = {"asymmetry": Limit("", float64=1e-6, float32=1e-3)}
STEP = {
    "float64": 1e-5,
    "float32": 2e-2,
}  # A; short: kinks of the force, as at the onset of a cutoff, lie outside
DIRECTIONS = {False: 4, True: 12}


def measure(subject, atoms):
    """|(J - J^T) / 2| / |J| in Frobenius norms, estimated from v J u - u J v of random directions
    u, v.

    E (v J u - u J v)^2 = |J - J^T|^2 and E |J u|^2 = |J|^2 for Gaussian u, v; J u by central
    differences with h and 2h, extrapolated. Source of the measure: Bigi, Langer, Ceriotti,
    arXiv:2412.11569.
    """
    generator, step = subject.generator(), STEP[subject.dtype]
    directions = generator.normal(size=(DIRECTIONS[subject.full], *atoms.positions.shape))
    products = np.array([_product(subject, atoms, direction, step) for direction in directions])
    matrix = np.einsum("ank,bnk->ab", directions, products)
    pairs = np.triu_indices(len(directions), 1)
    norm = np.sqrt(np.mean(np.sum(products**2, axis=(1, 2))))
    value = 0.5 * np.sqrt(np.mean((matrix - matrix.T)[pairs] ** 2)) / norm
    yield Measured("asymmetry", value, f"norm of the Jacobian {norm:.3g} eV/A^2")


def _product(subject, atoms, direction, step):
    slopes = []
    for h in (step, 2 * step):
        ends = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions += sign * h * direction / np.abs(direction).max()
            ends.append(subject.forces(moved))
        slopes.append((ends[0] - ends[1]) / (2 * h) * np.abs(direction).max())
    return (4 * slopes[0] - slopes[1]) / 3


def broken(calculate):
    """Forces around an axis, which do work on the way round."""

    def wrong(atoms):
        arms = atoms.positions - atoms.positions.mean(axis=0)
        return altered(calculate(atoms), forces=0.01 * np.cross([0, 0, 1], arms))

    return wrong
