"""Structures and calculators of argon for the tests of checks."""

from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.lj import LennardJones


class Function(Calculator):
    """ASE calculator of a function Atoms -> {"energy", "forces", "stress"}, and more or less.

    It has a method `evaluate` for batches if the function has one.
    """

    implemented_properties = ["energy", "forces", "stress", "free_energy", "energies"]

    def __init__(self, function, cutoff=None):
        super().__init__()
        self.function = function
        self.cutoff = cutoff
        if hasattr(function, "evaluate"):
            self.evaluate = function.evaluate

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = dict(self.function(self.atoms))


def lennard_jones():
    """Smooth Lennard-Jones argon."""
    return LennardJones(sigma=3.4, epsilon=0.0104, rc=7.5, ro=5.0, smooth=True)


def argon(atoms):
    """Energy, forces and, in a cell, stress of smooth Lennard-Jones argon; energies of atoms."""
    calculator = lennard_jones()
    calculator.calculate(atoms, ["energy"])
    return {
        name: calculator.results[name]
        for name in ("energy", "forces", "stress", "free_energy", "energies")
        if name in calculator.results
    }


def evaluate(structures, properties=("energy", "forces")):
    """List of the properties of `argon`, one for each of the structures."""
    return [argon(atoms) for atoms in structures]


argon.evaluate = evaluate


def crystal():
    """Four atoms of crystalline argon."""
    return bulk("Ar", "fcc", 5.3, cubic=True)


def cluster():
    """Five argon atoms without a cell, no three of them collinear."""
    return Atoms("Ar5", [[0, 0, 0], [3.8, 0, 0], [1.8, 3.3, 0], [1.9, 1.2, 3.1], [-1.6, 2.2, 2.9]])


STRUCTURES = {"crystal": crystal, "cluster": cluster}


def windy():
    """Argon with a constant force added to each atom."""
    return Function(lambda atoms: argon(atoms) | {"forces": argon(atoms)["forces"] + 0.01})
