"""Fast calculators for the tests of molecular dynamics.

Atoms held together by springs, and springs made wrong.
"""

import numpy as np
from ase import Atoms
from ase.build import bulk

from laws import Function

STIFFNESS, QUARTIC = 0.6, 1.5  # eV/A^2, eV/A^4


class Held(Function):
    """Calculator of springs."""

    implemented_properties = ["energy", "free_energy", "forces"]


class Springs:
    """Energy and forces of springs between all pairs of atoms, at rest where `atoms` are.

    Momentum is conserved.
    """

    def __init__(self, atoms):
        self.rest = atoms.get_positions()

    def __call__(self, atoms):
        moved = atoms.positions - self.rest
        stretch = moved[:, None] - moved[None]
        square = (stretch**2).sum(axis=2)
        energy = (STIFFNESS * square / 2 + QUARTIC * square**2 / 4).sum() / 2
        return {
            "energy": energy,
            "free_energy": energy,
            "forces": -((STIFFNESS + QUARTIC * square)[..., None] * stretch).sum(axis=1),
        }


class Whirl(Springs):
    """Springs with forces that are 3 % stiffer, and turned a little about z.

    Which is nobody's gradient.
    """

    def __call__(self, atoms):
        found = super().__call__(atoms)
        forces, moved = found["forces"], atoms.positions - self.rest
        turned = np.cross([0, 0, 1], moved - moved.mean(axis=0))
        return found | {"forces": 1.03 * forces + 0.05 * turned}


def cube(kind=Springs):
    """Eight argon atoms in a cell with springs between them."""
    atoms = Atoms("Ar8", 4.0 * np.indices((2, 2, 2)).reshape(3, 8).T, cell=[8, 8, 8], pbc=True)
    atoms.calc = Held(kind(atoms))
    return atoms


def copper(repeat=1):
    """Four atoms of copper, without calculator."""
    return bulk("Cu", cubic=True).repeat(repeat)
