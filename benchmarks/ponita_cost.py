#!/usr/bin/env python3
"""Cost of PONITA relative to PET, and the share of rotating atoms in ECSE of a PONITA.

usage: ponita_cost.py [--repeats 3] [--systems "silicon 64" "water 192" ...]

Models have the sizes of benchmarks/ponita_ethanol.py and random weights. Each row in a process of
its own: CPU time of energy and forces in float32 (median, one thread), products of matrices in them
(torch.utils.flop_counter, 2 for each multiplication and addition; elementwise functions do not
count), and the peak of memory less that before the evaluation.

With symmetriser ecse models have one layer. The last column is an upper bound of the saving if axes
instead of atoms were rotated into frames: the time of frame weights, rotated vectors, environments
and their derivatives, measured with a trivial network (one number of each edge).
"""

import argparse
import json
import resource
import subprocess
import sys
import tomllib
from datetime import date

import torch
from ase import Atoms
from ecse import milliseconds
from ecse_cost import SYSTEMS, Reader
from ponita_ethanol import FINE, PET, PONITA
from torch.utils.flop_counter import FlopCounterMode

from ase_pet import PETCalculator
from ase_pet.models import pet, ponita

MODELS = {
    "PET": (pet, PET),
    "PNITA": (ponita, PONITA.format(grid="none")),
    "PONITA 12": (ponita, PONITA.format(grid="icosahedral")),
    "PONITA 20": (ponita, PONITA.format(grid="dodecahedral")),
    "PONITA 64": (ponita, PONITA.format(grid=FINE)),
}
EXACT = ("PET", "PONITA 12", "PONITA 20")  # of which ECSE is measured
PLAIN = ("silicon 64", "water 192")


def model_of(name, species, layers):
    """The model of that name with random weights; layers: None for its default."""
    torch.manual_seed(0)
    kind, settings = MODELS[name]
    settings = tomllib.loads(settings)
    if layers:
        settings["num_gnn_layers" if kind is pet else "num_layers"] = layers
    return kind.Model(kind.Settings(species=species, **settings)).requires_grad_(False)


def one(system, name, symmetrise, network, repeats):
    """Print {ms, peak in MB, GFLOP} of energy and forces as JSON; network: "model" or "reader"."""
    torch.set_num_threads(1)
    atoms = SYSTEMS[system]()
    atoms.rattle(0.05, seed=1)
    model = model_of(
        name, tuple(sorted(set(atoms.numbers.tolist()))), None if symmetrise == "none" else 1
    )
    model = model if network == "model" else Reader(model.settings)
    first = atoms[:2]  # excludes memory that the first evaluation allocates
    PETCalculator(model, device="cpu", symmetrise=symmetrise, dtype="float32").calculate(
        Atoms(first.numbers, first.positions), ("energy", "forces"), ["positions"]
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    calculator = PETCalculator(model, device="cpu", dtype="float32", symmetrise=symmetrise)
    record = {"ms": milliseconds(calculator, atoms, repeats)}
    record["peak"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    counter = FlopCounterMode(display=False)
    double = PETCalculator(
        model, device="cpu", dtype="float64", symmetrise=symmetrise
    )  # products of oneDNN are not counted
    with counter:
        double.calculate(atoms, ("energy", "forces"), ["positions"])
    print(json.dumps({**record, "gflop": counter.get_total_flops() / 1e9}))


def measured(repeats, *what):
    """Record that `one` prints in a new process."""
    command = [sys.executable, __file__, "--repeats", str(repeats), "--one", *what]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(PLAIN))
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--exact", nargs="*", choices=SYSTEMS, default=["ethanol", "silicon 64"])
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        one(*arguments.one, arguments.repeats)
        return
    print(
        f"{date.today()}, torch {torch.__version__}, float32, 1 thread, energy and"
        f" forces\n{'system':11} {'model':10} {'use':5} {'ms/atom':>8} {'GFLOP':>8} {'peak MB':>8}"
        f" {'outside the network':>19}",
        flush=True,
    )
    for system in arguments.systems:
        for name in arguments.models:
            cost = measured(arguments.repeats, system, name, "none", "model")
            print(
                f"{system:11} {name:10} {'none':5} {cost['ms']:8.2f} {cost['gflop']:8.2f}"
                f" {cost['peak']:8.0f}",
                flush=True,
            )
    for system in arguments.exact:
        for name in (name for name in arguments.models if name in EXACT):
            cost, reader = (
                measured(arguments.repeats, system, name, "ecse", network)
                for network in ("model", "reader")
            )
            print(
                f"{system:11} {name:10} {'ecse':5} {cost['ms']:8.2f} {cost['gflop']:8.2f}"
                f" {cost['peak']:8.0f} {reader['ms'] / cost['ms']:19.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
