#!/usr/bin/env python3
"""Dipoles of a calculator: errors against labels and equivariance errors, with and without ECSE.

usage: dipole.py CALC DATA [DATA ...] [--symmetrise none ecse] [--structures 40] [--orientations 8]

Errors are those of the structures of each file whose split is `test`: of the components, and of the
vector. The equivariance error is |d(Q X) - Q d(X)| over random elements Q of O(3), half of them
improper, for structures spread evenly over the first file, in float64 and float32.
"""

import argparse
import platform
import time
import warnings

import ase.io
import numpy as np
import torch
from ase.units import Debye

from ase_pet import PETCalculator, rotations


def dipoles(calc, frames):
    """(n, 3) in e A."""
    return np.array([row["dipole"] for row in calc.evaluate(frames, ("dipole",))])


def rotated(atoms, matrix):
    """The molecule after the rotation or reflection (3, 3)."""
    copy = atoms.copy()
    copy.positions = copy.positions @ matrix.T
    return copy


def report_errors(calc, frames, name):
    """Print errors in e A and D."""
    start = time.process_time()
    predicted = dipoles(calc, frames)
    seconds = time.process_time() - start
    expected = np.array([atoms.calc.results["dipole"] for atoms in frames])
    difference = predicted - expected
    rows = {
        "component RMSE": np.sqrt(np.mean(difference**2)),
        "component MAE": np.mean(np.abs(difference)),
        "vector RMSE": np.sqrt(np.mean((difference**2).sum(1))),
        "rms dipole": np.sqrt(np.mean((expected**2).sum(1))),
    }
    text = ", ".join(
        f"{key} {value:.4f} e A ({value / Debye:.3f} D)" for key, value in rows.items()
    )
    print(
        f"  {name}, {len(frames)} structures: {text}; {1e3 * seconds / len(frames):.1f} ms each",
        flush=True,
    )


def report_equivariance(calc, frames, matrices, dtype):
    """Print the equivariance error of the dipole."""
    straight = dipoles(calc, frames)
    lost = np.stack(
        [
            dipoles(calc, [rotated(atoms, matrix) for atoms in frames]) - straight @ matrix.T
            for matrix in matrices
        ]
    )
    sizes = np.linalg.norm(lost, axis=2)
    print(
        f"  {dtype}: |d(QX) - Q d(X)| rms {np.sqrt(np.mean(sizes**2)):.1e}, largest"
        f" {sizes.max():.1e} e A over {len(matrices)} orientations of {len(frames)} structures",
        flush=True,
    )


def main():
    """Errors and equivariance for each symmetriser."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("calc")
    parser.add_argument("data", nargs="+")
    parser.add_argument("--symmetrise", nargs="+", default=["none", "ecse"])
    parser.add_argument("--structures", type=int, default=40)
    parser.add_argument("--orientations", type=int, default=8)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings(
        "ignore", ".*atoms closer than in training"
    )  # by some thousandths of an A
    print(f"{platform.platform()}, torch {torch.__version__}, 1 thread")
    files = {
        path: [atoms for atoms in ase.io.read(path, ":") if atoms.info.get("split") == "test"]
        for path in args.data
    }
    first = files[args.data[0]]
    some = [first[k] for k in np.linspace(0, len(first) - 1, args.structures).astype(int)]
    matrices = rotations.random_orthogonal(
        args.orientations, torch.Generator().manual_seed(0)
    ).numpy()
    for symmetrise in args.symmetrise:
        print(f"symmetrise {symmetrise}")
        calc = PETCalculator(args.calc, symmetrise=symmetrise, device="cpu")
        if "dipole" not in calc.implemented_properties:
            print("    has no dipole")
            continue
        for path, frames in files.items():
            report_errors(calc, frames, path)
        for dtype in ("float64", "float32"):
            report_equivariance(
                PETCalculator(args.calc, symmetrise=symmetrise, device="cpu", dtype=dtype),
                some,
                matrices,
                dtype,
            )


if __name__ == "__main__":
    main()
