#!/usr/bin/env python3
"""Time of a single point (energy, forces, stress) of silicon, water and ethanol, per step and atom.

    python benchmarks/single_point.py --calculator silicon
    OMP_NUM_THREADS=1 python benchmarks/single_point.py --peer xs.pt xs.json --ours xs.ckpt

Steps are as in molecular dynamics: atoms move by 0.01 A between them, so that neighbour lists are
reused or rebuilt as in a run. `list` and `model` are the shares of the neighbour list and of
the model with its derivatives in the CPU time of a step of our calculators; the rest is ASE, checks
and copies, and the scatter of the measurement.

With --peer and --ours, calculators of the same weights alternate within one run, A B C A B C, and
the ratios peer / ours are printed for medians and minima of wall and process CPU time: ratios are
less sensitive to other load on the machine than absolute times. Agreement of energies and forces is
printed first.

The peers are metatomic-ase (.pt) and pet-kokkos (.json), in an environment of their own:

    python3 -m venv peer && . peer/bin/activate
    pip install torch --index-url https://download.pytorch.org/whl/cpu
    pip install upet metatrain metatomic-ase pet-kokkos && pip install .
    python benchmarks/random_checkpoint.py XS xs.ckpt
    mtt export xs.ckpt -o xs.pt
    python tools/convert_pet.py --ckpt xs.ckpt --out xs   # from the sources of pet-kokkos

A published checkpoint serves as well as random weights. A peer `xs.ckpt+compile` is our calculator
with compiled steps.
"""

import argparse
import functools
import importlib
import json
import os
import platform
import time
from datetime import date

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import all_changes
from rich.box import ASCII
from rich.console import Console
from rich.table import Table
from scipy.spatial.transform import Rotation

from ase_pet import PETCalculator
from ase_pet.evaluation import Evaluation
from ase_pet.graph import VerletList, build, from_atoms

PROPERTIES = ("energy", "forces", "stress")
STEP, AMPLITUDE = 0.01, 0.25  # A: a step of 1 fs and a vibration of a hot solid
SECONDS = 4.0  # for each calculator and system
SPACING = 3.104  # A between molecules: water of 1 g/cm^3
console = Console(width=160, highlight=False)


def silicon(repeats):
    """Atoms of a rattled silicon crystal of cubic cells of 8 atoms."""
    atoms = bulk("Si", cubic=True).repeat(repeats)
    atoms.rattle(0.05, seed=0)
    return atoms


def water(count=4):
    """count^3 water molecules on a cubic grid, randomly oriented, at the density of the liquid."""
    rng, box = np.random.default_rng(0), Atoms(cell=[count * SPACING] * 3, pbc=True)
    for corner in np.ndindex(count, count, count):
        one = molecule("H2O")
        one.positions = Rotation.random(random_state=rng).apply(
            one.positions - one.get_center_of_mass()
        )
        one.positions += SPACING * np.array(corner)
        box += one
    return box


SYSTEMS = {
    "si8": lambda: silicon(1),
    "si64": lambda: silicon(2),
    "si216": lambda: silicon(3),
    "si512": lambda: silicon(4),
    "water192": water,
    "ethanol": lambda: molecule("CH3CH2OH", vacuum=6.0, pbc=True),
}


def load(name, dtype):
    """ASE calculator of a name or path, of a model of a peer (.pt, .json) or of MODULE:FACTORY."""
    if name.endswith(".pt"):
        from metatomic_ase import MetatomicCalculator

        return MetatomicCalculator(name, device="cpu")
    if name.endswith(".json"):
        from pet_kokkos.ase import PETCalculator as KokkosCalculator

        return KokkosCalculator(name.removesuffix(".json"))
    if name.endswith("+compile"):
        return PETCalculator(name.removesuffix("+compile"), device="cpu", dtype=dtype, compile=True)
    if ":" in name:
        module, factory = name.split(":")
        return getattr(importlib.import_module(module), factory)()
    return PETCalculator(name, device="cpu", dtype=dtype)


def trajectory(atoms, seed=1):
    """Endless small displacements of the same Atoms: each vibrates along a direction of its own."""
    rng = np.random.default_rng(seed)
    start, direction = atoms.positions.copy(), rng.normal(size=atoms.positions.shape)
    step = 0
    while True:
        atoms.positions = start + AMPLITUDE * np.sin(STEP / AMPLITUDE * step) * direction / np.sqrt(
            3
        )
        step += 1
        yield atoms


def clock(call):
    """Wall and process CPU time of a call in ms."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return 1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)


def single_point(calculator, atoms):
    """Wall and process CPU time of energy, forces and stress in ms."""
    return clock(lambda: calculator.calculate(atoms, PROPERTIES, ["positions"]))


def forces_and_energy(model, batch):
    """Forces and energy of a graph, which is what the network does in a step."""
    evaluation = Evaluation(model, batch)
    return evaluation.forces, evaluation.energy


def take_turns(calculators, atoms):
    """(n_calculators, steps, 2) wall and CPU times in ms.

    The calculators follow each other on every structure.
    """
    steps, times = trajectory(atoms), []
    for _ in range(3):
        next(steps)
        warm = [single_point(calculator, atoms)[0] for calculator in calculators]
    for _ in range(int(np.clip(1e3 * SECONDS * len(warm) / sum(warm), 7, 60))):
        next(steps)
        times.append([single_point(calculator, atoms) for calculator in calculators])
    return np.array(times).transpose(1, 0, 2)


def split(calculator, atoms, steps):
    """Shares of neighbour list and model (with derivatives) in the CPU time of a run."""
    lists, motion, times = (
        VerletList(calculator.cutoff, calculator.parameters["skin"]),
        trajectory(atoms),
        [],
    )
    lists(from_atoms(atoms))  # the first search of a run is excluded, later ones are included
    for _ in range(steps):
        structure = from_atoms(next(motion))
        total = single_point(calculator, atoms)[1]
        listing = clock(functools.partial(lists, structure))[1]
        # the second search reuses the list of the first, and is excluded
        batch = build([structure], [lists(structure)], dtype=calculator.dtype)
        network = clock(functools.partial(forces_and_energy, calculator.model, batch))[1]
        times.append((total, listing, network))
    total, listing, network = np.array(times).sum(0)
    return listing / total, network / total


def agreement(first, second, atoms):
    """Largest differences of energy (eV/atom) and forces (eV/A), and the root mean square force."""
    for calculator in (first, second):
        calculator.calculate(atoms, PROPERTIES, all_changes)
    forces = [np.asarray(calculator.results["forces"]) for calculator in (first, second)]
    energy = abs(float(first.results["energy"]) - float(second.results["energy"])) / len(atoms)
    return energy, abs(forces[0] - forces[1]).max(), np.sqrt((forces[0] ** 2).mean())


def alone(name, systems, dtype):
    """Records of one calculator on the systems whose elements it supports."""
    calculator = load(name, dtype)
    for system, atoms in systems.items():
        if not set(atoms.numbers) <= set(getattr(calculator, "species", atoms.numbers)):
            continue
        atoms = atoms.copy()
        (times,) = take_turns([calculator], atoms)
        record = {"calculator": name, "system": system, "atoms": len(atoms), **summary("", times)}
        if isinstance(calculator, PETCalculator):
            record["list"], record["model"] = split(calculator, atoms, min(len(times), 40))
        yield record


def against(peers, ours, systems, dtype):
    """Records of calculators that alternate, one for each peer, with their ratios."""
    calculators = [load(name, dtype) for name in (*peers, ours)]
    for system, atoms in systems.items():
        atoms = atoms.copy()
        for peer, calculator in zip(peers, calculators, strict=False):
            energy, force, size = agreement(calculator, calculators[-1], atoms)
            console.print(
                f"{system}, {name_of(peer)}: energies agree to {energy:.1e} eV/atom, forces to"
                f" {force:.1e} eV/A (root mean square {size:.2g} eV/A)"
            )
        times = take_turns(calculators, atoms)
        for peer, of_peer in zip(peers, times, strict=False):
            record = {
                "peer": name_of(peer),
                "system": system,
                "atoms": len(atoms),
                **summary("peer_", of_peer),
                **summary("ours_", times[-1]),
            }
            for kind in ("wall", "wall_min", "cpu", "cpu_min"):
                record[f"ratio_{kind}"] = record[f"peer_{kind}"] / record[f"ours_{kind}"]
            yield record


def name_of(peer):
    """Program that evaluates a file."""
    if peer.endswith("+compile"):
        return "ours, compiled"
    return "metatomic-ase" if peer.endswith(".pt") else "pet-kokkos"


def summary(prefix, times):
    """Medians and minima of (steps, 2) times in ms."""
    return {
        f"{prefix}wall": np.median(times[:, 0]),
        f"{prefix}wall_min": times[:, 0].min(),
        f"{prefix}cpu": np.median(times[:, 1]),
        f"{prefix}cpu_min": times[:, 1].min(),
    }


def show(title, columns, rows):
    """Print a table as plain text."""
    table = Table(title=title, box=ASCII, title_justify="left")
    for column in columns:
        table.add_column(
            column, justify="left" if column in ("system", "peer") else "right", no_wrap=True
        )
    for row in rows:
        table.add_row(*row)
    console.print(table)


def show_alone(name, records):
    rows = []
    for record in records:
        row = [
            record["system"],
            f"{record['wall']:.1f} ({record['wall_min']:.1f})",
            f"{record['cpu']:.1f} ({record['cpu_min']:.1f})",
            f"{record['wall'] / record['atoms']:.3f}",
        ]
        if "list" in record:
            shares = record["list"], record["model"], 1 - record["list"] - record["model"]
            row += [f"{100 * share:.1f} %" for share in shares]
        rows.append(row)
    show(
        name,
        [
            "system",
            "wall ms: median (min)",
            "CPU ms: median (min)",
            "ms/atom",
            "list",
            "model",
            "rest",
        ],
        rows,
    )


def show_ratios(title, records):
    rows = [
        [
            record["system"],
            record["peer"],
            *(
                f"{record[f'{who}_cpu']:.1f} ({record[f'{who}_cpu_min']:.1f})"
                for who in ("peer", "ours")
            ),
            f"{record['ours_cpu'] / record['atoms']:.3f}",
            *(f"{record[f'ratio_{kind}']:.2f}" for kind in ("wall", "wall_min", "cpu", "cpu_min")),
        ]
        for record in records
    ]
    show(
        title,
        [
            "system",
            "peer",
            "peer CPU ms: median (min)",
            "ours CPU ms: median (min)",
            "ours ms/atom",
            "ratio wall",
            "of minima",
            "ratio CPU",
            "of minima",
        ],
        rows,
    )


def machine(threads):
    """One line on processor, cores, threads, load and versions."""
    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as lines:
            fields = dict(line.split(":", 1) for line in lines if ":" in line)
        fields = {name.strip(): value.strip() for name, value in fields.items()}
        model = (
            f"{fields.get('model name', model)} (family {fields.get('cpu family')}, model"
            f" {fields.get('model')})"
        )
    return (
        f"{date.today()}, {model}, {os.cpu_count()} cores, {threads} threads, load"
        f" {os.getloadavg()[0]:.1f}, torch {torch.__version__}, python {platform.python_version()}"
    )


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--calculator", action="append", default=[], help="name, path, .pt or MODULE:FACTORY"
    )
    parser.add_argument("--peer", nargs="+", help="models of peers: .pt of metatomic, .json")
    parser.add_argument("--ours", help="the checkpoint that they were made from")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", default="float32", help="of our calculators")
    parser.add_argument("--json", help="file for the records")
    args = parser.parse_args()
    if bool(args.peer) != bool(args.ours) or not (args.peer or args.calculator):
        parser.error("give --calculator NAME, or both --peer MODEL.pt and --ours MODEL.ckpt")
    return args


def main():
    args = arguments()
    torch.set_num_threads(args.threads)
    console.print(machine(args.threads))
    systems = {name: SYSTEMS[name]() for name in args.systems}
    records = []
    for name in args.calculator:
        measured = list(alone(name, systems, args.dtype))
        show_alone(os.path.basename(name), measured)
        records += measured
    if args.peer:
        measured = list(against(args.peer, args.ours, systems, args.dtype))
        show_ratios(f"peers / {os.path.basename(args.ours)}", measured)
        records += measured
    if args.json:
        with open(args.json, "w") as file:
            json.dump({"machine": machine(args.threads), "records": records}, file, indent=1)


if __name__ == "__main__":
    main()
