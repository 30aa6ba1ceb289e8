#!/usr/bin/env python3
"""Bit-exact restarts: compare a run that is killed repeatedly with an uninterrupted one.

usage: restart.py [CALC] [--ensemble nvt] [--thermostat langevin] [--repeat 1] [--kills 20] [--steps
1500]

Silicon cubic cells repeated (8 atoms for 1). One process runs to the end. Then processes run the
same into another folder, and each is killed by SIGKILL at a random moment, until --kills were
killed; a last one completes the run. Trajectory, its text form, table and final state of the two
folders are compared byte by byte. Every fourth process is killed within `--wait` seconds after it
was started, mostly while it loads; the others within `--wait` / 20 seconds after a random number of
steps, chosen so that the last kill falls towards the end of the run.
"""

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ase.build import bulk

from ase_pet import PETCalculator, md

FILES = ("trajectory.traj", "trajectory.extxyz", "thermo.csv", "state.npz")


def arguments():
    """Parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("calc", nargs="?", default="silicon")
    parser.add_argument("--ensemble", default="nve")
    parser.add_argument("--thermostat", default="langevin")
    parser.add_argument("--barostat", default="isotropic")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument(
        "--wait", type=float, default=5.0, help="s, longest time between start and kill"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--worker", help="folder: only run into it")
    return parser.parse_args()


def work(args):
    """Run or resume; prints the completed steps."""
    atoms = bulk("Si", "diamond", 5.4695, cubic=True).repeat(args.repeat)
    atoms.calc = PETCalculator(args.calc)
    # a run refuses what its ensemble does not use
    baths = {
        "nve": {},
        "nvt": {"thermostat": args.thermostat},
        "npt": {"barostat": args.barostat},
    }
    md.run(
        atoms,
        args.worker,
        restart=True,
        ensemble=args.ensemble,
        **baths[args.ensemble],
        time=args.steps / 1000,
        temperature=600,
        interval=3,
        thermo_interval=2,
        checkpoint=7,
        extxyz=True,
        on_step=lambda step, temperature: print(step, flush=True),
    )


def start(folder):
    """Process that runs in a folder."""
    command = [sys.executable, __file__, *sys.argv[1:], "--worker", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def kill(folder, chance, wait, most):
    """Last step that a process printed before it was killed; None if it ended first.

    most: largest number of steps before the kill; 0: it is killed soon after its start.
    """
    process, step = start(folder), 0
    for _ in range(chance.randint(1, most) if most else 0):
        step = int(process.stdout.readline() or step)
    time.sleep(chance.uniform(0, wait / 20 if most else wait))
    process.send_signal(signal.SIGKILL)
    return step if process.wait() == -signal.SIGKILL else None


def main():
    """Run, kill, compare, print."""
    args = arguments()
    if args.worker:
        work(args)
        return
    chance = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as place:
        uninterrupted, stopped = Path(place) / "uninterrupted", Path(place) / "stopped"
        begin = time.time()
        start(uninterrupted).communicate()
        seconds = time.time() - begin
        most = 2 * args.steps // args.kills
        steps = [
            kill(stopped, chance, args.wait, most if number % 4 else 0)
            for number in range(args.kills)
        ]
        reached = md.state.read(stopped)[0]
        start(stopped).communicate()
        same = {
            name: (uninterrupted / name).read_bytes() == (stopped / name).read_bytes()
            for name in FILES
        }
        size = (uninterrupted / FILES[0]).stat().st_size
    name = (
        args.ensemble
        + {"nve": "", "nvt": f", {args.thermostat}", "npt": f", {args.barostat}"}[args.ensemble]
    )
    print(
        f"{name}: {8 * args.repeat**3} atoms, {args.steps} steps ({seconds:.0f} s),"
        f" {sum(step is not None for step in steps)} of {args.kills} killed, after steps"
        f" {', '.join(str(step or 'loading') for step in steps)}; the last state before the end:"
        f" step {0 if reached is None else int(reached['dynamics nsteps'])}; trajectory of {size}"
        " bytes; "
        + ", ".join(
            f"{file} {'identical' if equal else 'DIFFERENT'}" for file, equal in same.items()
        ),
        flush=True,
    )


if __name__ == "__main__":
    main()
