"""Training a potential: reference data, recipe, calculator folder, errors, and NVE dynamics.

The reference is EMT, to be replaced by a density functional. Takes about ten minutes.
"""

import argparse
from pathlib import Path

import numpy as np
from ase import build, io, units
from ase.calculators.emt import EMT
from ase.md import Langevin, VelocityVerlet
from ase.md.velocitydistribution import thermalize_momenta

from ase_pet import PETCalculator
from ase_pet.train import train

RECIPE = """name = "copper"
model = "pet"
settings = {{species = ["Cu"], cutoff = 4.5, d_pet = 32, d_node = 32, d_head = 32, \
d_feedforward = 64, num_heads = 4, num_gnn_layers = 1, featurizer_type = "residual"}}
data = {{files = ["copper.extxyz"]}}
optimiser = {{epochs = {epochs}, batch_size = 4}}
card = {{system = "Crystalline copper, 300 to 900 K", level_of_theory = "EMT of ASE"}}
"""
parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--output", type=Path, default=Path("demo"), help="folder to write to")
parser.add_argument("--structures", type=int, default=80)
parser.add_argument("--epochs", type=int, default=120)
parser.add_argument("--steps", type=int, default=50, help="NVE steps of 4 fs after the training")
arguments = parser.parse_args()
arguments.output.mkdir(parents=True, exist_ok=True)

atoms = build.bulk("Cu", cubic=True) * (2, 2, 2)
atoms.calc = EMT()
rng = np.random.default_rng(0)
for k in range(arguments.structures):
    atoms.set_cell(7.2 * (np.eye(3) + rng.uniform(-0.03, 0.03, (3, 3))), scale_atoms=True)
    thermalize_momenta(atoms, temperature_K=rng.uniform(300, 900), rng=rng)
    bath = {"temperature_K": rng.uniform(300, 900), "friction": 0.01 / units.fs}
    Langevin(atoms, 4 * units.fs, **bath, fixcm=False, rng=rng).run(30)
    atoms.get_stress()  # the file stores all computed properties
    atoms.info["split"] = ("train", "train", "train", "val", "test")[k % 5]
    io.write(arguments.output / "copper.extxyz", atoms, append=k > 0)

recipe = arguments.output / "copper.toml"
recipe.write_text(RECIPE.format(epochs=arguments.epochs))
folder = arguments.output / "copper"
metrics = train(recipe, folder, on_record=lambda row: print(row["epoch"], row["val"]["forces"]))
for split, errors in metrics.items():
    print(f"{split}: energy MAE {1e3 * errors['energy']['mae']:.2f} meV/atom", end=", ")
    print(f"forces MAE {1e3 * errors['forces']['mae']:.1f} meV/A")
crystal = build.bulk("Cu", cubic=True) * (2, 2, 2)
crystal.calc = PETCalculator(folder)
thermalize_momenta(crystal, temperature_K=300, rng=rng)
before = crystal.get_total_energy()
VelocityVerlet(crystal, 4 * units.fs).run(arguments.steps)
change = 1e3 * (crystal.get_total_energy() - before) / len(crystal)
print(f"change of the total energy in NVE dynamics: {change:.3f} meV/atom")
