"""A small local model that is far from invariant, structures with and without frames, and how to evaluate them."""

import numpy as np
import toys
import torch
from ase import Atoms
from ase.build import bulk, molecule

from ase_pet import graph
from ase_pet.evaluation import Evaluation

SPECIES = (1, 6, 7, 8, 14)
SCALES = {1: 0.009, 6: 0.011, 7: 0.01, 8: 0.012, 14: 0.01}  # of energies, so that they are about 1 eV per atom


def local_pet(dtype=torch.float64, **changes):
    """PET with one message-passing layer; its energies change by 0.1 eV when a molecule turns."""
    model = toys.tiny_pet("local", dtype, **{"cutoff_function": "bump", "species": SPECIES, **changes})
    model.scales = {"energy": SCALES}
    return model.requires_grad_(False)


def co2(angle):
    """CO2 bent to the angle in degrees; no cell."""
    half = np.deg2rad(angle) / 2
    arms = 1.16 * np.array([[0, 0, 0], [np.sin(half), np.cos(half), 0], [-np.sin(half), np.cos(half), 0]])
    return Atoms("COO", arms)


def chiral(hand=1):
    """A methane with four different neighbours, or its mirror image for hand = -1."""
    ends = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 3**0.5
    positions = np.concatenate([np.zeros((1, 3)), ends * np.array([[1.1], [1.4], [1.5], [1.8]])])
    return Atoms("CHNOSi", positions * [1, 1, hand])


def water():
    """Three water molecules; no cell."""
    one = molecule("H2O")
    atoms = one.copy()
    for angle, shift in ((70, [2.7, 0.4, 0.3]), (200, [0.2, 2.6, 0.9])):
        other = one.copy()
        other.rotate(angle, (1, 2, 3))
        other.positions += shift
        atoms += other
    return atoms


def close_packed():
    """2 atoms of displaced fcc, each with 60 pairs of nearest neighbours that are not collinear."""
    atoms = bulk("Cu", a=3.6) * (1, 1, 2)
    atoms.numbers[:] = 14
    atoms.rattle(0.05, seed=5)
    return atoms


STRUCTURES = {
    "silicon": toys.silicon, "ethanol": toys.ethanol, "slab": toys.slab, "water": water, "fcc": close_packed,
    "benzene": lambda: molecule("C6H6"), "chiral": chiral, "N2": lambda: molecule("N2"), "atom": lambda: Atoms("C"),
    **{f"CO2 {angle}": lambda angle=angle: co2(angle) for angle in (180, 175, 170, 165, 160, 155)},
}


def batch(structures, cutoff, dtype=torch.float64):
    """Graph of ASE structures."""
    return graph.build([graph.from_atoms(atoms) for atoms in structures], cutoff, dtype=dtype)


def evaluate(model, *structures, dtype=torch.float64):
    """Evaluation of ASE structures."""
    return Evaluation(model, batch(structures, model.cutoff, dtype))


def turned(atoms, turn):
    """The structure after the rotation (3, 3)."""
    atoms = atoms.copy()
    atoms.set_cell(atoms.cell.array @ turn.T)
    atoms.positions = atoms.positions @ turn.T
    return atoms
