"""Exact symmetry: energy of a rotated crystal, with a plain PET and with ECSE.

Both use the same weights. A rotation of the whole crystal changes nothing physical. Takes a few
seconds.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from ase.build import bulk
from matplotlib.figure import Figure

from ase_pet import PETCalculator

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("calculator", nargs="?", default="silicon", help="calculator of silicon")
parser.add_argument("--output", type=Path, default=Path("demo"), help="folder to write to")
parser.add_argument("--angles", type=int, default=25, help="number of angles, 0 to 120 degrees")
arguments = parser.parse_args()
arguments.output.mkdir(parents=True, exist_ok=True)

crystal = bulk("Si", a=5.4695)
crystal.rattle(0.1, seed=1)
angles = np.linspace(0, 120, arguments.angles)
rotated = [crystal.copy() for _ in angles]
for atoms, angle in zip(rotated, angles, strict=True):
    atoms.rotate(angle, (1, 1, 1), rotate_cell=True)

figure = Figure(figsize=(6, 4), layout="constrained")
axes = figure.subplots()
report = {}
for name, label in (("none", "plain"), ("ecse", "ECSE")):
    calculator = PETCalculator(arguments.calculator, symmetrise=name, dtype="float64")
    rows = calculator.evaluate(rotated, ("energy", "forces"))
    energies = 1000 * np.array([row["energy"] for row in rows]) / len(crystal)  # meV/atom
    largest_forces = [np.linalg.norm(row["forces"], axis=1).max() for row in rows]
    report[name] = {
        "energy_change_meV_per_atom": np.ptp(energies),
        "force_change_meV_per_A": 1000 * np.ptp(largest_forces),
        "relative_cost": calculator.cost(crystal).get("ratio", 1),
    }
    print(f"{label:5}", *(f"{key} {value:.2g}" for key, value in report[name].items()))
    axes.plot(angles, energies - energies[0], label=label)

axes.set(xlabel="angle of rotation about [111] (degrees)", ylabel="change of the energy (meV/atom)")
axes.legend()
figure.savefig(arguments.output / "rotation.png", dpi=150)
(arguments.output / "rotation.json").write_text(json.dumps(report, indent=1) + "\n")
