"""Exact symmetry.

The energy of a crystal that is turned, from a plain PET and from the same weights with ECSE.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from ase.build import bulk
from matplotlib.figure import Figure

from ase_pet import PETCalculator

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument(
    "calculator", nargs="?", default="silicon", help="name or folder of a calculator of silicon"
)
parser.add_argument("--output", type=Path, default=Path("demo"), help="folder to write to")
parser.add_argument(
    "--angles", type=int, default=25, help="how many, of 0 to 120 degrees about [111]"
)
arguments = parser.parse_args()
arguments.output.mkdir(parents=True, exist_ok=True)

crystal = bulk("Si", a=5.4695)
crystal.rattle(0.1, seed=1)
angles = np.linspace(0, 120, arguments.angles)
turned = [crystal.copy() for _ in angles]
for atoms, angle in zip(turned, angles, strict=True):
    atoms.rotate(angle, (1, 1, 1), rotate_cell=True)  # nothing physical changes

curves, report = {}, {}
for name in ("none", "ecse"):
    calculator = PETCalculator(arguments.calculator, symmetrise=name, dtype="float64")
    rows = calculator.evaluate(turned, ("energy", "forces"))
    energies = 1000 * np.array([row["energy"] for row in rows]) / len(crystal)  # meV/atom
    sizes = np.array([np.linalg.norm(row["forces"], axis=1).max() for row in rows])
    curves[name] = energies - energies[0]
    report[name] = {
        "energy_spread_meV_per_atom": np.ptp(energies),
        "force_spread_meV_per_A": 1000 * np.ptp(sizes),
        "work": calculator.cost(crystal).get("ratio", 1),
    }
    print(
        f"symmetrise {name:5} energy changes by {np.ptp(energies):.1e} meV/atom, largest force by"
        f" {1000 * np.ptp(sizes):.1e} meV/A; {report[name]['work']:.1f} times the work of the plain"
        " model"
    )

figure = Figure(figsize=(6, 4), layout="constrained")
axes = figure.subplots()
for name, curve in curves.items():
    axes.plot(angles, curve, label={"none": "plain", "ecse": "ECSE"}[name])
axes.set(
    xlabel="angle of rotation (degrees)",
    ylabel="change of the energy (meV/atom)",
    title="a crystal is turned about [111]",
)
axes.legend()
figure.savefig(arguments.output / "turned.png", dpi=150)
(arguments.output / "turned.json").write_text(json.dumps(report, indent=1) + "\n")
