#!/usr/bin/env python3
"""Errors of a calculator at short interatomic distances, on held-out structures.

usage: short_distances.py CALC HELD.extxyz

HELD: structures of benchmarks/data/silicon_pairs.py or ethanol_pairs.py, none of which is trained
on. Printed by the type of structure: distances, rms force, and the errors of energies and forces,
all in eV and A, in float64.
"""

import argparse
from collections import defaultdict

import numpy as np
from ase.io import read

from ase_pet import PETCalculator


def nearest(atoms):
    """Shortest distance in A."""
    return atoms.get_all_distances(mic=any(atoms.pbc))[np.triu_indices(len(atoms), 1)].min()


def main():
    """Print a line for each type of structure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("calculator")
    parser.add_argument("held")
    arguments = parser.parse_args()
    held = read(arguments.held, ":")
    predicted = PETCalculator(arguments.calculator, dtype="float64").evaluate(
        held, ("energy", "forces")
    )
    kinds = defaultdict(list)
    for atoms, results in zip(held, predicted, strict=True):
        kinds[atoms.info["config_type"].rstrip(".0123456789")].append((atoms, results))
    for kind, pairs in kinds.items():
        distances = [nearest(atoms) for atoms, _ in pairs]
        forces = np.concatenate([atoms.get_forces().ravel() for atoms, _ in pairs])
        errors = np.concatenate([results["forces"].ravel() for _, results in pairs]) - forces
        energies = [
            (results["energy"] - atoms.get_potential_energy()) / len(atoms)
            for atoms, results in pairs
        ]
        print(
            f"{kind}: {len(pairs)} structures, nearest atoms {min(distances):.2f} to"
            f" {max(distances):.2f} A; rms force {np.sqrt(np.mean(forces**2)):.1f} eV/A; MAE:"
            f" forces {np.abs(errors).mean():.3f} eV/A, energies {np.abs(energies).mean():.3f}"
            " eV/atom"
        )


if __name__ == "__main__":
    main()
