#!/usr/bin/env python3
"""Errors of a model of strongly distorted methane with and without ECSE.

usage: methane_accuracy.py FOLDER OUTPUT [--epochs 300] [--augmentation rotations frames]

FOLDER: methane_train.extxyz, methane_val.extxyz and methane_test.extxyz of the example of the
original PET. OUTPUT: folder for the runs, which are resumed if they exist. Units and level of
theory are not stated in the data: taken as eV, A.
"""

import argparse
from pathlib import Path

from ase.io import read

from ase_pet import PETCalculator
from ase_pet.cli.eval import compare
from ase_pet.train import train

RECIPE = """
name = "methane"
model = "pet"
seed = 1
symmetrise = "ecse"
augmentation = "{augmentation}"
[settings]
species = ["H", "C"]
cutoff = 8.0
cutoff_width = 1.5
d_pet = 64
d_node = 64
d_head = 64
d_feedforward = 128
num_heads = 4
num_gnn_layers = 1
num_attention_layers = 2
featurizer_type = "residual"
[data]
train = ["{folder}/methane_train.extxyz"]
val = ["{folder}/methane_val.extxyz"]
test = ["{folder}/methane_test.extxyz"]
[optimiser]
epochs = {epochs}
batch_size = 16
learning_rate = 6e-3
ema = 0.99
validate_every = 10
"""


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--augmentation", nargs="+", default=["rotations"])
    arguments = parser.parse_args()
    frames = read(arguments.folder / "methane_test.extxyz", ":")
    for augmentation in arguments.augmentation:
        run = arguments.output / augmentation
        run.mkdir(parents=True, exist_ok=True)
        recipe = run / "recipe.toml"
        recipe.write_text(
            RECIPE.format(
                augmentation=augmentation,
                folder=arguments.folder.resolve(),
                epochs=arguments.epochs,
            )
        )
        if not (run / "calculator.toml").exists():
            train(recipe, run, resume=True)
        for name in ("none", "ecse") if augmentation == "rotations" else ("ecse",):
            errors = compare(PETCalculator(run, symmetrise=name), frames)
            print(
                f"trained in {augmentation:9} symmetrise {name:5}",
                "; ".join(
                    f"{key} RMSE {row['rmse']:.4g} MAE {row['mae']:.4g} {row['unit']}"
                    for key, row in errors.items()
                ),
                flush=True,
            )


if __name__ == "__main__":
    main()
