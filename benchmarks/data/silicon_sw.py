#!/usr/bin/env python3
"""Stillinger-Weber configurations of diamond silicon, to pretrain a PET before PBE data.

usage: silicon_sw.py OUT.extxyz [--count N] [--seed S]

Labels are those of the empirical potential (matscipy), with lengths scaled to the PBE lattice
constant; they teach a model rotations and bonding at no cost. Cells of 2, 8, 16 and 64 atoms:
strained and rattled, or Langevin snapshots.
"""

import argparse
import warnings

import numpy as np
from ase import units
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.md.langevin import Langevin
from matscipy.calculators.manybody import Manybody
from matscipy.calculators.manybody.explicit_forms import StillingerWeber
from matscipy.calculators.manybody.explicit_forms.stillinger_weber import (
    Stillinger_Weber_PRB_31_5262_Si as PARAMETERS,
)

A0_PBE, A0_SW = 5.4695, 5.4310  # A
REPEATS = {2: None, 8: (1, 1, 1), 16: (2, 1, 1), 64: (2, 2, 2)}
SHARES = {2: 0.15, 8: 0.6, 16: 0.15, 64: 0.1}
SNAPSHOT = 40  # steps between snapshots of a run
SNAPSHOTS = 6


def cell(size, rng):
    """Randomly strained cell of SW silicon."""
    atoms = bulk("Si", "diamond", A0_SW, cubic=size > 2)
    if size > 2:
        atoms = atoms.repeat(REPEATS[size])
    limit = 0.05 if size <= 8 else 0.02
    strain = rng.uniform(-limit, limit, (3, 3))
    strain = (
        (strain + strain.T) / 2
        - np.eye(3) * np.trace(strain) / 3
        + np.eye(3) * rng.uniform(-limit, limit)
    )
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return atoms


def rattled(size, rng):
    """One strained cell with Gaussian displacements of 0.01 to 0.16 A."""
    atoms = cell(size, rng)
    atoms.positions += rng.normal(0, rng.uniform(0.01, 0.16), atoms.positions.shape)
    return [atoms]


def thermal(size, rng, calculator):
    """Langevin snapshots at 150 to 1500 K."""
    atoms, temperature, snapshots = cell(size, rng), rng.uniform(150, 1500), []
    atoms.calc = calculator
    atoms.set_momenta(
        rng.normal(size=(size, 3))
        * np.sqrt(2 * units.kB * temperature * atoms.get_masses())[:, None]
    )
    run = Langevin(
        atoms,
        1.5 * units.fs,
        temperature_K=temperature,
        friction=0.05 / units.fs,
        rng=rng,
        fixcm=False,
    )
    for _ in range(SNAPSHOTS):
        run.run(SNAPSHOT)
        snapshots.append(atoms.copy())
    return snapshots


def labelled(atoms, calculator):
    """The structure scaled to the PBE lattice constant, with the labels scaled alike."""
    trial = atoms.copy()
    trial.set_momenta(np.zeros((len(atoms), 3)))
    trial.calc = calculator
    scale = A0_PBE / A0_SW
    energy, forces, stress = (
        trial.get_potential_energy(),
        trial.get_forces() / scale,
        trial.get_stress() / scale**3,
    )
    scaled = trial.copy()
    scaled.set_cell(scaled.cell * scale, scale_atoms=True)
    scaled.wrap()
    scaled.calc = SinglePointCalculator(scaled, energy=energy, forces=forces, stress=stress)
    return scaled


def main():
    """Generate and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out")
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # matscipy is older than this numpy
    rng, calculator, structures = (
        np.random.default_rng(args.seed),
        Manybody(**StillingerWeber(PARAMETERS)),
        [],
    )
    while len(structures) < args.count:
        size = int(rng.choice(list(SHARES), p=list(SHARES.values())))
        fresh = (
            rattled(size, rng)
            if size == 2 or rng.random() < 0.2
            else thermal(size, rng, calculator)
        )
        structures += [labelled(atoms, calculator) for atoms in fresh]
    structures = structures[: args.count]
    for index, atoms in enumerate(structures):
        atoms.info["split"] = "val" if index % 20 == 3 else "train"
    write(args.out, structures, format="extxyz")


if __name__ == "__main__":
    main()
