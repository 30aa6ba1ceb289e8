"""Fast calculators for the tests of molecular dynamics: atoms held together by springs."""

import numpy as np
from ase import Atoms
from ase.build import bulk

from laws import Function

STIFFNESS = 0.6  # eV/A^2
QUARTIC = 1.5  # eV/A^4


class Held(Function):
    """Calculator of springs."""

    implemented_properties = ["energy", "free_energy", "forces"]


class Springs:
    """Energy and forces of springs between all pairs of atoms, zero for `atoms` as they are.

    Momentum is conserved. E = sum over pairs k s / 2 + q s^2 / 4, with s = |u_i - u_j|^2 of the
    displacements u.
    """

    def __init__(self, atoms):
        self.rest = atoms.get_positions()

    def __call__(self, atoms):
        displacements = atoms.positions - self.rest
        stretch = displacements[:, None] - displacements[None]  # (n, n, 3)
        square = (stretch**2).sum(axis=2)
        # Each pair is counted twice.
        energy = (STIFFNESS * square / 2 + QUARTIC * square**2 / 4).sum() / 2
        tension = STIFFNESS + QUARTIC * square
        forces = -(tension[..., None] * stretch).sum(axis=1)
        return {"energy": energy, "free_energy": energy, "forces": forces}


class Whirl(Springs):
    """Springs with forces 3 % too large and a torque about z: not the gradient of an energy."""

    def __call__(self, atoms):
        properties = super().__call__(atoms)
        displacements = atoms.positions - self.rest
        whirl = np.cross([0, 0, 1], displacements - displacements.mean(axis=0))
        return properties | {"forces": 1.03 * properties["forces"] + 0.05 * whirl}


def cube(kind=Springs):
    """Eight argon atoms in a periodic cell with springs of a `kind` between them."""
    atoms = Atoms("Ar8", 4.0 * np.indices((2, 2, 2)).reshape(3, 8).T, cell=[8, 8, 8], pbc=True)
    atoms.calc = Held(kind(atoms))
    return atoms


def copper(repeat=1):
    """Four atoms of copper, without calculator."""
    return bulk("Cu", cubic=True).repeat(repeat)
