"""Exact symmetry: NVE dynamics of an ethanol molecule conserves the angular momentum.

A plain PET model does not conserve it. Takes about a minute on one core.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from ase import units
from ase.build import molecule
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from matplotlib.figure import Figure

from ase_pet import PETCalculator

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("calculator", nargs="?", default="ethanol", help="calculator of ethanol")
parser.add_argument("--output", type=Path, default=Path("demo"), help="folder to write to")
parser.add_argument("--steps", type=int, default=500, help="time steps of 0.5 fs")
arguments = parser.parse_args()
arguments.output.mkdir(parents=True, exist_ok=True)

atoms = molecule("CH3CH2OH")
atoms.calc = PETCalculator(arguments.calculator, dtype="float64")
BFGS(atoms, logfile=None).run(fmax=0.01, steps=100)
# At a minimum half of the initial kinetic energy becomes potential energy: 300 K remain.
thermalize_momenta(atoms, temperature_K=600, rng=np.random.default_rng(0))
Stationary(atoms)  # no net momentum; the molecule rotates
times, energies, momenta = [], [], []  # fs, eV, angular momentum in ASE's unit


def record():
    times.append(dynamics.get_time() / units.fs)
    energies.append(atoms.get_total_energy())
    momenta.append(atoms.get_angular_momentum())


dynamics = VelocityVerlet(atoms, 0.5 * units.fs, trajectory=str(arguments.output / "ethanol.traj"))
dynamics.attach(record)
dynamics.run(arguments.steps)

change = np.linalg.norm(np.array(momenta) - momenta[0], axis=1) / np.linalg.norm(momenta[0])
result = {
    "calculator": arguments.calculator,
    "steps": arguments.steps,
    "largest_change_of_angular_momentum": change.max(),
    "rms_energy_meV_per_atom": 1000 * np.std(energies) / len(atoms),
}
report = json.dumps(result, indent=1)
(arguments.output / "angular_momentum.json").write_text(report + "\n")
print(report)
figure = Figure(figsize=(7, 3), layout="constrained")
axes = figure.subplots()
axes.semilogy(times[1:], np.maximum(change[1:], 1e-18))
axes.set(xlabel="time (fs)", ylabel="|L(t) - L(0)| / |L(0)|", title="ethanol, NVE")
figure.savefig(arguments.output / "angular_momentum.png", dpi=150)
