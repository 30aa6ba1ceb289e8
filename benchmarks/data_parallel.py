#!/usr/bin/env python3
"""Time of an update of the weights with one and with two processes, and how far the weights agree.

usage: data_parallel.py [--processes 1 2] [--updates 20] [--batch 16]

Training of a PET of the size of the silicon calculator, in float64, on the training set of the
silicon calculator. Processes have one thread each; CPU time is that of process 0. The weights after
all updates are compared with those of the first number of processes.
"""

import argparse
import dataclasses
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from ase_pet import rotations
from ase_pet.train import distributed, read, run

ROOT = Path(__file__).resolve().parent.parent


def arguments():
    """Parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--output", type=Path, help="run as one of the processes")
    return parser.parse_args()


def work(options):
    """Train in this process and those beside it."""
    torch.set_num_threads(1)
    folder = ROOT / "calculators" / "silicon"
    recipe = read(folder / "recipe.toml")
    data = dataclasses.replace(recipe.data, files=("training.extxyz.xz",))
    recipe = dataclasses.replace(recipe, start=None, dtype="float64", data=data)
    with distributed.connected() as ranks:
        trainer = run.prepare(recipe, options.output, "cpu", ranks)
        generator = torch.Generator().manual_seed(1)
        order = torch.randperm(len(trainer.splits["train"]), generator=generator).tolist()
        times = []
        used = []
        for number in range(options.updates):
            first = number * options.batch % (len(order) - options.batch)
            rotation = rotations.random_orthogonal(options.batch, generator)
            start = time.perf_counter()
            start_used = time.process_time()
            parts = trainer._parts(order[first : first + options.batch], rotation)
            trainer._update(parts, options.batch, generator)
            times.append(time.perf_counter() - start)
            used.append(time.process_time() - start_used)
        if ranks.leads:
            weights = torch.cat([each.flatten() for each in trainer.model.parameters()])
            torch.save(weights.detach(), options.output / f"{ranks.size}.pt")
            print(
                f"{ranks.size} processes: {sorted(times)[len(times) // 2]:.3f} s per update"
                f" (least {min(times):.3f} s), CPU time {sorted(used)[len(used) // 2]:.3f} s",
                flush=True,
            )


def main():
    """Run all numbers of processes."""
    options = arguments()
    if options.output:
        work(options)
        return
    with tempfile.TemporaryDirectory() as name:
        for count in options.processes:
            launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(count)]
            command = [sys.executable, *launcher, "--standalone", __file__, *sys.argv[1:]]
            subprocess.run([*command, "--output", name], check=True)
        weights = [torch.load(Path(name) / f"{count}.pt") for count in options.processes]
        for count, other in zip(options.processes[1:], weights[1:], strict=True):
            difference = (other - weights[0]).norm() / weights[0].norm()
            print(f"weights of {count} beside {options.processes[0]}: {difference:.1e} relative")


if __name__ == "__main__":
    main()
