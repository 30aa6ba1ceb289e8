"""Extended XYZ files of the public mlearn data, from a clone of its repository.

    git clone https://github.com/materialsvirtuallab/mlearn
    python benchmarks/data/mlearn.py mlearn data-of-mlearn

PBE by VASP of Si, Ge, Li, Mo, Cu and Ni, BSD-3-Clause: Y. Zuo et al., J. Phys. Chem. A 124, 731
(2020), doi:10.1021/acs.jpca.9b08723. Writes ELEMENT_training.extxyz.xz and ELEMENT_test.extxyz.xz
with energies (eV), forces (eV/A), stresses (eV/A^3, ASE's sign and order) and `group`.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

ORDER = [0, 1, 2, 4, 5, 3]  # of VASP: xx yy zz xy yz zx; of ASE: xx yy zz yz xz xy
KBAR = 0.1 * units.GPa


def converted(entry: dict) -> Atoms:
    """Structure of an entry with its labels."""
    structure = entry["structure"]
    symbols = [site["species"][0]["element"] for site in structure["sites"]]
    positions = [site["xyz"] for site in structure["sites"]]
    atoms = Atoms(symbols, positions, cell=structure["lattice"]["matrix"], pbc=True)
    outputs = entry["outputs"]
    # VASP prints the pressure that the cell exerts, ASE's stress is positive under tension
    stress = -KBAR * np.array(outputs["virial_stress"])[ORDER]
    atoms.calc = SinglePointCalculator(
        atoms, energy=outputs["energy"], forces=np.array(outputs["forces"]), stress=stress
    )
    atoms.info["group"] = entry["group"]
    return atoms


def main() -> None:
    """Convert all elements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clone", type=Path, help="clone of materialsvirtuallab/mlearn")
    parser.add_argument("output", type=Path, help="folder to write")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for path in sorted(options.clone.glob("data/*/t*.json")):
        frames = [converted(entry) for entry in json.loads(path.read_text())]
        target = options.output / f"{path.parent.name}_{path.stem}.extxyz.xz"
        write(target, frames, format="extxyz")
        print(f"{len(frames):5d} structures  {target}")


if __name__ == "__main__":
    main()
