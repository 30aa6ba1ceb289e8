#!/usr/bin/env python3
"""Short-distance data for silicon: isolated pairs from 0.5 to 5.6 A, crystals with a close pair.

usage: silicon_pairs.py OUT.extxyz HELD.extxyz [--far FAR.extxyz] --vacuum VACUUM.extxyz --close
CLOSE.extxyz --curve CURVE.npy

The first two inputs are those of silicon_pbe.py (--vacuum, --close); the third is computed with
pyscf if it is missing (ten minutes). OUT contains (all of it to train on):
Si2: pairs by all-electron PBE and, below 1.1 A, the ZBL repulsion (pairs.py); twice the plane-wave
energy of the atom is added, so that energies are consistent with those of the crystals.
Si1: the atom.
Si8: the cells of CLOSE as they are, and each three times more with its short bond pressed further,
down to 0.5 A (pairs.py); no stress. Pseudopotentials are not valid at these distances.
HELD: the same of the cells that are held back for tests. FAR: the atom and the pairs beyond 4.5 A
again, so that a recipe can weight them: the curve must end at the energy of isolated atoms.
"""

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read, write

import pairs

BASIS = "def2-tzvp"
GRID = np.r_[
    np.arange(1.1, 2.95, 0.15), np.arange(3.0, 6.1, 0.3)
]  # A, of the all-electron calculations
DISTANCES = np.r_[
    np.arange(0.5, 1.1, 0.05), np.arange(1.1, 3.0, 0.05), np.arange(3.0, 5.6, 0.1)
]  # A, of the structures
AGAIN = 3  # further structures of each cell
FIRST, FIRST_HELD = 600000, 601000  # config_id
SEED = 20261127


def main():
    """Write the training data and the held-out data."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", help="training data")
    parser.add_argument(
        "held", help="held-out data: cells of the split test, and the same pressed further"
    )
    parser.add_argument("--far")
    parser.add_argument("--vacuum", required=True)
    parser.add_argument("--close", required=True)
    parser.add_argument("--curve", type=Path, required=True)
    arguments = parser.parse_args()
    boxes, cells = read(arguments.vacuum, ":"), read(arguments.close, ":")
    atom = next(box.get_potential_energy() for box in boxes if len(box) == 1)
    alone = {} if arguments.curve.exists() else {"Si": pairs.energy(["Si"], 0.0, 2, BASIS)[0]}
    pair = pairs.Pair(
        ["Si", "Si"], GRID, pairs.curve(["Si", "Si"], GRID, BASIS, alone, arguments.curve)
    )
    for box in (box for box in boxes if len(box) == 2):
        distance = box.get_distance(0, 1)
        print(
            f"plane waves, {distance:.1f} A: {box.get_potential_energy() - 2 * atom:.3f} eV, here"
            f" {pair.energy(distance)[0]:.3f} eV"
        )
    structures = [
        pairs.labelled(Atoms("Si"), atom, np.zeros((1, 3)), "Si1", FIRST),
        *pairs.alone(["Si", "Si"], pair, DISTANCES, 2 * atom, FIRST + 1),
    ]
    if arguments.far:
        write(
            arguments.far,
            [structures[0], *(two for two in structures[1:] if two.get_distance(0, 1) > 4.5)],
            format="extxyz",
        )
    held = [cell for cell in cells if cell.info["split"] == "test"]
    learned = [cell for cell in cells if cell not in held]
    for chosen, name, first in (
        (learned, arguments.out, FIRST + len(structures)),
        (held, arguments.held, FIRST_HELD),
    ):
        rng = np.random.default_rng(SEED)
        nearer = [
            labelled_copy
            for cell in chosen
            for labelled_copy in pairs.pressed(cell, pair, rng, AGAIN)
        ]
        nearer = [
            pairs.labelled(*labelled_copy, "Si8_pressed", first + k)
            for k, labelled_copy in enumerate(nearer)
        ]
        for cell in chosen:
            cell.info = {key: cell.info[key] for key in ("config_id", "config_type")} | {
                "split": "train"
            }
        write(name, [*chosen, *nearer, *(structures if chosen is learned else [])], format="extxyz")


if __name__ == "__main__":
    main()
