"""Energy conservation.

1 ps of NVE of 64 silicon atoms at 300 K, with its trajectory and a plot of the energies.
"""

import argparse
import json
from pathlib import Path

import ase.build
import numpy as np
from ase import units
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.md.verlet import VelocityVerlet
from matplotlib.figure import Figure
from scipy.stats import linregress

from ase_pet import PETCalculator

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument(
    "calculator", nargs="?", default="silicon", help="name or folder of a calculator of silicon"
)
parser.add_argument("--output", type=Path, default=Path("demo"), help="folder to write to")
parser.add_argument("--steps", type=int, default=1000, help="time steps of 1 fs")
arguments = parser.parse_args()
arguments.output.mkdir(parents=True, exist_ok=True)

atoms = ase.build.bulk("Si", cubic=True, a=5.4695).repeat(2)
atoms.calc = PETCalculator(arguments.calculator)
# On perfect sites there is no potential energy yet: half of the 600 K goes there, which leaves 300
# K.
thermalize_momenta(atoms, temperature_K=600, exact_temperature=True, rng=np.random.default_rng(0))
Stationary(atoms)
state = []
dynamics = VelocityVerlet(
    atoms, units.fs, trajectory=str(arguments.output / "nve.traj"), logfile="-", loginterval=20
)
dynamics.attach(lambda: state.append((atoms.get_potential_energy(), atoms.get_kinetic_energy())))
dynamics.run(arguments.steps)

potential, kinetic = np.array(state).T
time = np.arange(len(state)) / 1000  # ps
temperature = kinetic / (1.5 * len(atoms) * units.kB)
potential, kinetic = (
    1000 * energy / len(atoms) for energy in (potential - potential[0], kinetic)
)  # meV/atom
total = potential + kinetic - kinetic[0]
late = slice(len(state) // 10, None)  # Verlet's own energy needs some steps to settle
line = linregress(time[late], total[late])  # its error takes the steps as independent
rms = np.std(total[late] - line.intercept - line.slope * time[late])
result = {
    "calculator": arguments.calculator,
    "atoms": len(atoms),
    "steps": arguments.steps,
    "timestep_fs": 1.0,
    "mean_temperature_K": temperature[late].mean(),
    "drift_meV_per_atom_per_ps": line.slope,
    "drift_standard_error": line.stderr,
    "rms_meV_per_atom": rms,
}
(arguments.output / "nve.json").write_text(json.dumps(result, indent=1) + "\n")

figure = Figure(figsize=(7, 5), layout="constrained")
upper, lower = figure.subplots(2, 1, sharex=True)
upper.plot(time, total, label="total")
upper.plot(
    time[late], line.intercept + line.slope * time[late], "k--", linewidth=1, label="straight line"
)
upper.set(
    ylabel="E(t) - E(0) (meV/atom)",
    title=(
        f"drift {line.slope:.2g} ± {line.stderr:.1g} meV/atom/ps, "
        f"rms about the line {rms:.2g} meV/atom"
    ),
)
lower.plot(time, potential, label="potential")
lower.plot(time, kinetic - kinetic[0], label="kinetic")
lower.set(xlabel="time (ps)", ylabel="change (meV/atom)")
for axes in (upper, lower):
    axes.legend(loc="upper right", ncols=2)
figure.savefig(arguments.output / "energy_conservation.png", dpi=150)
for name, value in result.items():
    print(f"{name:28} {value if isinstance(value, (str, int)) else format(value, '.4g')}")
