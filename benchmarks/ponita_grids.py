#!/usr/bin/env python3
"""PONITA of ethanol trained on one grid and on grids drawn for each step, measured on many grids.

    python benchmarks/ponita_grids.py [--epochs 4] [--small] [--rmd17 FILE]
    [--runs runs/ponita_grids]

Trains both from random weights with the same number of steps, recipe and seed, those of
ponita_ethanol.py; interrupted runs are resumed, complete ones are only measured. One grid:
`icosahedral`. Drawn grids: those of `orientations.DRAWN`, 12 to 64 axes, 20 on average
(`orientations_drawn = true`). Width 64, 32 basis functions, 3 layers; --small: 32, 16 and 2.

Columns: axes in inference; whether the training had them; MAE of energies of molecules, less their
mean error, in meV, and of force components in meV/A, on each fourth test structure of
calculators/ethanol and on rMD17; rotation error in float64: standard deviation of the energy over
10 random elements of O(3) in meV, root mean square over 4 structures, rms and largest change of a
force component rotated back in meV/A; time of energy and forces of one molecule in float32 in
ms/atom. Then the error of forces on 64 axes divided by the mean over the grids of the training. One
thread, CPU time.
"""

import argparse
import copy
import platform
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import torch
from ecse import milliseconds
from ethanol_accuracy import errors
from ponita_ethanol import RUNS, residuals, structures, trained

from ase_pet import PETCalculator, orientations

NAMES = {"PONITA 12": "icosahedral", "PONITA drawn": "drawn"}
# fibonacci:64, whose axes have no opposites, and antipodal:110 are in no training
GRIDS = (
    "icosahedral",
    "dodecahedral",
    "compound",
    "antipodal:64",
    "fibonacci:64",
    "antipodal:110",
)
FINE = "antipodal:64"
SMALL = {"width = 64": "width = 32", "num_basis = 32": "num_basis = 16", "layers = 3": "layers = 2"}


def make_small():
    """Give both models smaller sizes."""
    for name in NAMES:
        settings = RUNS[name].settings
        for old, new in SMALL.items():
            settings = settings.replace(old, new)
        RUNS[name] = replace(RUNS[name], settings=settings)


def merged(sets):
    """Each fourth test structure of all temperatures as one set, and those of rMD17."""
    rmd17 = sets.pop("rMD17", None)
    test = [atoms for frames in sets.values() for atoms in frames][::4]
    return {"test": test} | ({"rMD17": rmd17} if rmd17 else {})


def measured(model, grid, sets):
    """Errors by set, rotation error and time of a model on a grid."""
    on_grid = model.with_orientations(grid)
    fast, exact = (
        PETCalculator(copy.deepcopy(on_grid), device="cpu", dtype=dtype)
        for dtype in ("float32", "float64")
    )
    energy_and_forces = [errors(fast, frames)[::2] for frames in sets.values()]
    some = sets["test"][:4]
    return energy_and_forces, residuals(exact, some, 10), milliseconds(fast, some[0].copy(), 10)


def report(name, trainer, spent, sets):
    """Print the table of one training."""
    model = trainer.average
    known = orientations.DRAWN if model.settings.orientations_drawn else ("icosahedral",)
    print(
        f"\ntrained on {NAMES[name]} axes: {trainer.epoch} epochs, {trainer.step} steps, CPU time"
        f" {spent:.0f} s\n{'axes':13} {'trained':7} "
        + " ".join(f"{kind + ', meV':>10} {'meV/A':>6}" for kind in sets)
        + f" {'std meV':>8} {'rms meV/A':>9} {'largest':>8} {'ms/atom':>7}",
        flush=True,
    )
    forces = {}
    for grid in GRIDS:
        values, left, time = measured(model, grid, sets)
        forces[grid] = np.array([each[1] for each in values])
        print(
            f"{grid:13} {'yes' if grid in known else 'no':7} "
            + " ".join(f"{energy:10.2f} {force:6.1f}" for energy, force in values)
            + f" {left[0]:8.2g} {left[1]:9.2g} {left[2]:8.2g} {time:7.2f}",
            flush=True,
        )
    own = np.mean([forces[grid] for grid in GRIDS if grid in known], axis=0)
    ratios = forces[FINE] / own
    print(
        f"forces on {FINE}, divided by the mean over the grids of the training: "
        + ", ".join(f"{kind} {ratio:.2f}" for kind, ratio in zip(sets, ratios, strict=True)),
        flush=True,
    )


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--rmd17")
    parser.add_argument("--runs", type=Path, default=Path("runs/ponita_grids"))
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.small:
        make_small()
    sets = merged(structures(arguments.rmd17))
    runs = {
        name: trained(name, arguments.runs / name.replace(" ", "_"), epochs=arguments.epochs)
        for name in arguments.only
    }
    print(
        f"\n{date.today()}, {platform.platform()}, torch {torch.__version__}, 1 thread; "
        + ", ".join(f"{len(frames)} structures of {kind}" for kind, frames in sets.items())
    )
    for name, (trainer, spent) in runs.items():
        report(name, trainer, spent, sets)


if __name__ == "__main__":
    main()
