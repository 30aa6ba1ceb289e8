#!/usr/bin/env python3
"""Evaluations per atom and force errors of forms of the ECSE weights.

    python benchmarks/ecse_weights.py [--structures 150] > benchmarks/results/ecse_weights.txt

First table: evaluations of the model per atom with mirror images, for structures that are displaced
by 0.08 A (rms of each coordinate), with a model of random weights: geometry alone matters. Second
table: the shipped ethanol on structures of its splits test and val, float32: mean absolute error of
forces, its change relative to the published form with the standard error of the mean over
structures (paired), and CPU time. That calculator was trained in frames of the published weights,
so other weights can only be worse for it.
"""

import argparse
import time

import numpy as np
import torch
from ase.build import bulk, molecule
from ase.io import read
from ecse import SIZE, water

from ase_pet import PETCalculator
from ase_pet.models import pet
from ase_pet.symmetrisers import ecse

COMPACT = ecse.COMPACT
FORMS = {
    "published": {},
    "pruned": ecse.PRESETS["pruned"],
    "compact, p = 4": {**COMPACT, "right_angle_power": 4.0},
    "compact, p = 6": {**COMPACT, "right_angle_power": 6.0},
    "compact, p = 8": {**COMPACT, "right_angle_power": 8.0},
    "compact:ordered": {**COMPACT, **ecse.PRESETS["ordered"]},
}
SYSTEMS = {
    "Si 64": lambda: bulk("Si", cubic=True) * 2,
    "NaCl 64": lambda: bulk("NaCl", "rocksalt", 5.64, cubic=True) * 2,
    "Cu 108": lambda: bulk("Cu", cubic=True) * 3,
    "Fe 54": lambda: bulk("Fe", cubic=True) * 3,
    "water 192": lambda: water(4),
    "ethanol": lambda: molecule("CH3CH2OH"),
    "benzene": lambda: molecule("C6H6"),
}


def symmetrised(model, options):
    """Calculator of a model in ECSE frames of these settings."""
    return PETCalculator(ecse.EcseModel(model, ecse.Settings(**options)), device="cpu")


def evaluations(system, options):
    """Evaluations of the model per atom."""
    atoms = SYSTEMS[system]()
    atoms.rattle(0.08, seed=1)
    torch.manual_seed(0)
    species = tuple(sorted(set(atoms.numbers.tolist())))
    model = pet.Model(pet.Settings(species=species, **SIZE))
    return symmetrised(model, options).cost(atoms)["evaluations_per_atom"]


def force_errors(model, options, structures):
    """Mean absolute force error (n,) in meV/A of each structure, and CPU time in s."""
    calculator = symmetrised(model, options)
    start = time.process_time()
    results = calculator.evaluate(structures, ("energy", "forces"))
    seconds = time.process_time() - start
    errors = [
        1e3 * np.abs(result["forces"] - atoms.get_forces()).mean()
        for result, atoms in zip(results, structures, strict=True)
    ]
    return np.array(errors), seconds


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--structures", type=int, default=150)
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    print(f"{'evaluations per atom':22s}" + "".join(f"{name:>11s}" for name in SYSTEMS))
    for form, options in FORMS.items():
        row = [evaluations(system, options) for system in SYSTEMS]
        print(f"{form:22s}" + "".join(f"{value:11.1f}" for value in row), flush=True)

    data = read("calculators/ethanol/training.extxyz.xz", ":")
    held_out = [atoms for atoms in data if atoms.info["split"] in ("test", "val")]
    held_out = held_out[: arguments.structures]
    model = PETCalculator("ethanol", dtype="float32", device="cpu").model.model
    print(f"\n{'ethanol':22s}{'force MAE (meV/A)':>18s}{'change (%)':>18s}{'CPU s':>8s}")
    published = None
    for form, options in FORMS.items():
        errors, seconds = force_errors(model, options, held_out)
        if published is None:
            published = errors
        change = 100 * (errors - published) / published.mean()
        interval = f"{change.mean():+.1f} +- {change.std() / len(change) ** 0.5:.1f}"
        print(f"{form:22s}{errors.mean():18.2f}{interval:>18s}{seconds:8.1f}", flush=True)


if __name__ == "__main__":
    main()
