#!/usr/bin/env python3
"""Group averages with and without the rotation of their axes: errors of energy and forces.

usage: group_axes.py [CALC] [--order 5] [--orientations 3] [--symmetrise group:O:aligned group:O]

Crystals of silicon along x, y and z, and the same crystals in random orientations. The exact value
is the mean over quadrature:ORDER, with reflections. Errors of the energy in meV/atom; root mean
square and largest errors of the force components in meV/A, of the same orientation as the energy.
For random orientations: root mean squares, and the largest error of all.
"""

import argparse

import numpy as np
import torch
from ase.build import bulk

from ase_pet import PETCalculator
from ase_pet.rotations import random_orthogonal

LATTICE = 5.4695  # A
NAMES = ("none", "group:O:aligned", "group:O", "group:I:aligned", "group:I")


def crystals():
    """{name: atoms} along x, y and z."""
    diamond = bulk("Si", "diamond", LATTICE, cubic=True)
    strained = diamond.copy()
    strained.set_cell(diamond.cell.array * [1.02, 1.0, 0.99], scale_atoms=True)
    hot = diamond.copy()
    hot.rattle(0.1, seed=1)
    hotter = diamond.copy()
    hotter.rattle(0.1, seed=2)
    vacancy = diamond.repeat(1)
    del vacancy[0]
    return {
        "diamond": diamond,
        "diamond, strained": strained,
        "diamond, 0.1 A of noise": hot,
        "diamond, other noise": hotter,
        "diamond, 1 of 8 missing": vacancy,
        "simple cubic": bulk("Si", "sc", 2.6).repeat(2),
        "fcc": bulk("Si", "fcc", 3.9, cubic=True),
    }


def rotated(atoms, matrix):
    """Copy of a structure, rotated with its cell."""
    copy = atoms.copy()
    copy.set_cell(atoms.cell.array @ matrix.T)
    copy.set_positions(atoms.positions @ matrix.T)
    return copy


def results(calculator, atoms):
    """Energy in meV/atom and forces in meV/A."""
    values = calculator.evaluate([atoms], ("energy", "forces"))[0]
    return 1000 * values["energy"] / len(atoms), 1000 * values["forces"]


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("calc", nargs="?", default="silicon")
    parser.add_argument("--order", type=int, default=5)
    parser.add_argument("--orientations", type=int, default=3)
    parser.add_argument("--symmetrise", nargs="+", default=list(NAMES))
    args = parser.parse_args()
    torch.set_num_threads(1)

    def calculator(name):
        return PETCalculator(args.calc, symmetrise=name, dtype="float64")

    exact = calculator(f"quadrature:{args.order}")
    averaged = {name: calculator(name) for name in args.symmetrise}
    matrices = random_orthogonal(args.orientations, torch.Generator().manual_seed(0)).numpy()
    print(
        f"{'':26}{'':17} along x, y, z: E     F rms   F max   random: E rms   F rms   F max",
        flush=True,
    )
    for structure, atoms in crystals().items():
        energy, forces = results(exact, atoms)
        for name, calc in averaged.items():
            own = results(calc, atoms)
            error = own[1] - forces
            others = []
            for matrix in matrices:
                turned = results(calc, rotated(atoms, matrix))
                others.append((turned[0] - energy, turned[1] @ matrix - forces))
            energies = np.array([one for one, _ in others])
            deviations = np.array([one for _, one in others])
            print(
                f"{structure:26}{name:17} {own[0] - energy:15.4f} {np.sqrt((error**2).mean()):9.4f}"
                f" {np.abs(error).max():7.4f} {np.sqrt((energies**2).mean()):15.4f}"
                f" {np.sqrt((deviations**2).mean()):7.4f} {np.abs(deviations).max():7.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
