"""Cutoff, pair: energy and forces of two atoms do not jump as they move apart, at any distance.

What helps: a smooth cutoff function that switches energy and forces to zero; a step inside of the
cutoff: the end of a table, of a spline or of a switching function of that pair of elements.

Where it fails, each pair of atoms that crosses the place of the jump gains or loses energy: long
runs drift, and minima and phonons depend on the side of the jump.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms

from ._check import Calculate, Properties
from ._equivariance import altered
from ._jumps import JUMP_LIMITS, SPACING, AtomPath, largest_jumps
from ._results import Measured
from ._subject import Subject, extreme

LEVEL = "quick"
STRUCTURES = "pair"
LIMITS = JUMP_LIMITS
FURTHEST = 12.0  # A, where the calculator does not state its cutoff
START = 0.9  # of the sum of the covalent radii
BROKEN_CUTOFF = 5.0  # A
BROKEN_WAVE = 0.2  # A, wavelength of an energy of 1 eV


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield the largest jumps of `subject` as the second of two `atoms` moves away.

    From 0.9 of the sum of covalent radii to beyond the cutoff, or to 12 A where it is not known.
    """
    bond = atoms.get_distance(0, 1)
    # Displacements are counted from the bond: a distance r is at r - bond.
    if subject.cutoff is None:
        end = FURTHEST
        known = []
    else:
        end = subject.cutoff + 0.5
        known = [subject.cutoff - bond]
    distances = np.arange(START * bond, end, SPACING)
    grid = distances - bond
    path = AtomPath(subject, atoms, index=1, direction=np.array([0.0, 0.0, 1.0]))
    with extreme("atoms along the path"):
        yield from largest_jumps(path, grid, known)


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with an attraction of pairs that ends at 5 A, and a stiff wave there."""
    return lambda atoms: with_cut_pairs(calculate(atoms), atoms)


def with_cut_pairs(properties: Properties, atoms: Atoms) -> Properties:
    """Properties with 10 meV and an attraction of 10 meV/A of pairs up to 5 A, and a wave there.

    Parameters
    ----------
    properties:
        Energy and forces of the atoms.
    atoms:
        Free structure.
    """
    positions = atoms.positions
    vectors = positions[None] - positions[:, None]  # (n, n, 3), from i to j
    distances = np.linalg.norm(vectors, axis=2)
    different = distances > 0
    within_cutoff = distances < BROKEN_CUTOFF
    inside = within_cutoff & different
    divisors = np.where(inside, distances, 1.0)  # no division by the distance of an atom to itself
    phases = 2 * np.pi * distances / BROKEN_WAVE
    last_wave = distances > BROKEN_CUTOFF - BROKEN_WAVE
    pair_energies = np.where(inside, 0.01 + last_wave * np.sin(phases), 0.0)
    slopes = 0.01 + last_wave * 2 * np.pi / BROKEN_WAVE * np.cos(phases)
    pull = np.where(inside, slopes / divisors, 0.0)
    energy = 0.5 * pair_energies.sum()  # each pair is listed twice
    pair_forces = pull[..., None] * vectors  # (n, n, 3)
    forces = pair_forces.sum(axis=1)  # (n, 3)
    return altered(properties, energy=energy, forces=forces)
