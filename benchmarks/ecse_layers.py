"""Message passing with exact symmetry: small PETs of ethanol after equal training.

    python benchmarks/data/ethanol_gfn2.py benchmarks/data/ethanol_gfn2.extxyz
    python benchmarks/ecse_layers.py [--runs runs/ecse_layers] [--epochs 12] [--only NAME ...]

Trains the missing models one after the other, resuming interrupted runs, on the same data for the
same number of steps; then measures on every 7th structure of the test split (100 of 700). Columns:
RMSE, MAE and median of the errors of force components; RMSE and MAE of energies per atom, less
their mean error; RMSE and median of forces and RMSE of energies in single drawn frames, as in
training; largest change of energy and forces over 10 orientations, float64; time of energy and
forces of one molecule, float32. One thread, CPU time.
"""

import argparse
import copy
import json
import platform
import time
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ecse import milliseconds, residuals

from ase_pet import PETCalculator
from ase_pet.symmetrisers import sampled, symmetrise
from ase_pet.train import read
from ase_pet.train.prediction import predict
from ase_pet.train.run import prepare

RECIPE = """name = "{name}"
model = "pet"
seed = 1
symmetrise = "{symmetrise}"
augmentation = "{augmentation}"

[settings]
species = ["H", "C", "O"]
cutoff = {cutoff}
cutoff_width = 1.0
d_pet = 48
d_node = 48
d_head = 48
d_feedforward = 96
num_heads = 4
num_gnn_layers = {layers}
num_attention_layers = {attention}
featurizer_type = "residual"

[data]
files = ["{data}"]

[loss]
energy = 0.01

[optimiser]
epochs = {epochs}
batch_size = 16
learning_rate = 6e-3
warmup_epochs = 1
ema = 0.998
validate_every = {every}
"""
DATA = Path(__file__).resolve().parent / "data" / "ethanol_gfn2.extxyz"
TWO, ONE = (
    {"layers": 2, "attention": 1, "cutoff": 3.5},
    {
        "layers": 1,
        "attention": 2,
        "cutoff": 3.5,
    },
)
RUNS = {  # settings of the training, symmetrisers of the result
    "two layers": ({**TWO, "symmetrise": "none", "augmentation": "rotations"}, ("none", "group:O")),
    "two layers in frames": (
        {**TWO, "symmetrise": "ecse_layers", "augmentation": "frames"},
        ("ecse_layers",),
    ),
    "local in frames": ({**ONE, "symmetrise": "ecse", "augmentation": "frames"}, ("ecse",)),
}


def trained(name, folder, epochs):
    """Trainer of a completed run and its CPU time in s."""
    folder.mkdir(parents=True, exist_ok=True)
    path, clock = folder / "recipe.toml", folder / "seconds.json"
    path.write_text(
        RECIPE.format(
            name=name, data=DATA, epochs=epochs, every=max(1, epochs // 3), **RUNS[name][0]
        )
    )
    trainer = prepare(read(path), folder, "cpu")
    spent = json.loads(clock.read_text()) if trainer.resume() else 0.0
    start = time.process_time()
    for record in trainer.run():
        spent, start = spent + time.process_time() - start, time.process_time()
        clock.write_text(json.dumps(spent))
        print(
            f"{name}: epoch {record['epoch']}, {spent:.0f} s, validation force RMSE "
            f"{1e3 * record['val']['forces']['rmse']:.1f} meV/A",
            flush=True,
        )
    trainer.average.load_state_dict(trainer.best_weights)
    trainer.average.compositions = {"energy": trainer.best_composition}
    return trainer, spent


def errors(model, trainer):
    """RMSE and MAE of forces (meV/A) and of energies per atom (meV), and median force error.

    Energies are compared after subtracting the mean error.
    """
    pairs = predict(model, trainer.splits["test"][::7], trainer.dtype, trainer.device)
    forces, energy = (1e3 * np.subtract(*pairs[key]) for key in ("forces", "energy"))
    energy -= energy.mean()
    return *(
        x
        for errors in (forces, energy)
        for x in (np.sqrt(np.mean(errors**2)), np.abs(errors).mean())
    ), np.median(np.abs(forces))


def line(name, symmetriser, trainer, spent):
    """Row of the table for one symmetriser of a trained model."""
    model = symmetrise(trainer.average, symmetriser)
    values = errors(model, trainer)
    drawn = [np.nan] * 5
    if trainer.recipe.augmentation == "frames":
        drawn = errors(
            sampled(trainer.average, symmetriser, torch.Generator().manual_seed(0)), trainer
        )
    one = trainer.splits["test"][0].structure
    atoms = Atoms(one.numbers, one.positions)
    calculator, exact = (
        PETCalculator(
            copy.deepcopy(trainer.average), device="cpu", dtype=dtype, symmetrise=symmetriser
        )
        for dtype in ("float32", "float64")
    )
    left = residuals(exact, atoms, 10)
    parameters = sum(parameter.numel() for parameter in trainer.average.parameters())
    return (
        f"{name:20s} {symmetriser:11s} {parameters:10d} {spent:5.0f} {values[0]:6.1f}"
        f" {values[1]:6.1f} {values[4]:6.1f} {values[2]:8.2f} {values[3]:6.2f} {drawn[0]:6.1f}"
        f" {drawn[4]:6.1f} {drawn[2]:8.2f} {left[0]:8.1e} {left[1]:8.1e}"
        f" {milliseconds(calculator, atoms, 10):7.2f}"
    )


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/ecse_layers"))
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{platform.platform()}, torch {torch.__version__}, 1 thread")
    print(
        f"{'training':20s} {'symmetrise':11s} {'parameters':>10s} {'CPU s':>5s} {'meV/A':>6s}"
        f" {'MAE':>6s} {'median':>6s} {'meV/atom':>8s} {'MAE':>6s} {'drawn':>6s} {'median':>6s}"
        f" {'meV/atom':>8s} {'eV/atom':>8s} {'eV/A':>8s} {'ms/atom':>7s}",
        flush=True,
    )
    for name in arguments.only:
        trainer, spent = trained(name, arguments.runs / name.replace(" ", "_"), arguments.epochs)
        for symmetriser in RUNS[name][1]:
            print(line(name, symmetriser, trainer, spent), flush=True)


if __name__ == "__main__":
    main()
