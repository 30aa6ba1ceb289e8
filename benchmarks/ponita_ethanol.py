"""PET, PNITA and PONITA of ethanol, trained on the same data for the same CPU time.

    python benchmarks/ponita_ethanol.py [--seconds 600] [--rmd17 FILE] [--runs runs/ponita_ethanol]
    [--only NAME ...]

Trains the missing models one after the other, resuming interrupted runs, then measures. "PONITA 12
scaled", with invariants divided by the cutoff, and "PONITA drawn", with another grid in each step,
run only if they are named. Data: both files of
calculators/ethanol. The number of epochs is chosen by timing steps before the first one, and is
kept in the recipe, so that the learning rate schedule ends in time. FILE of rMD17: as in
ethanol_accuracy.py.

Columns: axes in inference (number, - without) and symmetriser; parameters; epochs and CPU time of
the training in s; MAE of energies of molecules, less their mean error, in meV, and of force
components in meV/A on the test structures by temperature, and on rMD17; rotation error, float64:
standard deviation of the energy over 20 random elements of O(3) in meV, root mean square over 4
structures, and largest change of a force component rotated back in meV/A; time of energy and forces
of one molecule in float32 in ms/atom. One thread, CPU time.
"""

import argparse
import copy
import json
import platform
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import ase.io
import numpy as np
import torch
from ecse import milliseconds
from ethanol_accuracy import errors, in_electronvolt

from ase_pet import PETCalculator, rotations
from ase_pet.train import read
from ase_pet.train.run import prepare

DATA = Path(__file__).resolve().parents[1] / "calculators" / "ethanol"
RECIPE = """name = "{name}"
model = "{model}"
seed = 1
symmetrise = "{symmetrise}"
augmentation = "{augmentation}"

[settings]
species = ["H", "C", "O"]
{settings}

[data]
files = ["{data}/training.extxyz.xz", "{data}/training_sum.extxyz.xz"]

[loss]
energy = 0.01

[optimiser]
epochs = {epochs}
batch_size = {batch_size}
learning_rate = {rate}
warmup_epochs = 0.5
ema = 0.998
validate_every = {every}
"""
PET = """cutoff = 6.0
cutoff_width = 1.5
d_pet = 96
d_node = 96
d_head = 96
d_feedforward = 192
num_heads = 4
num_gnn_layers = 1
num_attention_layers = 2
featurizer_type = "residual"
"""
PONITA = """cutoff = 5.0
width = 64
num_basis = 32
num_layers = 3
orientations = "{grid}"
scaled = false
"""
FINE = "antipodal:64"
PROBED = 160  # structures, of which the training is timed


@dataclass(frozen=True)
class Run:
    """A training and its rows of the table.

    Each row has a symmetriser and a number of orientations (None: that of the training).
    """

    model: str
    settings: str
    uses: tuple
    symmetrise: str = "none"
    augmentation: str = "rotations"
    rate: float = 1.5e-2
    batch_size: int = 8


OWN, GRIDS = (("none", None),), (("none", None), ("none", FINE))
RUNS = {
    "PET": Run("pet", PET, (("none", None), ("group:O", None)), rate=6e-3),
    "PET in frames": Run("pet", PET, (("ecse", None),), "ecse", "frames", rate=6e-3),
    "PNITA": Run("ponita", PONITA.format(grid="none"), OWN),
    "PONITA 12": Run("ponita", PONITA.format(grid="icosahedral"), GRIDS),
    "PONITA 12 scaled": Run(
        "ponita",
        PONITA.format(grid="icosahedral").replace("scaled = false", "scaled = true"),
        GRIDS,
    ),
    "PONITA 20": Run("ponita", PONITA.format(grid="dodecahedral"), GRIDS),
    "PONITA drawn": Run(
        "ponita", PONITA.format(grid="dodecahedral") + "orientations_drawn = true\n", GRIDS
    ),
}
# see ponita_grids.py for grids that are drawn
DEFAULT = [name for name in RUNS if "scaled" not in name and "drawn" not in name]


def written(path, name, epochs, validations=4):
    """The recipe of a run, written to a file and read."""
    run = RUNS[name]
    path.write_text(
        RECIPE.format(
            name=name,
            model=run.model,
            symmetrise=run.symmetrise,
            augmentation=run.augmentation,
            settings=run.settings.strip(),
            data=DATA,
            epochs=epochs,
            batch_size=run.batch_size,
            rate=run.rate,
            every=max(1, epochs // validations),
        )
    )
    return read(path)


def fitting(path, name, seconds):
    """Epochs that fit into seconds of CPU time, without the last validations.

    Timed on a temporary trainer.
    """
    trainer = prepare(written(path, name, 1), path.parent, "cpu")
    n_structures, trainer.splits["train"] = (
        len(trainer.splits["train"]),
        trainer.splits["train"][:PROBED],
    )
    trainer._train_epoch()  # the first steps include one-time costs
    start = time.process_time()
    trainer._train_epoch()
    epoch = (time.process_time() - start) * n_structures / PROBED
    print(
        f"{name}: {1e3 * epoch / n_structures:.1f} ms for each structure,"
        f" {epoch:.0f} s for each epoch",
        flush=True,
    )
    return max(1, round(0.95 * seconds / epoch))


def clocked(trainer, path):
    """Let the trainer write its CPU time next to its state.

    Time during interruptions is not counted.
    """
    spent, start, save = (
        json.loads(path.read_text()) if path.exists() else 0.0,
        time.process_time(),
        trainer.save,
    )

    def saved():
        save()
        path.write_text(json.dumps(spent + time.process_time() - start))

    trainer.save = saved


def trained(name, folder, seconds=None, epochs=None):
    """Trainer of a completed run, with the best weights, and its CPU time in s.

    Its length: epochs that fit into seconds, or a number of epochs with one validation at the end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, clock = folder / "recipe.toml", folder / "seconds.json"
    if not (folder / "state.pt").exists():
        if epochs is None:
            written(path, name, fitting(path, name, seconds))
        else:
            written(path, name, epochs, validations=1)
    trainer = prepare(read(path), folder, "cpu")
    trainer.resume()
    clocked(trainer, clock)
    for record in trainer.run():
        print(
            f"{name}: epoch {record['epoch']}, validation force RMSE"
            f" {1e3 * record['val']['forces']['rmse']:.1f} meV/A",
            flush=True,
        )
    trainer.average.load_state_dict(trainer.best_weights)
    trainer.average.compositions = {"energy": trainer.best_composition}
    return trainer, json.loads(clock.read_text())


def structures(rmd17):
    """{set: structures} that models are measured on."""
    sets = {}
    for atoms in ase.io.read(DATA / "training.extxyz.xz", ":"):
        if atoms.info["split"] == "test":
            sets.setdefault(atoms.info["config_type"].removeprefix("ethanol_"), []).append(atoms)
    sets = dict(sorted(sets.items()))
    return sets | (
        {"rMD17": [in_electronvolt(atoms) for atoms in ase.io.read(rmd17, ":")]} if rmd17 else {}
    )


def residuals(calculator, frames, orientations=20):
    """Rotation error under random elements of O(3).

    Standard deviation of the energy (root mean square over frames) in meV; rms and largest change
    of force components rotated back, in meV/A.
    """
    matrices = rotations.random_orthogonal(orientations, torch.Generator().manual_seed(0)).numpy()
    spread, changes = [], []
    for atoms in frames:
        copies = [atoms.copy() for _ in matrices]
        for one, matrix in zip(copies, matrices, strict=True):
            one.positions = atoms.positions @ matrix.T
        first, *results = calculator.evaluate([atoms, *copies], ("energy", "forces"))
        spread.append(np.var([one["energy"] for one in results]))
        changes += [
            one["forces"] @ matrix - first["forces"]
            for one, matrix in zip(results, matrices, strict=True)
        ]
    return (
        1e3 * np.sqrt(np.mean(spread)),
        1e3 * np.sqrt(np.mean(np.square(changes))),
        1e3 * np.abs(changes).max(),
    )


def line(name, use, trainer, spent, sets):
    """Row of the table for one use of a trained model."""
    symmetriser, axes = use
    model = trainer.average if axes is None else trainer.average.with_orientations(axes)
    fast, exact = (
        PETCalculator(copy.deepcopy(model), device="cpu", dtype=dtype, symmetrise=symmetriser)
        for dtype in ("float32", "float64")
    )
    test_errors = [errors(fast, frames) for frames in sets.values()]
    left = residuals(exact, next(iter(sets.values()))[:4])
    one = next(iter(sets.values()))[0].copy()
    return (
        f"{name:16s} {len(getattr(model, 'axes', ())) or '-':>4} {symmetriser:7s} "
        f"{sum(p.numel() for p in model.parameters()):7d} {trainer.epoch:6d} {spent:5.0f} "
        + " ".join(f"{values[0]:6.2f} {values[2]:6.1f}" for values in test_errors)
        + f" {left[0]:8.1e} {left[2]:8.1e} {milliseconds(fast, one, 10):7.2f}"
    )


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--rmd17")
    parser.add_argument("--runs", type=Path, default=Path("runs/ponita_ethanol"))
    parser.add_argument("--only", nargs="+", choices=RUNS, default=DEFAULT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sets = structures(arguments.rmd17)
    runs = {
        name: trained(name, arguments.runs / name.replace(" ", "_"), arguments.seconds)
        for name in arguments.only
    }
    print(
        f"\n{date.today()}, {platform.platform()}, torch {torch.__version__}, 1 thread; "
        + ", ".join(f"{len(frames)} structures of {kind}" for kind, frames in sets.items())
    )
    print(
        f"{'training':16s} {'axes':>4} {'use':7s} {'weights':>7} {'epochs':>6} {'CPU s':>5} "
        + " ".join(f"{kind:>6} {'meV/A':>6}" for kind in sets)
        + f" {'std meV':>8} {'meV/A':>8} {'ms/atom':>7}",
        flush=True,
    )
    for name, (trainer, spent) in runs.items():
        for use in RUNS[name].uses:
            print(line(name, use, trainer, spent, sets), flush=True)


if __name__ == "__main__":
    main()
