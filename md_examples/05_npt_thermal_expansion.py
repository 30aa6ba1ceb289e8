"""NPT: the lattice constant of silicon at several temperatures, and the coefficient of thermal
expansion.

The nuclei are classical: near and below room temperature real silicon expands less, since its hard
modes are frozen.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from ase.build import bulk
from matplotlib.figure import Figure

from ase_pet import PETCalculator, md

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument(
    "calculator", nargs="?", default="silicon", help="name or folder of a calculator of silicon"
)
parser.add_argument("--output", type=Path, default=Path("demo"), help="folder to write to")
parser.add_argument("--temperatures", type=float, nargs="+", default=[300, 600, 900], help="K")
parser.add_argument("--time", type=float, default=10.0, help="ps at each temperature")
parser.add_argument("--repeats", type=int, default=2, help="of the cubic cell of 8 atoms")
arguments = parser.parse_args()
calculator, rows = PETCalculator(arguments.calculator), []

for kelvin in arguments.temperatures:
    atoms = bulk("Si", cubic=True, a=5.47).repeat(arguments.repeats)
    atoms.calc = calculator
    found = md.run(
        atoms,
        arguments.output / f"npt_{kelvin:.0f}K",
        ensemble="npt",
        temperature=kelvin,
        start_temperature=2 * kelvin,
        pressure=0.0,
        time=arguments.time,
        timestep=2.0,
        thermostat_time=50,
        barostat_time=300,
        thermo_interval=5,
        restart=True,
    )  # run again, this goes on where it was stopped
    summary = found.summary()  # without the first tenth of the run
    volume, error = summary["mean_volume_A3"], summary["error_volume_A3"]
    length = volume ** (1 / 3) / arguments.repeats
    rows.append(
        (
            kelvin,
            length,
            length * error / (3 * volume),
            summary["mean_temperature_K"],
            summary["mean_pressure_GPa"],
        )
    )
    print("target {:5.0f} K: a = {:.4f} ± {:.4f} A, mean {:6.1f} K, {:6.3f} GPa".format(*rows[-1]))

kelvin, length, error = np.array(rows).T[:3]
weights = 1 / error**2  # a straight line by weighted least squares
centre = np.average(kelvin, weights=weights)
slope = (weights * (kelvin - centre) * length).sum() / (weights * (kelvin - centre) ** 2).sum()
slope_error = (weights * (kelvin - centre) ** 2).sum() ** -0.5
mean = np.average(length, weights=weights)
print(
    f"linear expansion {1e6 * slope / mean:.1f} ± {1e6 * slope_error / mean:.1f} millionths per K:"
    " four times the run halves the error"
)
figure = Figure(figsize=(5, 4), layout="constrained")
axes = figure.subplots()
axes.errorbar(kelvin, length, error, fmt="o", capsize=3)
axes.plot(kelvin, mean + slope * (kelvin - centre), "k--", linewidth=1)
axes.set(xlabel="temperature (K)", ylabel="lattice constant (A)")
figure.savefig(arguments.output / "thermal_expansion.png", dpi=150)
report = {"expansion_per_K": slope / mean, "error": slope_error / mean, "rows": rows}
(arguments.output / "thermal_expansion.json").write_text(json.dumps(report, indent=1) + "\n")
