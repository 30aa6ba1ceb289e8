"""NVT: three thermostats on silicon, compared with the exact distribution of the kinetic energy.

Takes a few minutes on one core.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from ase.build import bulk
from matplotlib.figure import Figure
from scipy.stats import gamma

from ase_pet import PETCalculator, md

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("calculator", nargs="?", default="silicon", help="calculator of silicon")
parser.add_argument("--output", type=Path, default=Path("demo"), help="folder to write to")
parser.add_argument("--time", type=float, default=5.0, help="ps of each run")
parser.add_argument("--temperature", type=float, default=300.0, help="K")
parser.add_argument("--thermostats", nargs="+", default=["langevin", "bussi", "nose-hoover"])
arguments = parser.parse_args()
calculator = PETCalculator(arguments.calculator)
kelvin = arguments.temperature
settings = {
    "ensemble": "nvt",
    "temperature": kelvin,
    "equilibrate": 0.2 * arguments.time,  # half of the kinetic energy becomes potential energy
    "time": arguments.time,
    "thermo_interval": 5,
    "restart": True,  # continue if this script was interrupted
}
report = {}
figure = Figure(figsize=(7, 4), layout="constrained")
axes = figure.subplots()

for name in arguments.thermostats:
    atoms = bulk("Si", cubic=True, a=5.4695)
    atoms.calc = calculator
    run = md.run(atoms, arguments.output / f"nvt_{name}", thermostat=name, **settings)
    values = run.thermo()["temperature_K"]
    # n degrees of freedom: the kinetic energy has a gamma distribution of shape n / 2
    shape = md.degrees_of_freedom(atoms, name) / 2
    ratio = values.var() * shape / kelvin**2
    report[name] = {
        "mean_temperature_K": values.mean(),
        "variance_over_expected": ratio,
        "ns_per_day": run.ns_per_day,
    } | run.summary()
    axes.hist(values, bins=25, density=True, histtype="step", label=name)
    print(f"{name:12} mean {values.mean():6.1f} K, variance / exact variance {ratio:.2f}")

grid = np.linspace(*axes.get_xlim(), 200)
axes.plot(grid, gamma.pdf(grid, shape, scale=kelvin / shape), "k--", label="exact")
axes.set(xlabel="temperature (K)", yticks=[])
axes.legend()
figure.savefig(arguments.output / "nvt.png", dpi=150)
(arguments.output / "nvt.json").write_text(json.dumps(report, indent=1) + "\n")
