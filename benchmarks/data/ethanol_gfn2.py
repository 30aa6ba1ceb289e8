"""Ethanol, GFN2-xTB: 2701 structures of trajectories at 300, 500 and 800 K, energies and forces.

    pip install tblite ase
    python benchmarks/data/ethanol_gfn2.py benchmarks/data/ethanol_gfn2.extxyz
    python benchmarks/data/ethanol_gfn2.py benchmarks/data/ethanol_hot.extxyz --hot

The minimum; one Langevin trajectory at 500 K, every 12.5 fs, 1800 structures for `train` and 200
for `val`; independent ones at 500 K (300), 300 K (200) and 800 K (200), every 25 fs, for `test`.
Time step 0.5 fs. Labels are computed separately for each structure, so that they do not depend on
the run. `info`: config_id, config_type, split. Some minutes on one core. --hot: two further
trajectories at 800 K for `train`, every 12.5 fs, 700 structures each (every tenth of them is for
`val`).
"""

import sys

import numpy as np
from ase import units
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from ase.optimize import BFGS
from tblite.ase import TBLite

SEED = 20261120
OPTIONS = {"method": "GFN2-xTB", "accuracy": 0.01, "max_iterations": 500, "verbosity": 0}
RUNS = [
    (500, 2000, 25, "train", 1),
    (500, 300, 50, "test", 10000),
    (300, 200, 50, "test", 20000),
    (800, 200, 50, "test", 30000),
]
HOT = [
    (800, 700, 25, "train", 40000),
    (800, 700, 25, "train", 50000),
]  # temperature (K), structures, steps between them, split, first config_id


def record(path, atoms, kind, split, number):
    """Append a structure with its labels."""
    copy = atoms.copy()
    copy.positions -= copy.get_center_of_mass()
    copy.calc = TBLite(**OPTIONS)
    energy, forces = copy.get_potential_energy(), copy.get_forces()
    copy.calc = SinglePointCalculator(copy, energy=energy, forces=forces)
    copy.info.update(config_type=kind, split=split, config_id=number)
    copy.arrays.pop("momenta", None)
    write(path, copy, format="extxyz", append=True)


def run(path, start, order, temperature, count, steps, split, first):
    """One trajectory; every tenth structure of the training run is for validation."""
    random = np.random.default_rng([SEED, order])
    atoms = start.copy()
    atoms.calc = TBLite(**OPTIONS)
    thermalize_momenta(
        atoms, temperature_K=2 * temperature, rng=random
    )  # half of it goes into potential energy
    dynamics = Langevin(
        atoms,
        0.5 * units.fs,
        temperature_K=temperature,
        friction=0.02 / units.fs,
        rng=random,
        fixcm=False,
    )
    dynamics.run(4000 if split == "train" else 2000)
    for k in range(count):
        dynamics.run(steps)
        own = "val" if split == "train" and k % 10 == 5 else split
        record(path, atoms, f"ethanol_{temperature}K", own, first + k)


def main():
    """Command line."""
    atoms = molecule("CH3CH2OH")
    atoms.calc = TBLite(**OPTIONS)
    BFGS(atoms, logfile=None).run(fmax=1e-3, steps=300)
    hot = "--hot" in sys.argv
    if not hot:
        record(sys.argv[1], atoms, "ethanol_min", "train", 0)
    for order, arguments in enumerate([*RUNS, *HOT], 1):
        if hot == (arguments in HOT):
            run(sys.argv[1], atoms, order, *arguments)


if __name__ == "__main__":
    main()
