"""Small cells: a cell that is shorter than the cutoff has the energy of its repetitions.

Each atom then has several images of one neighbour, and of itself, within the cutoff.

What helps: a neighbour list that counts all images within the cutoff (matscipy, vesin, ASE), or
supercells of twice the cutoff; for electrons, k-points of the same density in all cells.

Where it fails, primitive cells have wrong energies, and equations of state, elastic constants and
phonons from them are wrong.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms

from ._check import Calculate, Properties
from ._equivariance import SYMMETRY_LIMITS, altered, compare_repeated
from ._results import Measured
from ._structures import shortest_distance
from ._subject import Subject, extreme

LEVEL = "quick"
STRUCTURES = "periodic"
LIMITS = SYMMETRY_LIMITS
REPEATS = {False: ((3, 3, 3),), True: ((3, 3, 3), (2, 3, 1), (6, 6, 6))}  # by subject.full
FRACTIONAL = np.array([[0, 0, 0], [0.52, 0.49, 0.5]])  # coordinates of the two atoms
STRAIN = 0.03  # rms, so that the small cell has no symmetry
BROKEN_LENGTH = 9.0  # A, of the narrowest cell that the broken calculator computes well


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield the largest differences of `subject` between a cell of two atoms and its repetitions.

    The two atoms are the first of each element of `atoms`, or two of one, in a strained cell of
    caesium chloride with the shortest distance of the structure.
    """
    small = small_crystal(atoms, subject.generator())
    with extreme("a cell of two atoms"):
        subject.forces(small)
    supercells = [small.repeat(repeat) for repeat in REPEATS[subject.full]]
    yield from compare_repeated(subject, small, supercells)


def small_crystal(atoms: Atoms, generator: np.random.Generator) -> Atoms:
    """Cell of two atoms of the elements of a structure, strained and displaced at random.

    Parameters
    ----------
    atoms:
        Structure.
    generator:
        Random numbers for the strain.
    """
    elements = list(dict.fromkeys(atoms.numbers))
    numbers = [elements[0], elements[-1]]
    nearest = shortest_distance(atoms)
    length = 2 * nearest / np.sqrt(3)  # of the cube whose half diagonal is the distance
    strain = STRAIN * generator.normal(size=(3, 3))
    cell = length * (np.eye(3) + strain)
    positions = FRACTIONAL @ cell
    return Atoms(numbers, positions, cell=cell, pbc=True, info=atoms.info)


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with an error in cells that are narrower than 9 A."""

    def wrong(atoms: Atoms) -> Properties:
        error = 0.01 if atoms.cell.lengths().min() < BROKEN_LENGTH else 0.0
        return altered(calculate(atoms), energy=error, forces=error, stress=error)

    return wrong
