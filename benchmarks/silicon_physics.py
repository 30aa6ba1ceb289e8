#!/usr/bin/env python3
"""Properties of diamond silicon from a calculator, compared with PBE of the training data.

usage: silicon_physics.py [CALC] [--data FILE] [--dtype float64] [--json FILE] [--symmetrise NAME]

Lattice constant and bulk modulus from an equation of state, elastic constants from stresses with
relaxed internal coordinates, phonons at Gamma, X and L from finite displacements in the 64-atom
cell, errors on the test split.
References: `REFERENCES` below, Quantum ESPRESSO with the settings of the data (C11 and C12: 44 Ry,
10x10x10 k-points).
"""

import argparse
import json
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.eos import EquationOfState
from ase.io import read
from ase.optimize import BFGS
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms
from rich.console import Console
from rich.table import Table

from ase_pet import PETCalculator

REFERENCES = {  # PBE; X and L are the distinct branches from low to high
    "a0 (A)": 5.4695,
    "B (GPa)": 88.9,
    "C11 (GPa)": 152.8,
    "C12 (GPa)": 56.3,
    "C44 (GPa)": 75.0,
    "Gamma optical (THz)": 15.06,
    "X TA (THz)": 4.43,
    "X LA/LO (THz)": 12.02,
    "X TO (THz)": 13.38,
    "L TA (THz)": 3.37,
    "L LA (THz)": 11.12,
    "L LO (THz)": 11.98,
    "L TO (THz)": 14.28,
}
LIMITS = {"a0": 0.1, "B": 5, "C11": 8, "C12": 8, "C44": 8}  # percent; phonons 0.4 THz
PHONON_LIMIT = 0.4
BRANCHES = {
    "X": {"TA": (0, 1), "LA/LO": (2, 3), "TO": (4, 5)},
    "L": {"TA": (0, 1), "LA": (2,), "LO": (3,), "TO": (4, 5)},
}
POINTS = {"Gamma": (0, 0, 0), "X": (0.5, 0, 0.5), "L": (0.5, 0.5, 0.5)}
GPA = 1 / units.GPa


def lattice(calc):
    """a0 in A and bulk modulus in GPa from energies of the 8-atom cell."""
    lengths = np.linspace(5.38, 5.56, 13)
    cells = [bulk("Si", "diamond", a, cubic=True) for a in lengths]
    energies = [result["energy"] for result in calc.evaluate(cells, ("energy",))]
    volume, _, modulus = EquationOfState(lengths**3, energies, eos="birchmurnaghan").fit()
    return volume ** (1 / 3), modulus * GPA


def elastic(calc, a0, step=0.004):
    """C11, C12, C44 in GPa, averaged over the three axes; internal coordinates relaxed."""

    def stress(index, sign):
        strain = np.zeros(6)
        strain[index] = sign * step
        matrix = np.eye(3) + strain[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]] * np.where(np.eye(3), 1, 0.5)
        atoms = bulk("Si", "diamond", a0, cubic=True)
        atoms.set_cell(atoms.cell @ matrix, scale_atoms=True)
        atoms.calc = calc
        BFGS(atoms, logfile=None).run(fmax=1e-5, steps=200)
        return atoms.get_stress()

    rows = np.array([(stress(k, 1) - stress(k, -1)) / (2 * step) for k in range(6)]) * GPA
    normal, shear = rows[:3, :3], np.diag(rows)[3:]
    return np.diag(normal).mean(), (normal.sum() - np.trace(normal)) / 6, shear.mean()


def phonons(calc, a0):
    """{point: six frequencies in THz, ascending}, all displacements in one batch."""
    cell = bulk("Si", "diamond", a0)
    unit = PhonopyAtoms(
        symbols=cell.get_chemical_symbols(),
        cell=cell.cell,
        scaled_positions=cell.get_scaled_positions(),
    )
    phonon = Phonopy(
        unit, supercell_matrix=np.array([[-2, 2, 2], [2, -2, 2], [2, 2, -2]])
    )  # 64 atoms, cubic
    phonon.generate_displacements(distance=0.01, is_plusminus=True)
    cells = [
        Atoms(s.symbols, cell=s.cell, scaled_positions=s.scaled_positions, pbc=True)
        for s in phonon.supercells_with_displacements
    ]
    phonon.forces = [result["forces"] for result in calc.evaluate(cells, ("forces",))]
    phonon.produce_force_constants()
    phonon.symmetrize_force_constants()
    frequencies = phonon.run_qpoints(list(POINTS.values())).frequencies
    return dict(zip(POINTS, np.sort(frequencies, axis=1), strict=True))


def measure(calc):
    """{quantity: value} with the keys of REFERENCES."""
    a0, modulus = lattice(calc)
    frequencies = phonons(calc, a0)
    values = dict(zip(REFERENCES, (a0, modulus, *elastic(calc, a0)), strict=False))
    values["Gamma optical (THz)"] = frequencies["Gamma"][3:].mean()
    for point, branches in BRANCHES.items():
        for name, modes in branches.items():
            values[f"{point} {name} (THz)"] = frequencies[point][list(modes)].mean()
    return {key: float(value) for key, value in values.items()}


def passes(key, value):
    """Whether a quantity is within its limit."""
    reference = REFERENCES[key]
    if "THz" in key:
        return abs(value - reference) <= PHONON_LIMIT
    return abs(value / reference - 1) * 100 <= LIMITS[key.split()[0]]


def errors(calc, paths, split="test"):
    """RMSE of energy (meV/atom, no shift), force components (meV/A) and stress (GPa) on a split.

    And the rms force.
    """
    frames = [atoms for path in paths for atoms in read(path, ":") if atoms.info["split"] == split]
    predicted = calc.evaluate(frames, ("energy", "forces", "stress"))
    pairs = [
        (
            1e3 * (r["energy"] - a.get_potential_energy()) / len(a),
            1e3 * (r["forces"] - a.get_forces()),
            GPA * (r["stress"] - a.get_stress()),
        )
        for a, r in zip(frames, predicted, strict=True)
    ]
    rms = [
        float(np.sqrt(np.mean(np.concatenate([np.ravel(p[k]) for p in pairs]) ** 2)))
        for k in range(3)
    ]
    force = 1e3 * np.sqrt(np.mean(np.concatenate([a.get_forces().ravel() for a in frames]) ** 2))
    return {
        "structures": len(frames),
        "energy (meV/atom)": rms[0],
        "forces (meV/A)": rms[1],
        "stress (GPa)": rms[2],
        "rms force (meV/A)": float(force),
        "forces (% of rms)": float(100 * rms[1] / force),
    }


def main():
    """Print the table; write JSON with --json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("calc", nargs="?", default="silicon")
    parser.add_argument(
        "--data", nargs="+", help="extxyz with splits; default: data of the shipped calculator"
    )
    parser.add_argument("--dtype", default="float64")
    parser.add_argument("--symmetrise")
    parser.add_argument("--json")
    args = parser.parse_args()
    calc = PETCalculator(args.calc, dtype=args.dtype, symmetrise=args.symmetrise)
    values = measure(calc)
    table = Table(
        "quantity",
        "model",
        "PBE",
        "difference",
        "within limit",
        title=f"diamond silicon, {args.calc}",
    )
    for key, value in values.items():
        difference = (
            f"{value - REFERENCES[key]:+.3f}"
            if "THz" in key
            else f"{100 * (value / REFERENCES[key] - 1):+.2f} %"
        )
        table.add_row(
            key,
            f"{value:.4g}",
            f"{REFERENCES[key]:.4g}",
            difference,
            "yes" if passes(key, value) else "NO",
        )
    console = Console(width=100)
    console.print(table)
    data = args.data or sorted(
        (Path(__file__).parent.parent / "calculators" / "silicon").glob("*.extxyz.xz")
    )
    result = {"physics": values, "errors": errors(calc, data)}
    console.print(result["errors"])
    if args.json:
        Path(args.json).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
