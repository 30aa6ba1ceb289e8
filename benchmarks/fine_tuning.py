#!/usr/bin/env python3
"""Errors of fine-tuned models on new and on old data, by method and number of new structures.

usage: fine_tuning.py [--counts 20 100 500] [--updates 250] [--output runs/fine-tuning]

Labels are GFN2-xTB (package `tblite`). The start is a small PET that is trained on rattled methane,
ethane, ethene, water, methanol, ethanol, dimethyl ether and formaldehyde; the new data are formic
and acetic acid, acetaldehyde, ketene and methyl formate: the same elements, other bonds. All
trainings of a table have the same number of updates. Resumable: what is finished is read.
"""

import argparse
import json
import platform
import time
import warnings
from pathlib import Path

import ase.io
import numpy as np
import tomli_w
import torch
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator

from ase_pet import PETCalculator
from ase_pet.train import train

OLD = ("CH4", "C2H6", "C2H4", "H2O", "CH3OH", "CH3CH2OH", "CH3OCH3", "H2CO")
NEW = ("HCOOH", "CH3COOH", "CH3CHO", "H2CCO", "HCOOCH3")
RATTLE = 0.08  # A, standard deviation of displacements
SIZES = {"train": 500, "val": 30, "test": 100}
SETTINGS = {
    "species": ["H", "C", "O"],
    "cutoff": 4.5,
    "d_pet": 24,
    "d_node": 48,
    "d_head": 24,
    "d_feedforward": 48,
    "num_heads": 2,
    "num_attention_layers": 1,
    "num_gnn_layers": 2,
}
START_UPDATES = 5  # times those of the others
BATCH = 10  # structures
VALIDATIONS = 5
RATE = 0.01  # of a first training
TUNING = {  # method: (learning rate, table [fine_tuning])
    "full": (0.002, {}),
    "heads": (0.005, {"weights": "heads"}),
    "LoRA, rank 4": (0.005, {"weights": "lora", "rank": 4}),
    "full, rates 0.5 per layer": (0.002, {"layer_rate": 0.5}),
    "full + replay of 100 old": (
        0.002,
        {"replay": ["old_100.extxyz"], "replay_labels": "start"},
    ),
    "full + 100 made": (0.002, {"replay_generated": 100}),
}


def labelled(names, count, seed):
    """Rattled molecules with energies and forces of GFN2-xTB."""
    from tblite.ase import TBLite

    generator = np.random.default_rng(seed)
    calculator = TBLite(method="GFN2-xTB", verbosity=0)
    frames = []
    for index in range(count):
        atoms = molecule(names[index % len(names)])
        atoms.positions += generator.normal(0, RATTLE, atoms.positions.shape)
        atoms.calc = calculator
        values = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        atoms.calc = SinglePointCalculator(atoms, **values)
        frames.append(atoms)
    return frames


def prepare(folder):
    """Write the data, one file for each split; files that are there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (family, names) in enumerate([("old", OLD), ("new", NEW)]):
        for number, (split, count) in enumerate(SIZES.items()):
            path = folder / f"{family}_{split}.extxyz"
            if not path.exists():
                ase.io.write(path, labelled(names, count, 10 * seed + number))
    ase.io.write(folder / "old_100.extxyz", ase.io.read(folder / "old_train.extxyz", ":100"))


def recipe(name, folder, file, updates, rate):
    """Recipe in tables, on the first structures of a family."""
    family = file.partition("_")[0]
    return {
        "name": name,
        "seed": 1,
        "data": {"train": [file], "val": [f"{family}_val.extxyz"]},
        "loss": {"stress": 0.0},
        "optimiser": {
            "updates": updates,
            "batch_size": BATCH,
            "learning_rate": rate,
            "ema": 0.99,
            "validate_every": 1,
        },
    }


def trained(folder, name, content, n_training):
    """CPU time in s of a training, which is not repeated if it is there."""
    slug = name.replace(" ", "-").replace(",", "").replace("+", "and")
    output = folder / slug
    done = output / "seconds.json"
    if not done.exists():
        epochs = content["optimiser"]["updates"] * BATCH / n_training
        content["optimiser"]["validate_every"] = max(1, int(epochs / VALIDATIONS))
        path = folder / f"{slug}.toml"
        path.write_text(tomli_w.dumps(content))
        began = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            train(path, output, resume=(output / "state.pt").exists())
        done.write_text(json.dumps(time.process_time() - began))
    return output, json.loads(done.read_text())


def errors(folder, path):
    """RMSE of energies in meV/atom and of forces in meV/A on the structures of a file."""
    frames = ase.io.read(path, ":")
    calculator = PETCalculator(folder, device="cpu")
    results = calculator.evaluate(frames, properties=("energy", "forces"))
    energies = []
    forces = []
    for atoms, result in zip(frames, results, strict=True):
        energies.append((result["energy"] - atoms.get_potential_energy()) / len(atoms))
        forces.append((result["forces"] - atoms.get_forces()).ravel())
    rmse = [np.sqrt(np.mean(np.square(x))) for x in (energies, np.concatenate(forces))]
    return [1e3 * float(x) for x in rmse]


def row(name, count, seconds, folder, output):
    """Row of the table."""
    new = errors(output, folder / "new_test.extxyz")
    old = errors(output, folder / "old_test.extxyz")
    numbers = "".join(f"{value:10.1f}" for value in (*new, *old))
    return f"{count:>6}  {name:28}{numbers}{seconds:9.0f}"


def main():
    """Train what is missing, and write the table after each training."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[20, 100, 500])
    parser.add_argument("--updates", type=int, default=250)
    parser.add_argument("--output", type=Path, default=Path("runs/fine-tuning"))
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results/fine_tuning.txt"))
    args = parser.parse_args()
    folder = args.output
    prepare(folder)
    lines = [
        f"python benchmarks/fine_tuning.py --updates {args.updates}",
        f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {torch.get_num_threads()} thread(s),"
        f" torch {torch.__version__}",
        "GFN2-xTB labels; RMSE on 100 new and 100 old structures that no training has seen;",
        "energy in meV/atom, forces in meV/A, CPU time of the training in s",
        "",
        f"{'new':>6}  {'method':28}"
        + "".join(f"{title:>10}" for title in ("new E", "new F", "old E", "old F"))
        + f"{'CPU s':>9}",
    ]

    def show(line):
        lines.append(line)
        print(line, flush=True)
        args.results.write_text("\n".join(lines) + "\n")

    updates = START_UPDATES * args.updates
    content = recipe("start", folder, "old_train.extxyz", updates, RATE)
    model = {"model": "pet", "settings": SETTINGS}
    start, seconds = trained(folder, "start", {**content, **model}, SIZES["train"])
    show(row("the start", 0, seconds, folder, start))
    for count in args.counts:
        file = f"new_{count}.extxyz"
        ase.io.write(folder / file, ase.io.read(folder / "new_train.extxyz", f":{count}"))
        name = f"{count} scratch"
        content = recipe(name, folder, file, args.updates, RATE)
        output, seconds = trained(folder, name, {**content, **model}, count)
        show(row("from scratch", count, seconds, folder, output))
        for method, (rate, options) in TUNING.items():
            name = f"{count} {method}"
            content = recipe(name, folder, file, args.updates, rate)
            table = {**options, "old_data": ["old_val.extxyz"]}
            content |= {"start": "start", "E0s": "start", "fine_tuning": table}
            output, seconds = trained(folder, name, content, count)
            show(row(method, count, seconds, folder, output))


if __name__ == "__main__":
    main()
