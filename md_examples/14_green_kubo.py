"""Thermal conductivity of silicon from the fluctuations of its heat flux (Green and Kubo).

A converged value needs larger cells, and runs of 100 ps and more: the default run of a few minutes
shows the steps and the size of the error.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from ase import units
from ase.build import bulk
from ase.md.bussi import Bussi
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.md.verlet import VelocityVerlet
from matplotlib.figure import Figure

from ase_pet import PETCalculator
from ase_pet.heat_flux import heat_flux

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("calculator", nargs="?", default="silicon", help="calculator of silicon")
parser.add_argument("--output", type=Path, default=Path("demo"), help="folder to write to")
parser.add_argument("--temperature", type=float, default=600.0, help="K")
parser.add_argument("--repeat", type=int, default=2, help="cubic cells of 8 atoms along each axis")
parser.add_argument("--runs", type=int, default=4, help="independent runs, for the error")
parser.add_argument("--equilibrate", type=float, default=0.5, help="ps before each run")
parser.add_argument("--time", type=float, default=2.0, help="ps of each run")
parser.add_argument("--longest", type=float, default=0.5, help="ps, largest time of correlations")
arguments = parser.parse_args()
calculator = PETCalculator(arguments.calculator)
kelvin = arguments.temperature
STEP = 2.0  # fs
EVERY = 2  # steps between two fluxes
interval = EVERY * STEP * units.fs
count = int(1000 * arguments.time / (EVERY * STEP))
lags = min(int(1000 * arguments.longest / (EVERY * STEP)), count // 2)
if lags < 1 or arguments.runs < 2:
    parser.error(
        "expected --runs of at least 2, --longest of 0.004 ps and --time of 0.008 ps or more"
    )

conductivities = []
for seed in range(arguments.runs):
    rng = np.random.default_rng(seed)
    cells = (arguments.repeat,) * 3
    atoms = bulk("Si", cubic=True, a=5.4695) * cells
    atoms.calc = calculator
    # half of the kinetic energy becomes potential energy
    thermalize_momenta(atoms, 2 * kelvin, rng=rng)
    Stationary(atoms)
    thermostat = Bussi(atoms, STEP * units.fs, kelvin, 50 * units.fs, rng=rng)
    thermostat.run(int(1000 * arguments.equilibrate / STEP))

    fluxes = []
    dynamics = VelocityVerlet(atoms, STEP * units.fs)
    for _ in range(count):
        dynamics.run(EVERY)
        fluxes.append(heat_flux(calculator, atoms))
    fluxes = np.array(fluxes)  # (count, 3), whose mean is zero in a crystal at rest
    # <J(0) . J(t)> / 3, averaged over all starting times
    products = [(fluxes[: count - k] * fluxes[k:]).sum(1).mean() / 3 for k in range(lags)]
    # kappa(t) = 1 / (V k_B T^2) times the integral up to t, by the trapezoidal rule
    integral = interval * (np.cumsum(products) - np.array(products) / 2 - products[0] / 2)
    scale = atoms.get_volume() * units.kB * kelvin**2
    watts = units.m * units.s / units.J  # from eV / (A K) per ASE's unit of time to W/m/K
    conductivities.append(integral / scale * watts)
    print(f"run {seed}: {conductivities[-1][-1]:.1f} W/m/K")

conductivities = np.array(conductivities)  # (runs, lags)
mean = conductivities.mean(0)
error = conductivities.std(0, ddof=1) / np.sqrt(arguments.runs)
print(f"thermal conductivity at {kelvin:g} K: {mean[-1]:.1f} +- {error[-1]:.1f} W/m/K")
times = np.arange(lags) * EVERY * STEP / 1000  # ps
figure = Figure(figsize=(6, 4), layout="constrained")
axes = figure.subplots()
axes.plot(times, mean)
axes.fill_between(times, mean - error, mean + error, alpha=0.3)
axes.set(xlabel="time of correlation (ps)", ylabel="thermal conductivity (W/m/K)")
arguments.output.mkdir(parents=True, exist_ok=True)
figure.savefig(arguments.output / "green_kubo.png", dpi=150)
report = {"conductivity_W_per_m_K": mean[-1], "standard_error": error[-1], "runs": arguments.runs}
(arguments.output / "green_kubo.json").write_text(json.dumps(report, indent=1) + "\n")
