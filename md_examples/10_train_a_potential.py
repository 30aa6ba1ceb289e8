"""Training.

Data from molecular dynamics of a reference, a recipe, a calculator folder, its errors, NVE with it.
"""

import argparse
from pathlib import Path

import numpy as np
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet

from ase_pet import PETCalculator
from ase_pet.train import train

RECIPE = """name = "copper"
model = "pet"
settings = {{species = ["Cu"], cutoff = 4.5, d_pet = 32, d_node = 32, d_head = 32, \
d_feedforward = 64, num_heads = 4, num_gnn_layers = 1, num_attention_layers = 2, \
featurizer_type = "residual"}}
data = {{files = ["copper.extxyz"]}}
optimiser = {{epochs = {epochs}, batch_size = 4}}
card = {{system = "Crystalline copper, 300 to 900 K: a lesson", level_of_theory = "EMT of ASE"}}
"""

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--output", type=Path, default=Path("demo"), help="folder to write to")
parser.add_argument("--structures", type=int, default=80)
parser.add_argument("--epochs", type=int, default=120)
parser.add_argument(
    "--steps", type=int, default=50, help="of 4 fs, of dynamics with the trained calculator"
)
arguments = parser.parse_args()
arguments.output.mkdir(parents=True, exist_ok=True)

atoms, random = bulk("Cu", cubic=True) * (2, 2, 2), np.random.default_rng(0)
atoms.calc = EMT()  # the reference: in earnest, a density functional
for k in range(arguments.structures):
    atoms.set_cell(7.2 * (np.eye(3) + random.uniform(-0.03, 0.03, (3, 3))), scale_atoms=True)
    thermalize_momenta(atoms, temperature_K=random.uniform(300, 900), rng=random)
    heat = {
        "temperature_K": random.uniform(300, 900),
        "friction": 0.01 / units.fs,
        "fixcm": False,
        "rng": random,
    }
    Langevin(atoms, 4 * units.fs, **heat).run(30)
    atoms.get_stress()
    atoms.info["split"] = ("train", "train", "train", "val", "test")[k % 5]
    write(arguments.output / "copper.extxyz", atoms, append=k > 0)

recipe = arguments.output / "copper.toml"
recipe.write_text(RECIPE.format(epochs=arguments.epochs))
metrics = train(
    recipe,
    arguments.output / "copper",
    on_record=lambda record: print(
        f"epoch {record['epoch']:4d}   forces on val: {1e3 * record['val']['forces']['mae']:7.1f}"
        " meV/A"
    ),
)
for split, errors in metrics.items():
    print(
        f"{split:6} energy {1e3 * errors['energy']['mae']:6.2f} meV/atom   forces"
        f" {1e3 * errors['forces']['mae']:6.1f} meV/A of {1e3 * errors['forces']['rms']:.0f}"
    )

crystal = bulk("Cu", cubic=True) * (2, 2, 2)
crystal.calc = PETCalculator(arguments.output / "copper")
thermalize_momenta(crystal, temperature_K=300, rng=random)
before = crystal.get_total_energy()
VelocityVerlet(crystal, 4 * units.fs).run(arguments.steps)
change = 1e3 * (crystal.get_total_energy() - before) / len(crystal)
print(f"change of the total energy in {4 * arguments.steps} fs: {change:.3f} meV/atom")
