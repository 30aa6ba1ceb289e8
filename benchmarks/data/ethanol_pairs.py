#!/usr/bin/env python3
"""Short-distance data for ethanol: isolated pairs of H, C, O and molecules with a close pair.

usage: ethanol_pairs.py GEOMETRIES.extxyz OUT.extxyz HELD.extxyz --folder FOLDER [--part curves
pressed write]

GEOMETRIES: ethanol, any labels. FOLDER keeps the results, so that each part can be resumed: the
curves of the six pairs (PBE/def2-SVP, pyscf, pairs.py; half an hour) and ethanol with two atoms
pressed together (the same, as ethanol_pbe.py labels it with a grid of level 2; 5 CPU-s each). OUT
(training data): isolated atoms; pairs from 0.5 to 6 A; ethanol with two atoms pressed together,
each also pressed further twice, down to 0.5 A (pairs.py). HELD: the same for a tenth of the
structures, held back for tests.
"""

import argparse
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import covalent_radii
from ase.io import read, write
from scipy.interpolate import PchipInterpolator

import pairs
from ase_pet.train.files import structures

BASIS = "def2-svp"
SYMBOLS = list(combinations_with_replacement("CHO", 2))
FAR = np.array([1.8, 2.1, 2.4, 2.8, 3.3])  # A
APART = np.array([4.5, 5.0, 5.5, 6.0, 6.5])  # A, where the energy of a pair is taken as 0
PRESSED, AGAIN = 80, 2  # structures, and further ones of each
SHORTEST, LONGEST, OTHERS = (
    0.6,
    0.95,
    0.75,
)  # sums of covalent radii: of the pressed pair, and at least of all others
FIRST = 600000  # config_id
SEED = 20261127


def bond(symbols):
    """Sum of covalent radii in A."""
    return float(sum(covalent_radii[Atoms(symbols).numbers]))


def pair_of(symbols, alone, folder):
    """The curve of two elements.

    Computed to 3.3 A, none of it repulsive beyond 2.5 A, 0 from 4.5 A on.
    """
    grid = np.r_[np.arange(max(0.5, 0.55 * bond(symbols)), 1.7, 0.12), FAR]
    energies = pairs.curve(symbols, grid, BASIS, alone, folder / f"{''.join(symbols)}.npy")
    energies = np.where(grid > 2.5, np.minimum(energies, 0), energies)
    return pairs.Pair(symbols, np.r_[grid, APART], np.r_[energies, 0 * APART], PchipInterpolator)


def close(geometries):
    """Ethanol with two atoms pressed together: their indices are info["pair"]."""
    rng = np.random.default_rng(SEED)
    while True:
        atoms = geometries[rng.integers(len(geometries))].copy()
        ends = rng.choice(len(atoms), 2, replace=False)
        length, sums = atoms.get_distance(*ends), covalent_radii[atoms.numbers]
        target = max(0.5, rng.uniform(SHORTEST, LONGEST) * sums[ends].sum())
        if not target < length < 3.0:
            continue
        vector = atoms.get_distance(*ends, vector=True) / length
        atoms.positions[ends] += np.outer([0.5, -0.5], vector) * (length - target)
        least = atoms.get_all_distances() / (sums[:, None] + sums) + 2 * np.eye(len(atoms))
        least[ends[0], ends[1]] = least[ends[1], ends[0]] = 2
        if least.min() > OTHERS:
            atoms.calc, atoms.info = None, {"pair": [int(k) for k in ends]}
            yield atoms


def label_pressed(geometries, path):
    """Label the missing structures with two atoms pressed together."""
    from ethanol_pbe import label

    done = len(read(path, ":")) if path.exists() else 0
    for k, atoms in zip(range(PRESSED), close(geometries), strict=False):
        if k < done:
            continue
        labels = label(atoms, 2)
        atoms.info["converged"] = labels is not None
        energy, forces = labels or (0.0, np.zeros((len(atoms), 3)))
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        write(path, atoms, format="extxyz", append=True)


def gather(arguments, curves, alone):
    """Write the training data and the held-out data."""
    converged = [
        atoms for atoms in read(arguments.folder / "pressed.extxyz", ":") if atoms.info["converged"]
    ]
    learned = [
        pairs.labelled(Atoms(symbol), energy, np.zeros((1, 3)), symbol, FIRST + k)
        for k, (symbol, energy) in enumerate(alone.items())
    ]
    for symbols, pair in curves.items():
        distances = np.r_[np.arange(0.5, 3.0, 0.05), np.arange(3.0, 6.0, 0.2)]
        learned += pairs.alone(
            symbols, pair, distances, sum(alone[s] for s in symbols), FIRST + len(learned)
        )
    rng, held = np.random.default_rng(SEED), []
    for number, atoms in enumerate(converged):
        pair = curves[tuple(sorted(atoms.symbols[atoms.info["pair"]]))]
        nearer = [
            (atoms.copy(), atoms.get_potential_energy(), atoms.get_forces()),
            *pairs.pressed(atoms, pair, rng, AGAIN),
        ]
        chosen = held if number % 10 == 7 else learned
        chosen += [
            pairs.labelled(*one, f"pressed{k}", FIRST + 10000 + 10 * number + k)
            for k, one in enumerate(nearer)
        ]
    write(arguments.out, learned, format="extxyz")
    write(arguments.held, held, format="extxyz")


def main():
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("geometries", type=Path)
    parser.add_argument("out")
    parser.add_argument("held")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument(
        "--part",
        nargs="+",
        choices=["curves", "pressed", "write"],
        default=["curves", "pressed", "write"],
    )
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if "pressed" in arguments.part:
        label_pressed(structures(arguments.geometries), arguments.folder / "pressed.extxyz")
    if {"curves", "write"} & set(arguments.part):
        alone = {
            symbol: float(pairs.energy([symbol], 0.0, pairs.UNPAIRED[symbol], BASIS)[0])
            for symbol in "CHO"
        }
        curves = {symbols: pair_of(symbols, alone, arguments.folder) for symbols in SYMBOLS}
        if "write" in arguments.part:
            gather(arguments, curves, alone)


if __name__ == "__main__":
    main()
