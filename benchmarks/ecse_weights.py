#!/usr/bin/env python3
"""Evaluations per atom and force errors of forms of the ECSE weights.

    python benchmarks/ecse_weights.py [--part frames ethanol silicon] [--structures 300]
    [--forms NAME ...]

frames: evaluations of the model per atom with mirror images, for structures that are displaced by
0.08 A (rms of each coordinate), with a model of random weights: geometry alone matters. ethanol,
silicon: the shipped calculators on structures of their splits test and val, float32: mean absolute
error of forces, its change relative to the published form with the standard error of the mean over
structures (paired), rms change of energies (meV/atom) and forces (meV/A), CPU time. The ethanol
calculator was trained in frames of the published weights, so other weights can only be worse for
it; the silicon calculator was trained without frames.
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


def nearer(power, distance, window, beta):
    """Compact weights with another preference of right angles, window and sharpness."""
    return {
        **COMPACT,
        "right_angle_power": power,
        "right_angle_distance": distance,
        "distance_window": window,
        "beta": beta,
    }


FORMS = {
    "published": {},
    "pruned": ecse.PRESETS["pruned"],
    "compact": COMPACT,
    "p 2, c 0.5, A 0.25": nearer(2.0, 0.5, 0.25, 15.0),
    "p 4, c 0.5, A 0.25": nearer(4.0, 0.5, 0.25, 15.0),
    "p 2.5, c 0.45, A 0.2": nearer(2.5, 0.45, 0.2, 20.0),
    "compact:scaled": {**COMPACT, **ecse.PRESETS["scaled"]},
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


PARTS = ("frames", "ethanol", "silicon")


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


def results_of(model, options, structures):
    """Energies (n,) in meV/atom, forces [(n_atoms, 3)] in meV/A, and CPU time in s."""
    calculator = symmetrised(model, options)
    start = time.process_time()
    results = calculator.evaluate(structures, ("energy", "forces"))
    seconds = time.process_time() - start
    energies = [
        1e3 * result["energy"] / len(atoms)
        for result, atoms in zip(results, structures, strict=True)
    ]
    return np.array(energies), [1e3 * result["forces"] for result in results], seconds


def rms(differences):
    """Root mean square."""
    values = np.concatenate([np.ravel(difference) for difference in differences])
    return float(np.sqrt(np.mean(values**2)))


def accuracy(name, structures, forms):
    """Print the table of a shipped calculator on its splits test and val."""
    data = read(f"calculators/{name}/training.extxyz.xz", ":")
    held_out = [atoms for atoms in data if atoms.info["split"] in ("test", "val")][:structures]
    model = PETCalculator(name, dtype="float32", device="cpu").model
    # of a calculator with a symmetriser, the network alone
    network = model.model if model.is_symmetrised else model
    title = f"{name}, {len(held_out)} structures"
    print(
        f"\n{title:24s}{'force MAE (meV/A)':>18s}{'change (%)':>16s}"
        f"{'rms change: E':>15s}{'F':>7s}{'CPU s':>8s}"
    )
    first = None
    for form, options in forms.items():
        energies, forces, seconds = results_of(network, options, held_out)
        errors = np.array(
            [
                np.abs(force - 1e3 * atoms.get_forces()).mean()
                for force, atoms in zip(forces, held_out, strict=True)
            ]
        )
        if first is None:
            first = (errors, energies, forces)
        change = 100 * (errors - first[0]) / first[0].mean()
        interval = f"{change.mean():+.1f} +- {change.std() / len(change) ** 0.5:.1f}"
        moved = [now - before for now, before in zip(forces, first[2], strict=True)]
        print(
            f"{form:24s}{errors.mean():18.2f}{interval:>16s}{rms([energies - first[1]]):15.3f}"
            f"{rms(moved):7.2f}{seconds:8.1f}",
            flush=True,
        )


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--structures", type=int, default=300)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    chosen = {form: FORMS[form] for form in arguments.forms}

    if "frames" in arguments.part:
        print(f"{'evaluations per atom':22s}" + "".join(f"{name:>11s}" for name in SYSTEMS))
        for form, options in chosen.items():
            row = [evaluations(system, options) for system in SYSTEMS]
            print(f"{form:22s}" + "".join(f"{value:11.1f}" for value in row), flush=True)
    if "ethanol" in arguments.part:
        accuracy("ethanol", arguments.structures, chosen)
    if "silicon" in arguments.part:
        accuracy("silicon", arguments.structures, chosen)


if __name__ == "__main__":
    main()
