#!/usr/bin/env python3
"""Is a run that was killed again and again, byte for byte, the run that nobody touched?

usage: restart.py [CALC] [--ensemble nvt] [--thermostat langevin] [--repeat 1] [--kills 20] [--steps 1500]
Silicon cubic cells repeated (8 atoms for 1). One process runs to the end. Then processes run the same into another folder,
and each is killed by SIGKILL at a random moment after it was started, until so many were killed; a last one ends the run.
Trajectory, its text form, table and final state of the two folders are compared byte by byte. The wait before a kill is
drawn between zero and `--wait` seconds after a process began to load or, every other time, after its first step.
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
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("calc", nargs="?", default="silicon")
    parser.add_argument("--ensemble", default="nve")
    parser.add_argument("--thermostat", default="langevin")
    parser.add_argument("--barostat", default="isotropic")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--wait", type=float, default=1.0, help="s, longest time before a kill")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--worker", help="folder: only run into it")
    return parser.parse_args()


def work(args):
    """Run, or go on; says that it has made its first step."""
    atoms = bulk("Si", "diamond", 5.4695, cubic=True).repeat(args.repeat)
    atoms.calc = PETCalculator(args.calc)
    said = []

    def on_step(step, temperature):
        if not said:
            said.append(print("running", flush=True))

    md.run(atoms, args.worker, restart=True, ensemble=args.ensemble, thermostat=args.thermostat, barostat=args.barostat,
           time=args.steps / 1000, temperature=600, interval=3, thermo_interval=2, checkpoint=7, extxyz=True,
           on_step=on_step)


def start(folder):
    """Process that works into a folder."""
    command = [sys.executable, __file__, *sys.argv[1:], "--worker", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def kill(folder, chance, wait, after_first_step):
    """Whether a process was killed before it ended."""
    process = start(folder)
    if after_first_step:
        process.stdout.readline()
    time.sleep(chance.uniform(0, wait))
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def main():
    """Run, kill, compare, print."""
    args = arguments()
    if args.worker:
        work(args)
        return
    chance = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as place:
        whole, stopped = Path(place) / "whole", Path(place) / "stopped"
        begin = time.time()
        start(whole).communicate()
        seconds = time.time() - begin
        killed = [kill(stopped, chance, args.wait, number % 2 == 0) for number in range(args.kills)]
        reached = md.state.read(stopped)[0]
        start(stopped).communicate()
        same = {name: (whole / name).read_bytes() == (stopped / name).read_bytes() for name in FILES}
        size = (whole / FILES[0]).stat().st_size
    name = args.ensemble + {"nve": "", "nvt": f", {args.thermostat}", "npt": f", {args.barostat}"}[args.ensemble]
    print(f"{name}: {8 * args.repeat**3} atoms, {args.steps} steps ({seconds:.0f} s), {sum(killed)} of {args.kills} killed, "
          f"the last one after step {0 if reached is None else int(reached['dynamics nsteps'])}; trajectory of {size} bytes; "
          + ", ".join(f"{file} {'identical' if equal else 'DIFFERENT'}" for file, equal in same.items()), flush=True)


if __name__ == "__main__":
    main()
