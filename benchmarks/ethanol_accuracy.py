#!/usr/bin/env python3
"""Errors of an ethanol calculator on the revised MD17 set and on test splits of other files.

usage: ethanol_accuracy.py [CALC] --rmd17 FILE [--data FILE] [--symmetrise NAME ...]

FILE of rMD17: extended XYZ in kcal/mol and kcal/mol/A. Energies of molecules, after one constant
shift (the mean error): MAE and RMSE in meV, forces in meV/A. --data: a file with splits, in eV; its
test structures by `config_type`. Published after training on 950 structures of rMD17 (MAE): PONITA
0.4 meV and 2.5 meV/A, PNITA 0.7 and 4.1, NequIP 0.4 and 2.8. The shipped calculator was trained on
structures of other dynamics (GFN2-xTB) at the same level of theory.
"""

import argparse

import numpy as np
from ase import units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read

from ase_pet import PETCalculator


def in_electronvolt(atoms):
    """A structure of rMD17 with labels in eV and eV/A."""
    factor = units.kcal / units.mol
    atoms.calc = SinglePointCalculator(
        atoms, energy=factor * atoms.get_potential_energy(), forces=factor * atoms.get_forces()
    )
    return atoms


def errors(calculator, frames):
    """Energies of molecules after one shift and force components: MAE and RMSE in meV and meV/A."""
    predicted = calculator.evaluate(frames, ("energy", "forces"))
    energy = 1e3 * np.array(
        [
            f["energy"] - atoms.get_potential_energy()
            for f, atoms in zip(predicted, frames, strict=True)
        ]
    )
    forces = 1e3 * np.concatenate(
        [(f["forces"] - a.get_forces()).ravel() for f, a in zip(predicted, frames, strict=True)]
    )
    energy -= energy.mean()
    return [
        np.abs(energy).mean(),
        np.sqrt(np.mean(energy**2)),
        np.abs(forces).mean(),
        np.sqrt(np.mean(forces**2)),
    ]


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("calculator", nargs="?", default="ethanol")
    parser.add_argument("--rmd17")
    parser.add_argument("--data")
    parser.add_argument("--symmetrise", nargs="+", default=[None], help="default: of the card")
    arguments = parser.parse_args()
    sets = (
        {"rMD17": [in_electronvolt(atoms) for atoms in read(arguments.rmd17, ":")]}
        if arguments.rmd17
        else {}
    )
    for atoms in read(arguments.data, ":") if arguments.data else []:
        if atoms.info["split"] == "test":
            sets.setdefault(atoms.info["config_type"], []).append(atoms)
    for name in arguments.symmetrise:
        calculator = PETCalculator(arguments.calculator, symmetrise=name)
        for kind, frames in sets.items():
            values = errors(calculator, frames)
            print(
                "{:10} {:14} {:4d} structures: energy MAE {:.2f} RMSE {:.2f} meV, forces MAE {:.1f}"
                " RMSE {:.1f} meV/A".format(name or "as shipped", kind, len(frames), *values),
                flush=True,
            )


if __name__ == "__main__":
    main()
