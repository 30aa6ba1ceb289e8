#!/usr/bin/env python3
"""Test errors by size of model, cutoff, number of layers and structures, at fixed CPU time.

usage: model_size.py [--systems ethanol silicon] [--seconds 20] [--output runs/model-size]

Trains small PETs on the data of the calculators `silicon` (crystals, PBE) and `ethanol` (PBE part).
One choice at a time differs from a base. The number of updates is the CPU time over that of an
update of the model, measured first, so that each learning rate falls to its end. Resumable: what is
finished is read. In all about 12 CPU-minutes, one thread.
"""

import argparse
import json
import platform
import time
import warnings
from pathlib import Path

import tomli_w
import torch

from ase_pet import store
from ase_pet.train import train

ROOT = Path(__file__).resolve().parents[1] / "calculators"
FILES = {
    "ethanol": ["training.extxyz.xz"],
    "silicon": ["training.extxyz.xz", "training_chains.extxyz.xz", "training_chains_b.extxyz.xz"],
}
SPECIES = {"silicon": ["Si"], "ethanol": ["H", "C", "O"]}
CUTOFFS = {"silicon": (4.0, 5.0, 6.0), "ethanol": (3.0, 4.5, 6.0)}  # A; the second is the base's
COUNTS = {"silicon": (40, 80), "ethanol": (100, 200)}  # training structures; the base has all
WIDTHS = (16, 32, 64, 96)  # d_pet; the second is the base's
LAYERS = (1, 2, 3)  # message-passing layers; the first is the base's
TIMED = 12  # updates of the training that is timed
BATCH = 8  # structures
VALIDATIONS = 8


def cases(system):
    """{name: (width, cutoff in A, layers, structures)}; None: all structures."""
    few = COUNTS[system][0]
    base = (WIDTHS[1], CUTOFFS[system][1], LAYERS[0], None)
    table = {"base": base}
    for width in (WIDTHS[0], *WIDTHS[2:]):
        table[f"width {width}"] = (width, *base[1:])
    for cutoff in CUTOFFS[system][::2]:
        table[f"cutoff {cutoff}"] = (base[0], cutoff, *base[2:])
    for layers in LAYERS[1:]:
        table[f"layers {layers}"] = (*base[:2], layers, None)
    for count in COUNTS[system]:
        table[f"structures {count}"] = (*base[:3], count)
    for width in (WIDTHS[0], WIDTHS[-1]):
        table[f"width {width}, structures {few}"] = (width, *base[1:3], few)
    return table


def recipe(system, case, updates):
    """Recipe in tables."""
    width, cutoff, layers, count = case
    data = {"files": [str(ROOT / system / name) for name in FILES[system]]}
    if count is not None:
        data["limit"] = count
    return {
        "name": system,
        "model": "pet",
        "seed": 1,
        "uncertainty": False,
        "settings": {
            "species": SPECIES[system],
            "cutoff": cutoff,
            "d_pet": width,
            "d_node": 2 * width,
            "d_head": width,
            "d_feedforward": 2 * width,
            "num_heads": 4,
            "num_attention_layers": 1,
            "num_gnn_layers": layers,
        },
        "data": data,
        "loss": {"stress": 0.1 if system == "silicon" else 0.0},
        "optimiser": {"updates": updates, "batch_size": BATCH, "ema": 0.99},
    }


def run(folder, content):
    """CPU times in s after each update of a training, whose folder holds its errors."""
    times = []
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_suffix(".toml")
    path.write_text(tomli_w.dumps(content))
    with warnings.catch_warnings():
        # notes on the data, the same in all trainings
        warnings.simplefilter("ignore", UserWarning)
        train(path, folder, device="cpu", on_update=lambda _: times.append(time.process_time()))
    return times


def measured(place, system, case, seconds):
    """Row of the table of a case, from its file or from a training."""
    slug = place.name
    done = place.with_name(f"{slug}.json")
    if done.exists():
        return json.loads(done.read_text())
    for number in range(100):
        # what was interrupted begins anew, in a folder of its own
        folder = place.with_name(f"{slug}-{number}")
        if not folder.exists():
            break
    times = run(folder.with_name(f"{folder.name}-timed"), recipe(system, case, TIMED))
    per_update = (times[-1] - times[2]) / (len(times) - 3)
    updates = max(TIMED, round(seconds / per_update))
    content = recipe(system, case, updates)
    structures = case[3] or 10**9
    per_epoch = max(1, min(structures, 300) // BATCH)
    content["optimiser"]["validate_every"] = max(1, updates // per_epoch // VALIDATIONS)
    times = run(folder, content)
    model, _ = store.load(folder)
    metrics = json.loads((folder / "metrics.json").read_text())
    row = {
        "structures": metrics["train"]["structures"],
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "updates": len(times),
        "seconds": times[-1] - times[0],
        **{
            f"{split} {kind}": 1e3 * metrics[split][kind]["rmse"]
            for split in ("train", "test")
            for kind in ("energy", "forces")
        },
    }
    done.write_text(json.dumps(row))
    return row


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--systems", nargs="+", choices=sorted(FILES), default=list(FILES))
    parser.add_argument("--seconds", type=float, default=20, help="CPU time of each training")
    parser.add_argument("--output", type=Path, default=Path("runs/model-size"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{platform.platform()}, torch {torch.__version__}, float32, 1 thread")
    print(f"updates of {arguments.seconds:g} CPU-s in each training, {BATCH} structures in a batch")
    print("RMSE of energies in meV/atom and of forces in meV/A, of training and test structures")
    for system in arguments.systems:
        print(f"\n{system}: the base has width {WIDTHS[1]}, cutoff {CUTOFFS[system][1]} A, 1 layer")
        print(
            f"{'case':26s} {'structures':>10s} {'parameters':>10s} {'updates':>8s} {'CPU-s':>6s}"
            f" {'energy':>7s} {'forces':>7s} {'test energy':>12s} {'test forces':>12s}"
        )
        for name, case in cases(system).items():
            place = arguments.output / system / name.replace(", ", "-").replace(" ", "-")
            row = measured(place, system, case, arguments.seconds)
            print(
                f"{name:26s} {row['structures']:10d} {row['parameters']:10d} {row['updates']:8d}"
                f" {row['seconds']:6.0f} {row['train energy']:7.2f} {row['train forces']:7.1f}"
                f" {row['test energy']:12.2f} {row['test forces']:12.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
