"""NVT.

Three thermostats on silicon, and whether the kinetic energy is distributed as that temperature
asks.
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
parser.add_argument(
    "calculator", nargs="?", default="silicon", help="name or folder of a calculator of silicon"
)
parser.add_argument("--output", type=Path, default=Path("demo"), help="folder to write to")
parser.add_argument("--time", type=float, default=5.0, help="ps of each run")
parser.add_argument("--temperature", type=float, default=300.0, help="K")
parser.add_argument("--thermostats", nargs="+", default=["langevin", "bussi", "nose-hoover"])
arguments = parser.parse_args()
calculator, kelvin, report = PETCalculator(arguments.calculator), arguments.temperature, {}
figure = Figure(figsize=(8, 3.5), layout="constrained")
left, right = figure.subplots(1, 2, width_ratios=(2, 1))

for name in arguments.thermostats:
    atoms = bulk("Si", cubic=True, a=5.4695)
    atoms.calc = calculator
    # On perfect sites there is no potential energy yet: half of the kinetic energy goes there,
    # hence twice the temperature.
    found = md.run(
        atoms,
        arguments.output / f"nvt_{name}",
        ensemble="nvt",
        thermostat=name,
        temperature=kelvin,
        start_temperature=2 * kelvin,
        time=arguments.time,
        timestep=1.0,
        thermo_interval=5,
        restart=True,
    )
    table = found.thermo()
    late = (
        table["time_ps"] > 0.2 * arguments.time
    )  # the thermostat needs some of its times to be forgotten
    values = table["temperature_K"][late]
    shape = (
        md.degrees_of_freedom(atoms, name) / 2
    )  # kinetic energies are gamma distributed: n / 2 squares of Gaussians
    report[name] = {
        "mean_temperature_K": values.mean(),
        "variance_over_expected": values.var() * shape / kelvin**2,
        "ns_per_day": found.ns_per_day,
    } | found.summary()
    left.plot(table["time_ps"], table["temperature_K"], linewidth=0.7)
    right.hist(values, bins=25, density=True, histtype="step", label=name)
    print(
        f"{name:12} mean {values.mean():6.1f} K, variance"
        f" {report[name]['variance_over_expected']:.2f} of what it should be, {len(values)} samples"
    )

grid = np.linspace(*right.get_xlim(), 200)
right.plot(grid, gamma.pdf(grid, shape, scale=kelvin / shape), "k--", label="expected")
left.set(xlabel="time (ps)", ylabel="temperature (K)")
right.set(xlabel="temperature (K)", yticks=[])
right.legend(fontsize="small")
figure.savefig(arguments.output / "nvt.png", dpi=150)
(arguments.output / "nvt.json").write_text(json.dumps(report, indent=1) + "\n")
