"""Modes of a Hessian, without translations and rotations."""

from __future__ import annotations

from math import sqrt

import numpy as np
import scipy.linalg
from ase import Atoms, units

# What is projected out: translations and rotations of a molecule, translations of a periodic
# structure, nothing where atoms are fixed.
EXTERNAL = ("molecule", "translations", "none")
IMAGINARY = -1e-4  # eV, 0.8 cm^-1; imaginary modes are negative numbers, and rounding is above this
GAP = 5.0  # A; molecules that are further apart rotate freely
LINEAR = 1e-6  # smallest over largest moment of inertia: atoms are within 0.1 % on one line

# sqrt(eV/A^2/amu) in eV, hbar omega
ENERGY = units._hbar * units.m / sqrt(units._e * units._amu)


def external_of(atoms: Atoms, moving: np.ndarray) -> str:
    """Which motions cost no energy: one of EXTERNAL.

    Parameters
    ----------
    atoms:
        Structure.
    moving:
        Indices of the atoms that move.
    """
    if len(moving) < len(atoms):
        return "none"
    return "translations" if atoms.pbc.any() else "molecule"


def is_isolated(atoms: Atoms) -> bool:
    """Whether a periodic structure is a molecule in a box: an empty gap along each direction.

    Parameters
    ----------
    atoms:
        Structure with at least one periodic direction.
    """
    fractions = np.sort(atoms.get_scaled_positions(), axis=0)  # (n, 3), each in [0, 1)
    around = np.concatenate([fractions, fractions[:1] + 1])
    gaps = np.diff(around, axis=0).max(axis=0)
    # distances of the planes of the cell
    heights = 1 / np.linalg.norm(atoms.cell.reciprocal(), axis=1)
    return bool(((gaps * heights)[atoms.pbc] > GAP).all())


def is_linear(atoms: Atoms) -> bool:
    """Whether all atoms are on one line.

    Parameters
    ----------
    atoms:
        Molecule of two atoms or more.
    """
    moments = np.sort(atoms.get_moments_of_inertia())
    return bool(moments[0] <= LINEAR * moments[2])


def external_motions(atoms: Atoms, external: str) -> np.ndarray:
    """(3n, m) orthonormal mass-weighted translations and rotations.

    Parameters
    ----------
    atoms:
        Structure of n atoms.
    external:
        One of EXTERNAL; a linear molecule has two rotations, any other three.
    """
    roots = np.sqrt(atoms.get_masses())  # (n,)
    axes = np.eye(3)
    motions = []
    if external != "none":
        for axis in axes:
            motions.append(roots[:, None] * axis)  # (n, 3)
    if external == "molecule":
        about_centre = atoms.positions - atoms.get_center_of_mass()
        rotations = []
        # rotations about the principal axes: that about the line of a linear molecule moves nothing
        _, principal = atoms.get_moments_of_inertia(vectors=True)
        for axis in principal:
            rotations.append(roots[:, None] * np.cross(axis, about_centre))
        if is_linear(atoms):
            rotations.sort(key=np.linalg.norm)
            rotations = rotations[1:]
        motions += rotations
    if not motions:
        return np.zeros((3 * len(atoms), 0))
    columns = np.array(motions).reshape(len(motions), -1).T
    orthonormal, _ = np.linalg.qr(columns)
    return np.asarray(orthonormal)


def solve(
    hessian: np.ndarray, masses: np.ndarray, external: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Energies (m,) in eV, imaginary ones negative, and mass-weighted modes (m, 3k), normalised.

    They are those of the Hessian in the space that is orthogonal to the external motions.

    Parameters
    ----------
    hessian:
        (3k, 3k) symmetric second derivatives in eV/A^2.
    masses:
        (k,) masses in amu.
    external:
        (3k, e) orthonormal mass-weighted motions to leave out; e may be 0.
    """
    weights = np.repeat(masses, 3) ** -0.5
    weighted = hessian * np.outer(weights, weights)
    internal = np.eye(len(weighted))
    if external.shape[1]:
        internal = scipy.linalg.null_space(external.T)  # (3k, m)
    # eigenvalues are squares of frequencies
    projected = internal.T @ weighted @ internal
    squares, vectors = np.linalg.eigh(projected)
    energies = ENERGY * np.sign(squares) * np.sqrt(np.abs(squares))
    return energies, (internal @ vectors).T
