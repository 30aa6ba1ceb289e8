"""Ethanol structures from dynamics with a trained calculator, where GFN2-xTB does not sample.

    python benchmarks/data/ethanol_dynamics.py OUT.extxyz [--calculator ethanol] [--temperature 500]
        [--count 400] [--first 60000] (pip install tblite ase)

Bonds of PBE are softer and longer than those of GFN2-xTB (C-O by 0.03 A), so that dynamics of
GFN2-xTB samples the wrong lengths. This script writes one Langevin trajectory of the calculator,
every 30 fs. Forces are evaluated in one randomly drawn frame of each atom at each step: their
scatter is small compared with the random force of the thermostat, and full ECSE would take 20 times
as long. Energies and forces in the file are those of GFN2-xTB, as in the files of ethanol_gfn2.py,
for ethanol_difference.py; ethanol_pbe.py labels them anew. Every tenth structure is for validation.

calculators/ethanol/training_own.extxyz.xz: --first 60000 (with steps of 0.5 fs, every 40 fs), 62000
and 64000 at 500 K and 70000 at 750 K, with the calculator of 2026-11-24, as many of each as were
labelled (--level 2 --in-order) in two hours. The remaining ones, and 80000 and 90000 at 750 K (940
and 994 structures, with the calculator of 2026-11-26, midday), are in training_sum.extxyz.xz.
"""

import argparse

import numpy as np
import torch
from ase import units
from ase.build import molecule
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from ase.optimize import BFGS
from ethanol_gfn2 import SEED, record

from ase_pet import PETCalculator
from ase_pet.symmetrisers import sampled


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out")
    parser.add_argument("--calculator", default="ethanol")
    parser.add_argument("--temperature", type=float, default=500)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument(
        "--first",
        type=int,
        default=60000,
        help="config_id of the first structure; also a part of the seed",
    )
    arguments = parser.parse_args()
    random = np.random.default_rng([SEED, arguments.first])
    atoms = molecule("CH3CH2OH")
    calculator = PETCalculator(arguments.calculator, device="cpu")
    atoms.calc = calculator
    BFGS(atoms, logfile=None).run(fmax=1e-2, steps=300)
    generator = torch.Generator().manual_seed(SEED + arguments.first)
    atoms.calc = PETCalculator(
        sampled(calculator.model.model, "ecse", generator), device="cpu", dtype="float32"
    )
    thermalize_momenta(atoms, temperature_K=2 * arguments.temperature, rng=random)
    dynamics = Langevin(
        atoms,
        1.0 * units.fs,
        temperature_K=arguments.temperature,
        friction=0.02 / units.fs,
        rng=random,
        fixcm=False,
    )
    dynamics.run(1500)
    for k in range(arguments.count):
        dynamics.run(30)
        record(
            arguments.out,
            atoms,
            f"ethanol_own_{arguments.temperature:.0f}K",
            "val" if k % 10 == 5 else "train",
            arguments.first + k,
        )


if __name__ == "__main__":
    main()
