"""Active learning: train, run dynamics until the model is uncertain, select, label, train again.

The reference is EMT, to be replaced by a density functional. Three rounds take a few minutes.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
from ase import build, io, units
from ase.calculators.emt import EMT
from ase.md import Langevin
from ase.md.velocitydistribution import thermalize_momenta

from ase_pet import PETCalculator, TooUncertain
from ase_pet.train import train
from ase_pet.uncertainty.selection import select

RECIPE = """name = "copper"
model = "pet"
settings = {{species = ["Cu"], cutoff = 4.5, d_pet = 32, d_node = 32, d_head = 32, \
d_feedforward = 64, num_heads = 4, num_gnn_layers = 1, featurizer_type = "residual"}}
data = {{train = ["train.extxyz"], val = ["val.extxyz"]}}
optimiser = {{updates = {updates}, batch_size = 4, validate_every = 20}}
"""
BATH = {"friction": 0.02 / units.fs, "fixcm": False}


def crystal(rng):
    """Copper with a random strain and velocities of 300 K."""
    atoms = build.bulk("Cu", cubic=True) * (2, 2, 1)  # 16 atoms
    atoms.set_cell(atoms.cell @ (np.eye(3) + rng.uniform(-0.02, 0.02, (3, 3))), scale_atoms=True)
    thermalize_momenta(atoms, temperature_K=300, rng=rng)
    return atoms


def label(atoms):
    """Copy of a structure with energy, forces and stress of the reference."""
    labelled = atoms.copy()
    labelled.calc = EMT()
    labelled.get_stress()
    return labelled


def explore(calculator, temperature, steps, rng):
    """Frames of dynamics of the model, until an atomic energy is too uncertain."""
    atoms = crystal(rng)
    atoms.calc = calculator
    frames = []
    run = Langevin(atoms, 3 * units.fs, temperature_K=temperature, rng=rng, **BATH)
    run.attach(lambda: frames.append(atoms.copy()), interval=5)
    try:
        run.run(steps)
    except TooUncertain as error:
        print("stopped:", error.args[0].split(":")[0])
        frames.append(atoms.copy())
    return frames


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("demo/active"), help="folder")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--selected", type=int, default=8)
    parser.add_argument("--updates", type=int, default=400)
    arguments = parser.parse_args()
    folder = arguments.output
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    io.write(folder / "train.extxyz", [label(explore(EMT(), 300, 30, rng)[-1]) for _ in range(8)])
    io.write(folder / "val.extxyz", [label(explore(EMT(), 600, 30, rng)[-1]) for _ in range(8)])
    (folder / "copper.toml").write_text(RECIPE.format(updates=arguments.updates))
    for number in range(arguments.rounds):
        model = folder / f"round{number}"
        metrics = train(folder / "copper.toml", model)
        print(f"round {number}: validation {1e3 * metrics['val']['forces']['rmse']:.0f} meV/A")
        calculator = PETCalculator(model, uncertainty="stop", uncertainty_threshold=0.05)
        frames = [frame for _ in range(6) for frame in explore(calculator, 1200, 100, rng)]
        known = io.read(folder / "train.extxyz", ":")
        chosen = select(calculator, frames, arguments.selected, known)
        print(f"  {len(frames)} frames, e.g. frame {chosen[0].index}: {chosen[0].reason}")
        new = [label(frames[choice.index]) for choice in chosen]
        io.write(folder / "train.extxyz", new, append=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore", UserWarning)  # notes of small data sets
    main()
