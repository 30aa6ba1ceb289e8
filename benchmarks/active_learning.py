"""Force errors after rounds of active learning: selected against random frames, by labels spent.

    python benchmarks/active_learning.py [--output runs/active-learning] [--seeds 2] [--rounds 3]

The loop of md_examples/13_active_learning.py, with EMT copper as reference: a model of 8 labelled
frames at 300 K runs dynamics at 1200 K until an atomic energy is too uncertain; of its frames 8 are
labelled in each round, by `select` (farthest points in features, weighted with the uncertainty) or
at random, and the model is trained again from the start. Errors are those of frames of the
reference at 1200 K. Resumable: trained models are not trained again.
"""

import argparse
import importlib
import platform
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from ase import io
from ase.calculators.emt import EMT

from ase_pet import PETCalculator
from ase_pet.train import train
from ase_pet.uncertainty.selection import select

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "md_examples"))
example = importlib.import_module("13_active_learning")
STRATEGIES = ("selected", "random")


def force_error(folder, frames):
    """RMSE of force components in meV/A over frames."""
    rows = PETCalculator(folder, device="cpu").evaluate(frames, ("forces",))
    pairs = zip(rows, frames, strict=True)
    errors = [(row["forces"] - atoms.get_forces()).ravel() for row, atoms in pairs]
    return 1e3 * float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))


def trained(folder, data, recipe):
    """Folder of a model trained on data; one that is there is not trained again."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "metrics.json").exists():
        io.write(folder / "train.extxyz", data)
        (folder / "val.extxyz").write_bytes((folder.parent / "val.extxyz").read_bytes())
        (folder / "copper.toml").write_text(recipe)
        train(folder / "copper.toml", folder, resume=(folder / "state.pt").exists())
    return folder


def rounds(place, first, strategy, seed, arguments):
    """Yield the model after each round of a strategy."""
    rng = np.random.default_rng(100 + seed)
    recipe = f"seed = {seed}\n" + example.RECIPE.format(updates=arguments.updates)
    data = list(first)
    for number in range(arguments.rounds + 1):
        name = f"{strategy}{number}" if number else "start"
        model = trained(place / name, data, recipe)
        yield model, len(data)
        following = place / f"{strategy}{number + 1}" / "train.extxyz"
        if number == arguments.rounds:
            return
        if following.exists():
            data = io.read(following, ":")
            continue
        calculator = PETCalculator(
            model, device="cpu", uncertainty="stop", uncertainty_threshold=arguments.threshold
        )
        frames = []
        for _ in range(6):
            frames += example.explore(calculator, 1200, 100, rng)
        count = min(arguments.selected, len(frames))
        indices = rng.choice(len(frames), count, replace=False)
        if strategy == "selected":
            indices = [choice.index for choice in select(calculator, frames, count, data)]
        data = data + [example.label(frames[index]) for index in indices]


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("runs/active-learning"))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--selected", type=int, default=8)
    parser.add_argument("--updates", type=int, default=400)
    parser.add_argument("--threshold", type=float, default=0.05)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{platform.platform()}, torch {torch.__version__}, {arguments.updates} updates")
    print(f"{arguments.selected} labels a round, dynamics stopped above {arguments.threshold} eV")
    for seed in range(arguments.seeds):
        place = arguments.output / f"seed{seed}"
        place.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(seed)
        sample = {
            "first": [(300, 30)] * 8,
            "val": [(600, 30)] * 8,
            "test": [(1200, 60)] * 20,
        }
        sets = {}
        for name, runs in sample.items():
            ends = [example.explore(EMT(), *run, rng)[-1] for run in runs]
            sets[name] = [example.label(atoms) for atoms in ends]
        io.write(place / "val.extxyz", sets["val"])
        for strategy in STRATEGIES:
            for number, (model, labels) in enumerate(
                rounds(place, sets["first"], strategy, seed, arguments)
            ):
                error = force_error(model, sets["test"])
                print(
                    f"seed {seed} {strategy:8s} round {number}: {labels:3d} labels,"
                    f" forces {error:7.1f} meV/A at 1200 K",
                    flush=True,
                )


if __name__ == "__main__":
    warnings.simplefilter("ignore", UserWarning)  # notes of small data sets
    main()
