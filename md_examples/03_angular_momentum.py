"""Exact symmetry.

A free molecule of ethanol in NVE keeps its angular momentum, which a plain PET does not.
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
parser.add_argument(
    "calculator", nargs="?", default="ethanol", help="name or folder of a calculator of ethanol"
)
parser.add_argument("--output", type=Path, default=Path("demo"), help="folder to write to")
parser.add_argument("--steps", type=int, default=500, help="time steps of 0.5 fs")
arguments = parser.parse_args()
arguments.output.mkdir(parents=True, exist_ok=True)

atoms = molecule("CH3CH2OH")
atoms.calc = PETCalculator(
    arguments.calculator, dtype="float64"
)  # in float32 momenta are kept to its rounding
BFGS(atoms, logfile=None).run(fmax=0.01, steps=100)
thermalize_momenta(
    atoms, temperature_K=600, rng=np.random.default_rng(0)
)  # half of it goes into potential energy
Stationary(atoms)  # no drift; the molecule goes on turning
rows = []
dynamics = VelocityVerlet(atoms, 0.5 * units.fs, trajectory=str(arguments.output / "ethanol.traj"))
dynamics.attach(
    lambda: rows.append(
        (dynamics.get_time() / units.fs, atoms.get_total_energy(), *atoms.get_angular_momentum())
    )
)
dynamics.run(arguments.steps)

time, energy, *momentum = np.array(rows).T
momentum = np.array(momentum).T
change = np.linalg.norm(momentum - momentum[0], axis=1) / np.linalg.norm(momentum[0])
result = {
    "calculator": arguments.calculator,
    "symmetrise": atoms.calc.card.symmetrise,
    "steps": arguments.steps,
    "timestep_fs": 0.5,
    "largest_change_of_angular_momentum": change.max(),
    "rms_energy_meV_per_atom": 1000 * energy.std() / len(atoms),
}
(arguments.output / "angular_momentum.json").write_text(json.dumps(result, indent=1) + "\n")
figure = Figure(figsize=(7, 5), layout="constrained")
upper, lower = figure.subplots(2, 1, sharex=True)
upper.plot(time, 1000 * (energy - energy[0]) / len(atoms))
upper.set(ylabel="E(t) - E(0) (meV/atom)", title="ethanol, NVE")
lower.semilogy(time[1:], np.maximum(change[1:], 1e-18))
lower.set(xlabel="time (fs)", ylabel="|L(t) - L(0)| / |L(0)|")
figure.savefig(arguments.output / "angular_momentum.png", dpi=150)
for name, value in result.items():
    print(f"{name:36} {value if isinstance(value, (str, int)) else format(value, '.4g')}")
