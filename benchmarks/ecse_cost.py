#!/usr/bin/env python3
"""Cost of ECSE relative to the plain model: environments per atom, time, memory, geometry share.

usage: ecse_cost.py [--repeats 3] [--systems "silicon 216" ...] [--symmetrise ecse ...]

Energy and forces in float32, one thread, CPU time (median), each row in a process of its own for
its peak of memory. Models have the size of the silicon calculator and random weights, whose cost is
that of trained ones. Geometry: the time of frames, weights, rotated vectors and their derivatives,
measured with a trivial network (one number of each edge) less its time without ECSE (neighbour list
and calculator).
"""

import argparse
import json
import resource
import subprocess
import sys

import torch
from ase.build import bulk, molecule
from ecse import SIZE, milliseconds, water

from ase_pet import PETCalculator
from ase_pet.models import pet
from ase_pet.models.base import AtomisticModel

SYSTEMS = {
    "silicon 64": lambda: bulk("Si", cubic=True) * 2,
    "silicon 216": lambda: bulk("Si", cubic=True) * 3,
    "water 192": lambda: water(4),
    "ethanol": lambda: molecule("CH3CH2OH"),
    "copper 108": lambda: bulk("Cu", cubic=True) * 3,
}


class Reader(AtomisticModel):
    """A local model that reads x + y of each edge."""

    message_passing_depth = 0

    def __init__(self, settings):
        super().__init__(settings, settings.cutoff, settings.species)

    def forward(self, graph):
        read = graph.edge_vectors[:, 0] + graph.edge_vectors[:, 1]
        return read.new_zeros(graph.n_atoms).index_add(0, graph.centre, read)


def one(system, symmetrise, network, repeats):
    """Print {ms, peak in MB, evaluations, predicted ratio} of energy and forces."""
    torch.set_num_threads(1)
    atoms = SYSTEMS[system]()
    atoms.rattle(0.05, seed=1)
    torch.manual_seed(0)
    settings = pet.Settings(species=tuple(sorted(set(atoms.numbers.tolist()))), **SIZE)
    model = {"pet": pet.Model, "reader": Reader}[network](settings)
    calculator = PETCalculator(model, device="cpu", dtype="float32", symmetrise=symmetrise)
    report = {
        "ms": milliseconds(calculator, atoms, repeats),
        **calculator.cost(atoms),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(report))


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    names = ["ecse:so3", "ecse", "ecse:published"]
    parser.add_argument("--symmetrise", nargs="+", default=names)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        one(*arguments.one, arguments.repeats)
        return

    def measured(*what):
        command = [sys.executable, __file__, "--repeats", str(arguments.repeats), "--one", *what]
        return json.loads(
            subprocess.run(command, check=True, capture_output=True, text=True).stdout
        )

    print(
        f"{'system':12} {'symmetrise':14} {'ms/atom':>8} {'ratio':>6} {'evaluations':>11}"
        f" {'ratio / evaluations':>20} {'peak MB':>8} {'geometry':>8}"
    )
    for system in arguments.systems:
        plain, outside = measured(system, "none", "pet"), measured(system, "none", "reader")["ms"]
        print(
            f"{system:12} {'none':14} {plain['ms']:8.2f} {1:6.1f} {1:11.1f} {1:20.2f}"
            f" {plain['peak']:8.0f}",
            flush=True,
        )
        for name in arguments.symmetrise:
            cost, geometry = measured(system, name, "pet"), measured(system, name, "reader")
            ratio, evaluations = cost["ms"] / plain["ms"], cost["evaluations_per_atom"]
            print(
                f"{system:12} {name:14} {cost['ms']:8.2f} {ratio:6.1f} {evaluations:11.1f}"
                f" {ratio / evaluations:20.2f} {cost['peak']:8.0f}"
                f" {(geometry['ms'] - outside) / cost['ms']:8.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
