#!/usr/bin/env python3
"""Frames and weights of ECSE against the loops of the original code: agreement and CPU time.

usage: ecse_reference.py FOLDER [--atoms 6]

FOLDER: `src` of github.com/spozdn/pet (its sp_frames_calculator.py is run as it is, not copied; it
needs scipy). One thread, float64, cutoff 5 A, switches of 0.15 A as in the original code, no
pruning. This package evaluates all atoms at once, the original code the first --atoms one by one. A
single methane is too small for an efficient batch, hence also a batch of 20.
"""

import argparse
import importlib.util
import time
from types import SimpleNamespace

import numpy as np
import torch
from ase.build import molecule
from ecse import water

from ase_pet import graph
from ase_pet.symmetrisers import ecse
from ase_pet.symmetrisers.ecse.block_edges import BlockEdges
from ase_pet.symmetrisers.ecse.edges import GraphEdges
from ase_pet.symmetrisers.ecse.frames import pair_frames

CUTOFF, OPTIONS = 5.0, ecse.Settings(width=0.15)


def original(folder):
    """SPFramesCalculator of the original code, with our settings."""
    spec = importlib.util.spec_from_file_location(
        "sp_frames_calculator", f"{folder}/sp_frames_calculator.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SPFramesCalculator(
        SimpleNamespace(
            BETA=OPTIONS.beta,
            DELTA_R_CUT=OPTIONS.width,
            W=OPTIONS.squared_sine,
            DELTA_W=OPTIONS.squared_sine_width,
            CUTOFF_FUNC_MODE="tanh",
            Q_FUNC_MODE="tanh",
            ADD_LINEAR_MULTIPLIER_Q_FUNC=True,
        )
    )


def ours(all_edges):
    """Frames of all atoms."""
    edges = BlockEdges.from_vectors(all_edges.vectors, all_edges.centre, all_edges.count)
    return pair_frames(edges, CUTOFF - OPTIONS.width, OPTIONS)


def seconds(function, repeats):
    """Median CPU time in s and the return value of a function."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        result = function()
        times.append(time.process_time() - start)
    return float(np.median(times)), result


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--atoms", type=int, default=6)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    theirs = original(arguments.folder)
    systems = {
        "methane": [molecule("CH4")],
        "20 methanes": [molecule("CH4") for _ in range(20)],
        "ethanol": [molecule("CH3CH2OH")],
        "water 192": [water(4)],
    }
    for name, structures in systems.items():
        for seed, atoms in enumerate(structures, 1):
            atoms.rattle(0.05, seed=seed)
        all_edges = GraphEdges.from_graph(
            graph.build([graph.from_atoms(atoms) for atoms in structures], CUTOFF), CUTOFF
        )
        count = min(arguments.atoms, len(structures[0]))
        environments = [
            (
                all_edges.vectors[all_edges.centre == k],
                all_edges.graph.numbers[all_edges.neighbour[all_edges.centre == k]],
                all_edges.graph.numbers[k],
            )
            for k in range(count)
        ]
        fast, frames = seconds(lambda all_edges=all_edges: ours(all_edges), 15)
        slow, loops = seconds(
            lambda environments=environments: [
                theirs.get_all_frames(one, CUTOFF - OPTIONS.width) for one in environments
            ],
            3,
        )
        worst = max(
            abs(sum(weights) - frames.total[k]).item() for k, (_, weights, _) in enumerate(loops)
        )
        slow, fast = slow / count, fast / all_edges.graph.n_atoms
        print(
            f"{name:11} {np.mean([len(one[0]) for one in environments]):5.1f} neighbours,"
            f" {len(frames.atom) / all_edges.graph.n_atoms:5.1f} frames per atom: loops"
            f" {1e3 * slow:8.1f} ms/atom, ours {1e3 * fast:6.3f} ms/atom, {slow / fast:7.0f} times;"
            " totals of weights"
            f" differ by {worst:.0e}",
            flush=True,
        )


if __name__ == "__main__":
    main()
