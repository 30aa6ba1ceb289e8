"""NPT: lattice constant of silicon at several temperatures, and its thermal expansion.

The nuclei are classical. Real silicon expands less at and below room temperature, where quantum
effects freeze its stiff modes. Takes about ten minutes on one core.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from ase.build import bulk
from matplotlib.figure import Figure

from ase_pet import PETCalculator, md

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("calculator", nargs="?", default="silicon", help="calculator of silicon")
parser.add_argument("--output", type=Path, default=Path("demo"), help="folder to write to")
parser.add_argument("--temperatures", type=float, nargs="+", default=[300, 600, 900], help="K")
parser.add_argument("--time", type=float, default=10.0, help="ps at each temperature")
parser.add_argument("--repeats", type=int, default=2, help="of the cubic cell of 8 atoms")
arguments = parser.parse_args()
calculator = PETCalculator(arguments.calculator)
settings = {"ensemble": "npt", "pressure": 0.0, "time": arguments.time, "timestep": 2.0}
settings |= {"thermostat_time": 50, "barostat_time": 300, "thermo_interval": 5}
rows = []  # temperature, lattice constant, its standard error

for kelvin in arguments.temperatures:
    atoms = bulk("Si", cubic=True, a=5.47).repeat(arguments.repeats)
    atoms.calc = calculator
    folder = arguments.output / f"npt_{kelvin:.0f}K"
    settings |= {"temperature": kelvin, "start_temperature": 2 * kelvin}
    # restart: continue if this script was interrupted
    summary = md.run(atoms, folder, restart=True, **settings).summary()
    volume = summary["mean_volume_A3"]
    length = volume ** (1 / 3) / arguments.repeats
    # a run that is too short has no error bar, and the slope below none either
    error = length * summary.get("error_volume_A3", np.nan) / (3 * volume)
    rows.append((kelvin, length, error))
    print(f"{kelvin:5.0f} K: a = {length:.4f} ± {error:.4f} A", end=", ")
    print(f"mean {summary['mean_temperature_K']:.1f} K, {summary['mean_pressure_GPa']:.3f} GPa")

# weighted least squares: a straight line and the standard error of its slope
kelvin, length, error = np.array(rows).T
weights = 1 / error if np.isfinite(error).all() else np.ones(len(error))
line, covariance = np.polyfit(kelvin, length, 1, w=weights, cov="unscaled")
mean = np.average(length, weights=weights**2)
expansion = line[0] / mean
expansion_error = covariance[0, 0] ** 0.5 / mean * np.mean(weights * error)
print(f"linear thermal expansion ({1e6 * expansion:.1f} ± {1e6 * expansion_error:.1f}) 1e-6/K")

figure = Figure(figsize=(5, 4), layout="constrained")
axes = figure.subplots()
axes.errorbar(kelvin, length, error, fmt="o", capsize=3)
axes.plot(kelvin, np.polyval(line, kelvin), "k--", linewidth=1)
axes.set(xlabel="temperature (K)", ylabel="lattice constant (A)")
figure.savefig(arguments.output / "thermal_expansion.png", dpi=150)
report = {"expansion_per_K": expansion, "error": expansion_error, "rows": rows}
(arguments.output / "thermal_expansion.json").write_text(json.dumps(report, indent=1) + "\n")
