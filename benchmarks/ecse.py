"""Symmetrisers: remaining rotation error and cost of an evaluation with forces.

    python benchmarks/ecse.py [--orientations 10] [--repeats 5] [--systems "silicon 64" ethanol]
                              [--symmetrise ecse] [--layers 2]

Silicon with the shipped calculator; water, copper and ethanol with local models of the same size
and random weights, which are far less invariant than trained ones and cost the same; with --layers
2 they pass messages. One thread, CPU time. The last column is what `PETCalculator.cost` predicts
for the one before it.
"""

import argparse
import platform
import time

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, molecule

from ase_pet import PETCalculator
from ase_pet.models import pet
from ase_pet.rotations import random_orthogonal

KINDS = ("none", "ecse", "ecse:so3", "group:O", "group:I", "quadrature:2")
SIZE = {
    "cutoff": 5.5,
    "cutoff_width": 1.5,
    "d_pet": 64,
    "d_node": 64,
    "d_head": 64,
    "d_feedforward": 128,
    "num_heads": 4,
    "num_gnn_layers": 1,
    "num_attention_layers": 2,
    "featurizer_type": "residual",
}


def water(per_edge=3, spacing=3.1):
    """Molecules of water with random orientations on a grid at the density of the liquid."""
    random, atoms = np.random.default_rng(4), Atoms()
    for place in np.ndindex(per_edge, per_edge, per_edge):
        one = molecule("H2O")
        one.rotate(360 * random.random(), random.normal(size=3), center="COM")
        one.translate(spacing * np.array(place))
        atoms += one
    atoms.set_cell(np.eye(3) * per_edge * spacing)
    atoms.pbc = True
    return atoms


def systems(layers=1):
    """{name: (model or name of a calculator, atoms)}; layers: of the models with random weights."""
    examples = {
        "silicon 64": ("silicon", bulk("Si", cubic=True) * 2),
        "water 81": (None, water()),
        "copper 32": (None, bulk("Cu", cubic=True) * 2),
        "ethanol": (None, molecule("CH3CH2OH")),
    }
    for name, (model, atoms) in examples.items():
        atoms.rattle(0.05, seed=1)
        if model is None:
            torch.manual_seed(0)
            species = tuple(sorted(set(atoms.numbers.tolist())))
            examples[name] = (
                pet.Model(pet.Settings(species=species, **{**SIZE, "num_gnn_layers": layers})),
                atoms,
            )
    return examples


def residuals(calculator, atoms, orientations):
    """Largest change of the energy per atom (eV) and of force components rotated back (eV/A) over
    orientations.
    """
    matrices = random_orthogonal(orientations, torch.Generator().manual_seed(0)).numpy()
    copies = [atoms, *(atoms.copy() for _ in matrices)]
    for rotated, matrix in zip(copies[1:], matrices, strict=True):
        rotated.set_cell(atoms.cell @ matrix.T)
        rotated.positions = atoms.positions @ matrix.T
    first, *others = [calculator.evaluate([copy], ("energy", "forces"))[0] for copy in copies]
    energy = max(abs(other["energy"] - first["energy"]) for other in others) / len(atoms)
    force = max(
        np.abs(other["forces"] @ matrix - first["forces"]).max()
        for other, matrix in zip(others, matrices, strict=True)
    )
    return energy, force


def milliseconds(calculator, atoms, repeats):
    """Median CPU time per atom of energy and forces."""
    times = []
    for step in range(repeats + 1):
        atoms.rattle(0.002, seed=step)
        start = time.process_time()
        calculator.calculate(atoms, ("energy", "forces"), ["positions"])
        times.append(time.process_time() - start)
    return 1e3 * float(np.median(times[1:])) / len(atoms)


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--orientations", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--systems", nargs="+", choices=systems(), default=list(systems()))
    parser.add_argument("--symmetrise", nargs="+", default=KINDS[1:])
    parser.add_argument("--layers", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{platform.platform()}, torch {torch.__version__}, 1 thread, energy and forces")
    print(
        f"{'system':12s} {'symmetrise':14s} {'float64 eV/atom':>16s} {'eV/A':>9s}"
        f" {'float32 eV/atom':>16s} {'eV/A':>9s} {'evaluations':>11s} {'ms/atom':>8s} {'ratio':>6s}"
        f" {'predicted':>9s}"
    )
    for name, (model, atoms) in (
        (name, systems(arguments.layers)[name]) for name in arguments.systems
    ):
        plain = None
        for kind in ("none", *arguments.symmetrise):
            exact, fast = (
                PETCalculator(model, device="cpu", dtype=dtype, symmetrise=kind)
                for dtype in ("float64", "float32")
            )
            left = (
                *residuals(exact, atoms, arguments.orientations),
                *residuals(fast, atoms, arguments.orientations),
            )
            cost = milliseconds(fast, atoms.copy(), arguments.repeats)
            plain = plain or cost
            predicted = {"evaluations_per_atom": 1, "ratio": 1} | fast.cost(atoms)
            print(
                f"{name:12s} {kind:14s} {left[0]:16.1e} {left[1]:9.1e} {left[2]:16.1e}"
                f" {left[3]:9.1e} {predicted['evaluations_per_atom']:11.1f} {cost:8.2f}"
                f" {cost / plain:6.1f} {predicted['ratio']:9.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
