"""Energy conservation: NVE dynamics of 64 silicon atoms at 300 K, with a plot of the energies.

Takes about a minute on one core.
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

from ase_pet import PETCalculator, md

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("calculator", nargs="?", default="silicon", help="calculator of silicon")
parser.add_argument("--output", type=Path, default=Path("demo"), help="folder to write to")
parser.add_argument("--steps", type=int, default=1000, help="time steps of 1 fs")
arguments = parser.parse_args()
arguments.output.mkdir(parents=True, exist_ok=True)

atoms = ase.build.bulk("Si", cubic=True, a=5.4695).repeat(2)
atoms.calc = PETCalculator(arguments.calculator)
# In a perfect crystal half of the initial kinetic energy becomes potential energy: 300 K remain.
thermalize_momenta(atoms, temperature_K=600, exact_temperature=True, rng=np.random.default_rng(0))
Stationary(atoms)
rows = []  # potential and kinetic energy in eV
trajectory = str(arguments.output / "nve.traj")
dynamics = VelocityVerlet(atoms, units.fs, trajectory=trajectory, logfile="-", loginterval=20)
dynamics.attach(lambda: rows.append((atoms.get_potential_energy(), atoms.get_kinetic_energy())))
dynamics.run(arguments.steps)

time = np.arange(len(rows)) / 1000  # ps
potential, kinetic = 1000 * np.array(rows).T / len(atoms)  # meV/atom
total = potential + kinetic - potential[0] - kinetic[0]
late = slice(len(rows) // 10, None)  # without the initial change of kinetic to potential energy
drift = md.linear_drift(time[late], total[late])
result = {
    "calculator": arguments.calculator,
    "mean_temperature_K": kinetic[late].mean() / (1500 * units.kB),
    "drift_meV_per_atom_per_ps": drift.slope,
    "drift_standard_error": drift.error,
    "rms_meV_per_atom": drift.rms,
}
report = json.dumps(result, indent=1)
(arguments.output / "nve.json").write_text(report + "\n")
print(report)
figure = Figure(figsize=(7, 5), layout="constrained")
upper, lower = figure.subplots(2, 1, sharex=True)
upper.plot(time, total)
upper.set_ylabel("total (meV/atom)")
upper.set_title(f"drift {drift.slope:.2g} ± {drift.error:.1g} meV/atom/ps")
lower.plot(time, potential - potential[0], time, kinetic - kinetic[0])
lower.set(xlabel="time (ps)", ylabel="change (meV/atom)")
lower.legend(["potential", "kinetic"])
figure.savefig(arguments.output / "energy_conservation.png", dpi=150)
