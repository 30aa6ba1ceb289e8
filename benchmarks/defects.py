"""Calculators with one hidden defect each, and the pair potential that they are made from.

DEFECTS lists them: {name: (calculator class, check that must find it, level)}.
"""

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list
from ase.stress import full_3x3_to_voigt_6_stress

SPECIES = ["Cu", "Au"]
SWITCH = 2.0  # A, width of the switching function


class Pair(Calculator):
    """Morse potential that a polynomial of fifth order switches off: correct in all checks."""

    implemented_properties = ["energy", "forces", "stress", "free_energy", "energies"]
    cutoff = 6.0
    depth = 0.1  # eV
    width = 1.3  # 1/A
    bond = 2.7  # A

    def potential(self, r, first, second):
        """Energy and slope of pairs at distances r (m,) of elements (m,)."""
        decay = np.exp(-self.width * (r - self.bond))
        energy = self.depth * (decay**2 - 2 * decay)
        slope = -2 * self.width * self.depth * (decay**2 - decay)
        x = np.clip((r - self.cutoff + SWITCH) / SWITCH, 0, 1)
        switch = 1 - x**3 * (10 - 15 * x + 6 * x**2)
        switch_slope = -30 * x**2 * (1 - x) ** 2 / SWITCH
        return energy * switch, slope * switch + energy * switch_slope

    def pairs(self, atoms):
        """Indices i and j, distances and vectors of pairs within the cutoff."""
        return neighbor_list("ijdD", atoms, self.cutoff)

    def compute(self, atoms):
        """Results of a structure."""
        i, j, distances, vectors = self.pairs(atoms)
        energies, slopes = self.potential(distances, atoms.numbers[i], atoms.numbers[j])
        pulls = (slopes / distances)[:, None] * vectors
        of_atoms = np.bincount(i, 0.5 * energies, minlength=len(atoms))
        forces = np.zeros((len(atoms), 3))
        np.add.at(forces, i, pulls)
        results = {"energy": of_atoms.sum(), "energies": of_atoms, "forces": forces}
        results["free_energy"] = results["energy"]
        if atoms.cell.rank == 3:
            virial = 0.5 * np.einsum("pi,pj->ij", vectors, pulls)
            results["stress"] = full_3x3_to_voigt_6_stress(virial / atoms.get_volume())
        return results

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        """Results with the defect."""
        super().calculate(atoms, properties, system_changes)
        self.results = self.compute(self.atoms)
        self.alter(self.atoms, self.results)

    def alter(self, atoms, results):
        """Change the results; here not."""


class Leak(Pair):
    """Keeps 1.5 kB of each call."""

    def __init__(self):
        super().__init__()
        self.kept = []

    def alter(self, atoms, results):
        """Keep a block."""
        self.kept.append(bytearray(1500))


class StaleList(Pair):
    """Refreshes its neighbour list every 50 calls, and for other cells and sizes."""

    calls = 0
    known = None

    def pairs(self, atoms):
        """Pairs of the list of an earlier call, with vectors of this one."""
        key = (len(atoms), atoms.cell.array.tobytes())
        if self.calls % 50 == 0 or self.known is None or self.known[0] != key:
            self.known = (key, *neighbor_list("ijS", atoms, self.cutoff + 0.3))
        self.calls += 1
        _, i, j, shifts = self.known
        vectors = atoms.positions[j] - atoms.positions[i] + shifts @ atoms.cell.array
        distances = np.linalg.norm(vectors, axis=1)
        near = distances < self.cutoff
        return i[near], j[near], distances[near], vectors[near]


class MinimumImage(Pair):
    """Counts the nearest image of each neighbour only."""

    def pairs(self, atoms):
        """The shortest one of the pairs of each two atoms."""
        i, j, distances, vectors = super().pairs(atoms)
        order = np.lexsort((distances, j, i))
        order = order[i[order] != j[order]]
        pair = i[order] * len(atoms) + j[order]
        first = order[np.diff(pair, prepend=-1) != 0]
        return i[first], j[first], distances[first], vectors[first]


class SlabPeriodic(Pair):
    """Takes slabs as fully periodic."""

    def pairs(self, atoms):
        """Pairs with all images."""
        return super().pairs(with_pbc(atoms, True) if atoms.pbc.any() else atoms)


class SlabOpen(Pair):
    """Takes slabs as molecules."""

    def pairs(self, atoms):
        """Pairs without images."""
        return super().pairs(atoms if atoms.pbc.all() else with_pbc(atoms, False))


def with_pbc(atoms, pbc):
    """Copy of a structure that is periodic in all directions or in none."""
    atoms = atoms.copy()
    atoms.pbc = pbc
    return atoms


class Above64(Pair):
    """Has 1 meV more per atom above 64 atoms."""

    def alter(self, atoms, results):
        """Add the energy."""
        if len(atoms) > 64:
            results["energy"] += 1e-3 * len(atoms)


class Nearest60(Pair):
    """Keeps the 60 nearest neighbours of each atom."""

    def pairs(self, atoms):
        """Pairs with so many neighbours."""
        i, j, distances, vectors = super().pairs(atoms)
        order = np.lexsort((distances, i))
        rank = np.arange(len(i)) - np.searchsorted(i[order], i[order])
        kept = order[rank < 60]
        return i[kept], j[kept], distances[kept], vectors[kept]


class StepOfOnePair(Pair):
    """Has a step of 1 meV inside of the cutoff of Cu-Au."""

    def potential(self, r, first, second):
        """Potential with the step."""
        energy, slope = super().potential(r, first, second)
        return energy + 1e-3 * (first != second) * (r < 4.1), slope


class EnergyStep(Pair):
    """Has a step of 0.01 micro-eV at 3.777 A."""

    def potential(self, r, first, second):
        """Potential with the step."""
        energy, slope = super().potential(r, first, second)
        return energy + 1e-8 * (r < 3.777), slope


class ForceStep(Pair):
    """Has a step of the force of 1 meV/A at 3.3137 A, with its energy."""

    def potential(self, r, first, second):
        """Potential with the step."""
        energy, slope = super().potential(r, first, second)
        inside = r < 3.3137
        return energy + 1e-3 * (r - 3.3137) * inside, slope + 1e-3 * inside


class StressWithoutTail(Pair):
    """Lacks the pairs beyond 5.5 A in the stress."""

    def alter(self, atoms, results):
        """Stress of the near pairs."""
        if atoms.cell.rank < 3:
            return
        i, j, distances, vectors = self.pairs(atoms)
        _, slopes = self.potential(distances, atoms.numbers[i], atoms.numbers[j])
        slopes = np.where(distances < 5.5, slopes, 0)
        pulls = (slopes / distances)[:, None] * vectors
        virial = 0.5 * np.einsum("pi,pj->ij", vectors, pulls)
        results["stress"] = full_3x3_to_voigt_6_stress(virial / atoms.get_volume())


class FreeEnergy(Pair):
    """Has a free energy that is 1 meV per atom below the energy."""

    def alter(self, atoms, results):
        """Lower the free energy."""
        results["free_energy"] -= 1e-3 * len(atoms)


class AtomicEnergies(Pair):
    """Has energies of atoms that are 0.1 % too large."""

    def alter(self, atoms, results):
        """Scale the energies of atoms."""
        results["energies"] = 1.001 * results["energies"]


class Masses(Pair):
    """Has an energy that depends on masses."""

    def alter(self, atoms, results):
        """Add the masses."""
        results["energy"] += 1e-4 * atoms.get_masses().sum()


class Attraction(Pair):
    """Has an attraction of 0.3 meV/A at most between atoms at 20 to 30 A."""

    def alter(self, atoms, results):
        """Add the attraction of free structures."""
        if atoms.pbc.any():
            return
        vectors = atoms.positions[None] - atoms.positions[:, None]
        distances = np.linalg.norm(vectors, axis=2)
        phases = np.pi * np.clip((distances - 20) / 10, 0, 1)
        slopes = -1e-4 * np.pi * np.sin(2 * phases)
        pulls = slopes / np.maximum(distances, 1)
        results["energy"] -= 0.5e-3 * (np.sin(phases) ** 2).sum()
        results["forces"] = results["forces"] + (pulls[..., None] * vectors).sum(axis=1)


class ShortBonds(Pair):
    """Has forces that are 1 % too small on bonds below 2 A."""

    def potential(self, r, first, second):
        """Potential with the wrong slope."""
        energy, slope = super().potential(r, first, second)
        return energy, np.where(r < 2.0, 0.99, 1.0) * slope


class NotExtensive(Pair):
    """Has an energy that grows by 1e-6 of itself with each atom."""

    def alter(self, atoms, results):
        """Scale the energy."""
        results["energy"] *= 1 + 1e-6 * len(atoms)


DEFECTS = {
    "leak of 1.5 kB a call": (Leak, "memory", "full"),
    "list refreshed every 50 calls": (StaleList, "history", "quick"),
    "minimum image only": (MinimumImage, "small_cell", "quick"),
    "slabs as periodic": (SlabPeriodic, "slab", "quick"),
    "slabs as open": (SlabOpen, "slab", "quick"),
    "wrong above 64 atoms": (Above64, "size", "quick"),
    "60 nearest neighbours": (Nearest60, "dense", "full"),
    "step in Cu-Au": (StepOfOnePair, "cutoff_pair", "quick"),
    "energy step of 1e-8 eV": (EnergyStep, "cutoff_pair", "quick"),
    "force step of 1e-3 eV/A": (ForceStep, "cutoff_pair", "quick"),
    "stress without a tail": (StressWithoutTail, "strained", "quick"),
    "free energy": (FreeEnergy, "free_energy", "quick"),
    "energies of atoms": (AtomicEnergies, "atomic_energies", "quick"),
    "masses": (Masses, "labels", "quick"),
    "attraction at 20 to 30 A": (Attraction, "long_range", "quick"),
    "forces of short bonds": (ShortBonds, "short_bonds", "quick"),
    "not extensive by 1e-6": (NotExtensive, "size", "quick"),
}
