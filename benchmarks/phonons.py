#!/usr/bin/env python3
"""Phonons of silicon by several methods, and the cost of each.

usage: phonons.py [CALC] [--repeats 3] [--sizes 1 2 3] [--threads 1]

Frequencies in the 64-atom cubic cell, in float64: `ase_pet.phonons` by displacements in batches and
by second derivatives (these in float32 as well), phonopy's own finite differences of the same
calculator called once per supercell, and PBE (density-functional perturbation theory; settings of
the training data). Elastic constants and equation of state are compared with PBE. Then the cost of
force constants without symmetry: n^3 cubic cells of 8 silicon atoms displaced at random, six
displaced supercells for each atom; CPU seconds and wall time, median of the repeats (one for the
largest size), each method timed on a part of the displacements and scaled to all of them.
"""

import argparse
import statistics
import time

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms
from silicon_physics import BRANCHES, POINTS, REFERENCES

from ase_pet import PETCalculator, phonons

CUBIC = np.array([[-2, 2, 2], [2, -2, 2], [2, 2, -2]])  # 64 atoms
SAMPLE = 24


def one_by_one(calc, atoms):
    """Phonopy object of the crystal, with one calculator call per displacement."""
    phonon = Phonopy(
        PhonopyAtoms(
            symbols=atoms.get_chemical_symbols(),
            cell=atoms.cell,
            masses=atoms.get_masses(),
            scaled_positions=atoms.get_scaled_positions(),
        ),
        CUBIC,
        primitive_matrix="P",
    )
    phonon.generate_displacements(distance=0.01)
    sets = []
    for cell in (phonon.supercell, *phonon.supercells_with_displacements):
        displaced = Atoms(
            cell.symbols, cell=cell.cell, positions=cell.positions, pbc=True, calculator=calc
        )
        sets.append(displaced.get_forces())
    phonon.forces = np.array(sets[1:]) - sets[0]
    phonon.produce_force_constants()
    phonon.symmetrize_force_constants(use_symfc_projector=True)
    return phonon


def frequencies(calculated):
    """(3, 6) THz at Gamma, X and L."""
    return np.sort(calculated.run_qpoints(list(POINTS.values())).frequencies, axis=1)


def named(values):
    """{quantity: THz} with the names of the references."""
    at = dict(zip(POINTS, values, strict=True))
    return {"Gamma optical (THz)": at["Gamma"][3:].mean()} | {
        f"{point} {name} (THz)": at[point][list(modes)].mean()
        for point, branches in BRANCHES.items()
        for name, modes in branches.items()
    }


def accuracy(calc):
    """Print frequencies of all methods and elastic constants."""
    start = bulk("Si", a=5.46)
    start.calc = calc
    atoms = phonons.relax(start).atoms
    roads = {
        method: phonons.run(atoms, CUBIC, method=method, relaxed=False, mesh=(8, 8, 8))
        for method in phonons.METHODS
    }
    batch, exact = (frequencies(road.phonopy) for road in roads.values())
    single = frequencies(one_by_one(calc, atoms))
    atoms.calc = PETCalculator(calc.parameters["model"], dtype="float32")
    coarse = frequencies(
        phonons.run(atoms, CUBIC, method="hessian", relaxed=False, mesh=(8, 8, 8)).phonopy
    )
    atoms.calc = calc
    columns = [named(values) for values in (batch, single, exact, coarse)]
    print(f"{'':22} {'batches':>9} {'one by one':>11} {'hessian':>9} {'float32':>9} {'PBE':>7}")
    for key in columns[0]:
        print(
            f"{key:22} {columns[0][key]:9.4f} {columns[1][key]:11.4f} {columns[2][key]:9.4f}"
            f" {columns[3][key]:9.4f} {REFERENCES[key]:7.2f}"
        )
    print(
        "largest difference over all modes to displacements in batches:",
        *(
            f"{name} {np.abs(batch - other).max():.1e} THz"
            for name, other in (
                ("one by one", single),
                ("hessian", exact),
                ("hessian in float32", coarse),
            )
        ),
        sep="\n  ",
    )
    for method, road in roads.items():
        print(
            f"{method}: {len(road.imaginary())} imaginary modes",
            *(
                f"{when} the projection: "
                + ", ".join(f"{name} {value:.1e}" for name, value in values.items())
                for when, values in road.residuals.items()
            ),
            sep="; ",
        )
    elasticity(atoms)


def elasticity(atoms):
    """Print elastic constants and equation of state next to PBE."""
    elastic, state = phonons.elastic(atoms), phonons.equation_of_state(atoms)
    c = elastic.constants
    values = {
        "a0 (A)": (4 * state.volume) ** (1 / 3),
        "B (GPa)": state.bulk_modulus,
        "C11 (GPa)": np.diag(c)[:3].mean(),
        "C12 (GPa)": (c[:3, :3].sum() - np.trace(c[:3, :3])) / 6,
        "C44 (GPa)": np.diag(c)[3:].mean(),
    }
    for name, value in values.items():
        print(
            f"{name:12} {value:9.4f}   PBE {REFERENCES[name]:8.4f}  "
            f" {100 * (value / REFERENCES[name] - 1):+.2f} %"
        )
    print(
        f"bulk modulus of the elastic constants {elastic.moduli()['bulk_hill']:.2f} GPa; asymmetry"
        f" {elastic.asymmetry:.1e} GPa"
    )


def seconds(function, repeats):
    """Median CPU and wall seconds."""
    times = []
    for _ in range(repeats):
        cpu, wall = time.process_time(), time.perf_counter()
        function()
        times.append((time.process_time() - cpu, time.perf_counter() - wall))
    return [statistics.median(column) for column in zip(*times, strict=True)]


def cost(calc, n, repeats):
    """Print the cost of force constants without symmetry for n^3 cubic cells of 8 atoms."""
    atoms = bulk("Si", a=5.467, cubic=True) * (n, n, n)
    atoms.rattle(0.02, seed=1)
    crystal = phonons.Crystal(atoms, (1, 1, 1), symmetry=False)
    structures, total = crystal.displaced()[1:], len(crystal.moves) - 1
    moves, single = (
        crystal.moves[1:][: phonons.CHUNK_MOVES],
        PETCalculator(calc.parameters["model"], dtype="float32"),
    )

    def loop():
        for structure in structures[:SAMPLE]:
            structure.calc = calc
            structure.calc.reset()
            structure.get_forces()

    roads = {"one by one": (loop, SAMPLE)}
    for size in (64, 128, 256, 1024):
        other = PETCalculator(calc.parameters["model"], dtype="float64", batch_atoms=size)
        roads[f"evaluate, {size} atoms a batch"] = (
            lambda other=other: other.evaluate(structures[:SAMPLE], ("forces",)),
            SAMPLE,
        )
    roads["displaced_forces"] = (lambda: calc.displaced_forces(atoms, moves), len(moves))
    roads["hessian"] = (lambda: calc.hessian(atoms), total)
    roads["hessian, float32"] = (lambda: single.hessian(atoms), total)
    print(f"\n{len(atoms)} atoms without symmetry, {total} displaced supercells")
    reference = None
    for name, (road, timed) in roads.items():
        cpu, wall = (value * total / timed for value in seconds(road, repeats))
        reference = reference or (cpu, wall)
        print(
            f"{name:28} {cpu:8.2f} CPU-s {wall:8.2f} s wall   {reference[0] / cpu:6.2f} times as"
            f" fast (CPU), {reference[1] / wall:6.2f} (wall)",
            flush=True,
        )


def main():
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("calculator", nargs="?", default="silicon")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[1, 2, 3], help="n of the n^3 cubic cells"
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        help="with more than one compare wall times, on an idle machine",
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    calc = PETCalculator(arguments.calculator, dtype="float64")
    accuracy(calc)
    for n in arguments.sizes:
        cost(calc, n, arguments.repeats if n < 3 else 1)


if __name__ == "__main__":
    main()
