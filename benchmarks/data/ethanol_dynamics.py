"""Ethanol as a calculator of ours moves it: structures for labels where GFN2-xTB dynamics does not go.

    python benchmarks/data/ethanol_dynamics.py OUT.extxyz [--calculator ethanol] [--temperature 500] [--count 400] [--first 60000]
        (pip install tblite ase)

Bonds of PBE are softer and longer than those of GFN2-xTB (C-O by 0.03 A), so that dynamics of GFN2-xTB samples the wrong
lengths. Here one Langevin trajectory of the calculator, every 20 fs; energies and forces in the file are those of
GFN2-xTB, as in the files of ethanol_gfn2.py, for ethanol_difference.py; ethanol_pbe.py labels them anew. Every tenth
structure is for validation.
"""

import argparse

import numpy as np
from ase import units
from ase.build import molecule
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from ase.optimize import BFGS
from ethanol_gfn2 import SEED, record

from ase_pet import PETCalculator


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out")
    parser.add_argument("--calculator", default="ethanol")
    parser.add_argument("--temperature", type=float, default=500)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--first", type=int, default=60000, help="config_id of the first structure; also a part of the seed")
    arguments = parser.parse_args()
    random = np.random.default_rng([SEED, arguments.first])
    atoms = molecule("CH3CH2OH")
    atoms.calc = PETCalculator(arguments.calculator, device="cpu")
    BFGS(atoms, logfile=None).run(fmax=1e-2, steps=300)
    thermalize_momenta(atoms, temperature_K=2 * arguments.temperature, rng=random)
    dynamics = Langevin(atoms, 0.5 * units.fs, temperature_K=arguments.temperature, friction=0.02 / units.fs, rng=random,
                        fixcm=False)
    dynamics.run(2000)
    for k in range(arguments.count):
        dynamics.run(40)
        record(arguments.out, atoms, f"ethanol_own_{arguments.temperature:.0f}K", "val" if k % 10 == 5 else "train",
               arguments.first + k)


if __name__ == "__main__":
    main()
