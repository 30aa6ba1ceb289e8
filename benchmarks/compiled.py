#!/usr/bin/env python3
"""Time of a step with compiled operators (`compile=True`) against that without.

    OMP_NUM_THREADS=1 python benchmarks/compiled.py --model XS --system si8 si64
    OMP_NUM_THREADS=1 python benchmarks/compiled.py --model XS --system si8 --processes 2

Both calculators have the same random weights and alternate on the structures of a run (energy,
forces and stress, float32). Printed are CPU times of a step in ms, medians and minima, the ratio
without / with, the largest difference of forces, how often was compiled, and the time of that.
With --without-compiler the operators are recorded, but not compiled.

With --processes, each of some processes after the other makes three steps: the first ones find an
empty cache of the compiler on the disk, the others what the first one left there. Printed are wall
and CPU times, in s, of the step that compiles, and CPU times with all of its child processes.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time

import gpu
import numpy as np
import single_point
import torch
from ase.build import molecule

from ase_pet import PETCalculator
from ase_pet.evaluation.traced import TracedGradient

SYSTEMS = {**single_point.SYSTEMS, "ethanol": lambda: molecule("CH3CH2OH", vacuum=6.0, pbc=True)}


def calculators(size):
    """Two calculators of the same random weights, without and with compiled operators."""
    made = []
    for compile in (False, True):
        torch.manual_seed(0)
        model = gpu.make_published(f"PET {size}")
        made.append(PETCalculator(model, device="cpu", dtype="float32", compile=compile))
    return made


def line(size, system):
    """Result of one system as text."""
    pair = calculators(size)
    plain, compiled = pair
    atoms = SYSTEMS[system]()
    start = time.process_time()
    times = single_point.take_turns(pair, atoms)[:, :, 1]  # CPU time in ms
    total = time.process_time() - start
    difference = np.abs(plain.results["forces"] - compiled.results["forces"]).max()
    made = compiled._steps.traced
    medians = np.median(times, axis=1)
    minima = times.min(axis=1)
    return (
        f"PET {size:2} {system:9} {medians[0]:8.1f} ({minima[0]:.1f}) {medians[1]:8.1f}"
        f" ({minima[1]:.1f})   ratio {medians[0] / medians[1]:.2f} ({minima[0] / minima[1]:.2f})"
        f"   forces {difference:.0e} eV/A   compiled {made.traces} times,"
        f" {made.seconds:.0f} s of wall time   {times.shape[1]} steps, {total:.0f} s of CPU time"
    )


def first_steps(size, system):
    """Times in s of the first three steps of a process as text."""
    _, compiled = calculators(size)
    atoms = SYSTEMS[system]()
    atoms.calc = compiled
    rows = []
    for step in range(3):
        atoms.rattle(0.02, seed=step)
        wall = time.perf_counter()
        start = time.process_time()
        atoms.get_forces()
        rows.append((time.perf_counter() - wall, time.process_time() - start))
    (_, _), (wall, cpu), (_, later) = rows
    return f"PET {size:2} {system:9} compiled in {wall:.0f} s, {cpu:.1f} s of CPU; then {later:.3f}"


def processes(count):
    """The same command in processes that share one cache, which is empty at first."""
    command = [argument for argument in sys.argv if argument != "--processes"]
    command.remove(str(count))
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(
                [sys.executable, *command, "--first-steps"],
                env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": folder},
                check=True,
            )
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            user = after.ru_utime - before.ru_utime
            system = after.ru_stime - before.ru_stime
            print(f"process {number + 1}: {user + system:.0f} s of CPU in all", flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", nargs="+", default=["XS", "S"], choices=("XS", "S"))
    parser.add_argument("--system", nargs="+", default=["si8"], choices=SYSTEMS)
    parser.add_argument("--without-compiler", action="store_true")
    parser.add_argument("--processes", type=int, help="number of processes, for their first steps")
    parser.add_argument("--first-steps", action="store_true", help="of this process")
    args = parser.parse_args()
    if args.processes:
        processes(args.processes)
        return
    if args.without_compiler:
        TracedGradient._compiled = recorded_only
    for size in args.model:
        for system in args.system:
            text = first_steps(size, system) if args.first_steps else line(size, system)
            print(text, flush=True)


def recorded_only(_, recorded, tensors):
    """The recorded operators as they are."""
    return recorded


if __name__ == "__main__":
    main()
