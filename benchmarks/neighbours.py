#!/usr/bin/env python3
"""Neighbour lists: how time and memory grow, awkward structures, and their share of a step.

    python benchmarks/neighbours.py

Search and reuse are half lists of silicon crystals within 7.5 A, the cutoff of a PET XS, and the
exponent is that of a power law through the times of searches. Awkward structures have 10^5 atoms
without pairs, much vacuum, or a cell that is strongly sheared or tiny; each runs in a process of
its own, so that its peak memory can be stated. The share of a step of molecular dynamics is the CPU
time of everything but the model: checks, list, and the tensors of the graph. Steps move atoms by
1e-3 A, so that lists are reused as in a run. Times are medians of CPU time of one thread.
"""

import json
import os
import resource
import subprocess
import sys
import time
from datetime import date

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from gpu import SIZES

from ase_pet import PETCalculator
from ase_pet.graph import InvalidStructure, VerletList, check, from_atoms, half_list
from ase_pet.models import pet

CUTOFF = 7.5  # A
SKIN = 1.0  # A
REPEATS = (3, 4, 6, 8, 10, 13)  # 216 to 17576 atoms
N_ATOMS = 10**5


def line():
    positions = np.zeros((N_ATOMS, 3))
    positions[:, 0] = 10 * np.arange(N_ATOMS)
    return Atoms(f"Si{N_ATOMS}", positions)


def gas(pbc):
    positions = np.random.default_rng(0).uniform(0, 1e6, (N_ATOMS, 3))
    return Atoms(f"Si{N_ATOMS}", positions, cell=[1e6, 1e6, 1e6], pbc=pbc)


def slab(vacuum):
    atoms = fcc111("Al", (100, 100, 10), vacuum=vacuum)
    atoms.pbc = True
    return atoms


def sheared(times):
    atoms = bulk("Si", cubic=True) * 4
    atoms.set_cell(np.array([[1, 0, 0], [times, 1, 0], [times, times, 1]]) @ atoms.cell.array)
    return atoms


def tiny(length):
    return Atoms("Si", cell=[length] * 3, pbc=True)


def crowd():
    positions = np.random.default_rng(0).uniform(0, 126, (10**6, 3))
    return Atoms(numbers=np.full(10**6, 14), positions=positions)


AWKWARD = {
    "line, 10 A apart": line,
    "gas in 10^6 A, open": lambda: gas(False),
    "gas in 10^6 A, periodic": lambda: gas(True),
    "slab, 20 A of vacuum": lambda: slab(10.0),
    "slab, 10^5 A of vacuum": lambda: slab(0.5e5),
    "supercell of 512, sheared 10 times": lambda: sheared(10),
    "supercell of 512, sheared 100 times": lambda: sheared(100),
    "one atom in a cube of 1 A": lambda: tiny(1.0),
    "one atom in a cube of 0.4 A": lambda: tiny(0.4),
    "10^6 atoms, 2 A^3 each": crowd,
}


def cpu_time(function, count):
    """Median CPU time of calls in s."""
    times = []
    for _ in range(count):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return float(np.median(times))


def show_scaling():
    print(f"Silicon within {CUTOFF} A; reuse is the step of a run, with a skin of {SKIN} A")
    print(f"{'atoms':>6} {'pairs':>8} {'search ms':>10} {'us/atom':>8} {'reuse ms':>9}")
    sizes = []
    times = []
    for repeat in REPEATS:
        structure = from_atoms(bulk("Si", cubic=True) * repeat)
        n_pairs = len(half_list(structure, CUTOFF).centres)
        search = cpu_time(lambda s=structure: half_list(s, CUTOFF), 7)
        reused = VerletList(CUTOFF, SKIN)
        reused(structure)
        reuse = cpu_time(lambda s=structure, r=reused: r(s), 7)
        n = len(structure)
        print(f"{n:6} {n_pairs:8} {1e3 * search:10.2f} {1e6 * search / n:8.1f} {1e3 * reuse:9.2f}")
        sizes.append(n)
        times.append(search)
    slope, _ = np.polyfit(np.log(sizes), np.log(times), 1)
    print(f"time of a search is proportional to the number of atoms to the power {slope:.2f}\n")


def awkward(name):
    """Record of one structure, made in this process."""
    structure = from_atoms(AWKWARD[name]())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    try:
        check(structure)
        found = f"{len(half_list(structure, 6.5).centres)} pairs"
    except InvalidStructure as error:
        found = f"refused: {error}"
    seconds = time.process_time() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "atoms": len(structure),
        "seconds": seconds,
        "MB": (after - before) / 1024,
        "found": found,
    }


def show_awkward():
    print("Awkward structures within 6.5 A; MB is what the search adds to the peak memory")
    for name in AWKWARD:
        command = [sys.executable, __file__, "--awkward", name]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        row = json.loads(printed)
        print(
            f"{name:36} {row['atoms']:8} atoms {row['seconds']:6.2f} s {row['MB']:6.0f} MB "
            f" {row['found']}"
        )
    print()


def random_calculator(size):
    """Calculator of a PET of a published size, with random weights."""
    torch.manual_seed(0)
    settings = pet.Settings(
        species=(1, 6, 8, 14),
        cutoff_width_adaptive=0.5,
        adaptive_cutoff_method="grid",
        num_attention_layers=1,
        **SIZES[size],
    )
    return PETCalculator(pet.Model(settings), dtype="float32", device="cpu")


def show_shares():
    print("Share of everything but the model in a step with energy and forces, float32")
    systems = {
        "Si 8": bulk("Si", cubic=True),
        "Si 64": bulk("Si", cubic=True) * 2,
        "ethanol": molecule("CH3CH2OH"),
    }
    for size in SIZES:
        calculator = random_calculator(size)
        for name, atoms in systems.items():
            atoms = atoms.copy()
            rng = np.random.default_rng(0)

            def move(atoms=atoms, rng=rng):
                atoms.positions += rng.normal(scale=1e-3, size=atoms.positions.shape)

            def step(move=move, atoms=atoms, calculator=calculator):
                move()
                calculator.calculate(atoms, ("energy", "forces"))

            def bookkeeping(move=move, atoms=atoms, calculator=calculator):
                move()
                inputs = calculator._inputs
                structure = inputs.structure(atoms)
                inputs.graph([structure], [inputs.pairs(structure, calculator._neighbours)])

            for _ in range(3):
                step()
            whole = cpu_time(step, 25)
            rest = cpu_time(bookkeeping, 50)
            print(
                f"{size:7} {name:8} step {1e3 * whole:6.1f} ms, checks, list and graph"
                f" {1e3 * rest:5.2f} ms: {100 * rest / whole:.1f} %"
            )


def main():
    if sys.argv[1:2] == ["--awkward"]:
        print(json.dumps(awkward(sys.argv[2])))
        return
    torch.set_num_threads(1)
    print(f"{date.today()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    show_scaling()
    show_awkward()
    show_shares()


if __name__ == "__main__":
    main()
