"""Carbon dioxide, GFN2-xTB: bent to straight molecules, to train a model on collinear atoms.

    pip install tblite ase
    python benchmarks/data/carbon_dioxide_gfn2.py benchmarks/data/carbon_dioxide_gfn2.extxyz
    ase-pet train benchmarks/data/carbon_dioxide_gfn2.toml --output runs/carbon-dioxide

800 molecules with bonds of 1.06 to 1.32 A at 110 to 180 degrees, in random orientations; every
tenth is for `val`, every tenth for `test`. For benchmarks/ecse_stiffness.py; a minute on one core.
"""

import sys

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from tblite.ase import TBLite

SEED, COUNT = 20261126, 800


def main():
    """Command line."""
    random, structures = np.random.default_rng(SEED), []
    for k in range(COUNT):
        angle = np.deg2rad(180 - 70 * random.random() ** 1.5)
        first, second = random.uniform(1.06, 1.32, 2)
        atoms = Atoms(
            "COO", [[0, 0, 0], [first, 0, 0], second * np.array([np.cos(angle), np.sin(angle), 0])]
        )
        atoms.rotate(360 * random.random(), random.normal(size=3))
        atoms.calc = TBLite(method="GFN2-xTB", accuracy=0.01, verbosity=0)
        results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        atoms.calc = SinglePointCalculator(atoms, **results)
        atoms.info.update(config_id=k, split={3: "val", 7: "test"}.get(k % 10, "train"))
        structures.append(atoms)
    write(sys.argv[1], structures, format="extxyz")


if __name__ == "__main__":
    main()
