#!/usr/bin/env python3
"""Correctness and speed on a GPU, in at most eight minutes: `make gpu`.

    python benchmarks/gpu.py                        # needs torch with CUDA and this repository
    python benchmarks/gpu.py --device cpu --quick   # the same code on a CPU, in a minute

Every kind of model, with every symmetriser that it has, is evaluated in float64 and float32 and
compared with the same model on the CPU in float64. Repeated evaluations are compared bit by bit.
Times are medians of wall time of steps of dynamics with energy, forces and stress in float32, of
models of the published sizes with random weights; memory is the peak that torch has allocated. The
largest system is found by doubling until memory runs out. Some steps are measured with compiled
operators, too. What does not fit into the time is skipped, and said to be. The results are written
to benchmarks/results/gpu_NAME.txt.

Exit status: 0, 1 if a result is wrong, 2 if there is no such device.
"""

import argparse
import re
import sys
import time
import warnings
from datetime import date
from pathlib import Path

import numpy as np
import torch
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.md.verlet import VelocityVerlet

from ase_pet import PETCalculator
from ase_pet.models import mace, pet, ponita

SPECIES = (1, 6, 8, 14)
PROPERTIES = ("energy", "forces", "stress")
SAME = 1e-8  # eV/atom, eV/A, eV/A^3: largest difference in float64
MINUTES = 8.0
SECONDS_TO_COMPILE = 90
TINY = {
    "species": SPECIES,
    "cutoff": 4.5,
    "d_pet": 32,
    "d_node": 64,
    "d_head": 32,
    "d_feedforward": 32,
    "num_heads": 4,
    "num_attention_layers": 1,
}
ADAPTIVE = {"adaptive_cutoff_method": "grid", "cutoff_width_adaptive": 0.5}
LOCAL = {**TINY, "num_gnn_layers": 1, "featurizer_type": "residual"}
SIZES = {
    "PET XS": {
        "cutoff": 7.5,
        "num_neighbors_adaptive": 8,
        "d_pet": 128,
        "d_node": 512,
        "d_head": 128,
        "d_feedforward": 256,
        "num_gnn_layers": 2,
    },
    "PET S": {
        "cutoff": 8.0,
        "num_neighbors_adaptive": 16,
        "d_pet": 256,
        "d_node": 1024,
        "d_head": 256,
        "d_feedforward": 512,
        "num_gnn_layers": 3,
    },
}


def make_pet(**settings):
    return pet.Model(pet.Settings(**settings))


def make_published(size):
    """PET of a published size."""
    return make_pet(species=SPECIES, num_attention_layers=1, **SIZES[size], **ADAPTIVE)


def make_ponita(**settings):
    return ponita.Model(ponita.Settings(species=SPECIES, cutoff=4.5, width=32, **settings))


def make_mace():
    settings = mace.Settings(species=SPECIES, cutoff=4.5, width=16)
    return mace.Model(settings)


# model and its symmetrisers
MODELS = {
    "PET, one layer": (
        lambda: make_pet(**LOCAL),
        ("none", "ecse", "ecse_layers", "group:O", "quadrature:3"),
    ),
    "PET, two layers": (
        lambda: make_pet(**TINY, num_gnn_layers=2),
        ("none", "ecse_layers", "group:O", "quadrature:3"),
    ),
    "PET, grid": (
        lambda: make_pet(**TINY, num_gnn_layers=2, num_neighbors_adaptive=8, **ADAPTIVE),
        ("none", "group:O"),
    ),
    "PET, solver": (
        lambda: make_pet(**TINY, num_gnn_layers=2, num_neighbors_adaptive=8),
        ("none", "group:O"),
    ),
    "PONITA": (lambda: make_ponita(num_layers=2), ("none", "group:I")),
    "PNITA": (lambda: make_ponita(num_layers=2, orientations="none"), ("none",)),
    "MACE": (make_mace, ("none",)),
}
QUICK = {"PET, one layer": ("none", "ecse"), "PET, grid": ("none",), "MACE": ("none",)}


class Report:
    """Text that is printed and kept, with the time that is left.

    Parameters
    ----------
    minutes:
        Time for everything.
    """

    def __init__(self, minutes):
        self.lines = []
        self.end = time.perf_counter() + 60 * minutes
        self.is_right = True

    def line(self, text=""):
        print(text, flush=True)
        self.lines.append(text)

    def is_over(self, name, seconds=0.0):
        """Whether there is no time left for something, which is then said."""
        over = time.perf_counter() + seconds > self.end
        if over:
            self.line(f"{name}: skipped, no time left")
        return over


def calculator_of(make, device, dtype, symmetrise="none", compile=False):
    torch.manual_seed(0)
    model = make()
    return PETCalculator(model, device=device, dtype=dtype, symmetrise=symmetrise, compile=compile)


def silicon(repeats):
    atoms = bulk("Si", cubic=True) * repeats
    atoms.rattle(0.05, seed=0)
    return atoms


def water(count):
    """count^3 molecules on a grid, at the density of the liquid."""
    one = molecule("H2O")
    box = Atoms(cell=[3.104 * count] * 3, pbc=True)
    rng = np.random.default_rng(0)
    for corner in np.ndindex(count, count, count):
        copy = one.copy()
        copy.rotate(rng.uniform(0, 360), rng.normal(size=3))
        copy.positions += 3.104 * np.array(corner)
        box += copy
    return box


def ethanol():
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=0)
    return atoms


def synchronise(device):
    if device == "cuda":
        torch.cuda.synchronize()


def show_correctness(report, device, quick):
    report.line("Differences from the CPU in float64: largest of energies of atoms, forces, stress")
    structures = [silicon(1), ethanol()]
    for name, (make, symmetrisers) in MODELS.items():
        for symmetrise in QUICK.get(name, ()) if quick else symmetrisers:
            label = f"{name}, {symmetrise}"
            if report.is_over(label):
                continue
            differences = {}
            expected = results_of(make, "cpu", "float64", symmetrise, structures)
            for dtype in ("float64", "float32"):
                found = results_of(make, device, dtype, symmetrise, structures)
                differences[dtype] = largest_differences(found, expected)
            is_right = all(value < SAME for value in differences["float64"])
            report.is_right &= is_right
            columns = "   ".join(
                f"{dtype} " + " ".join(f"{value:.0e}" for value in values)
                for dtype, values in differences.items()
            )
            report.line(f"  {label:30} {columns}   {'ok' if is_right else 'WRONG'}")


def results_of(make, device, dtype, symmetrise, structures):
    """{property: value} of structures: energies of atoms, forces, and stress where there is one."""
    calculator = calculator_of(make, device, dtype, symmetrise)
    results = []
    for atoms in structures:
        names = ["energies", "forces"] + ["stress"] * bool(atoms.pbc.all())
        results += calculator.evaluate([atoms], names)
    return results


def largest_differences(found, expected):
    largest = []
    for name in ("energies", "forces", "stress"):
        differences = [
            np.abs(one[name] - other[name]).max()
            for one, other in zip(found, expected, strict=True)
            if name in other
        ]
        largest.append(max(differences))
    return largest


def show_hessian(report, device):
    if report.is_over("Hessian"):
        return
    make, _ = MODELS["PET, one layer"]
    atoms = ethanol()
    on_host, on_device = (
        calculator_of(make, each, "float64").hessian(atoms, of=[0]) for each in ("cpu", device)
    )
    difference = np.abs(on_host - on_device).max()
    report.is_right &= bool(difference < SAME)
    report.line(f"  Hessian of PET, one layer: {difference:.0e} eV/A^2")


def show_determinism(report, device, quick):
    report.line("\nRepeats of one evaluation, float32: largest difference, 0 if bits are equal")
    for name, (make, symmetrisers) in MODELS.items():
        if name not in QUICK and quick or report.is_over(name):
            continue
        calculator = calculator_of(make, device, "float32", symmetrisers[0])
        forces = [
            calculator.evaluate([silicon(2)], ("forces",))[0]["forces"]
            for _ in range(2 if quick else 5)
        ]
        difference = max(np.abs(each - forces[0]).max() for each in forces)
        report.line(f"  {name:30} {difference:.0e} eV/A")


def time_of_steps(calculator, atoms, device, seconds):
    """Median wall time of a step in ms, after two that are not counted, for some seconds."""
    rng = np.random.default_rng(0)
    properties = PROPERTIES if atoms.pbc.all() else PROPERTIES[:2]

    def step():
        atoms.positions += rng.normal(scale=1e-3, size=atoms.positions.shape)
        synchronise(device)
        start = time.perf_counter()
        calculator.calculate(atoms, properties, ["positions"])
        return 1e3 * (time.perf_counter() - start)

    for _ in range(2):  # the neighbours are searched in the first, compiled is in the second
        step()
    times = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or (time.perf_counter() < end and len(times) < 100):
        times.append(step())
    return float(np.median(times))


def show_speed(report, device, quick):
    report.line("\nSteps with energy, forces and stress, float32")
    systems = {"Si 8": silicon(1), "Si 64": silicon(2)}
    if not quick:
        for repeats in (3, 4, 5, 8):
            systems[f"Si {8 * repeats**3}"] = silicon(repeats)
        for count in (4, 8):
            systems[f"water {3 * count**3}"] = water(count)
    makers = {size: lambda size=size: make_published(size) for size in SIZES}
    for size, make in list(makers.items())[: 1 if quick else None]:
        calculator = calculator_of(make, device, "float32")
        for name, atoms in systems.items():
            show_steps(report, f"{size}, {name}", calculator, atoms, device, 1 if quick else 3)
    if not quick:
        show_compiled(report, device, {name: systems[name] for name in ("Si 8", "Si 64")})
    for name, symmetrise in (("PET, one layer", "ecse"), ("PNITA", "none"), ("MACE", "none")):
        calculator = calculator_of(MODELS[name][0], device, "float32", symmetrise)
        atoms = silicon(1 if quick else 2)
        show_steps(report, f"{name}, {symmetrise}, Si {len(atoms)}", calculator, atoms, device, 1)


def show_compiled(report, device, systems):
    """Steps of PET XS with compiled operators, and how long it took to compile them."""
    calculator = calculator_of(lambda: make_published("PET XS"), device, "float32", compile=True)
    for name, atoms in systems.items():
        label = f"PET XS, {name}, compiled"
        if report.is_over(label, SECONDS_TO_COMPILE):
            continue
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always")
            show_steps(report, label, calculator, atoms, device, 3)
        for note in notes:
            report.line(f"    {note.message}")


def show_steps(report, label, calculator, atoms, device, seconds):
    if report.is_over(label, 2 * seconds):
        return
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    calculator.forget()
    try:
        milliseconds = time_of_steps(calculator, atoms, device, seconds)
    except MemoryError as error:
        report.line(f"  {label:30} {error}")
        return
    text = f"  {label:30} {milliseconds:9.2f} ms {1e3 * milliseconds / len(atoms):9.1f} us/atom"
    if device == "cuda":
        text += f" {torch.cuda.max_memory_allocated() / 2**20 / len(atoms):8.3f} MB/atom"
    report.line(text)


def show_molecules(report, device, quick):
    report.line("\nEthanol in batches, PET XS, energy and forces, float32")
    calculator = calculator_of(lambda: make_published("PET XS"), device, "float32")
    for count in (1, 16) if quick else (1, 4, 16, 64, 256):
        if report.is_over(f"batch of {count}", 2):
            continue
        molecules = [ethanol() for _ in range(count)]
        times = []
        for _ in range(4):
            start = time.perf_counter()
            calculator.evaluate(molecules)
            times.append(time.perf_counter() - start)
        report.line(f"  batch of {count:4} {count / min(times[1:]):9.1f} molecules/s")


def show_dynamics(report, device, quick):
    if report.is_over("dynamics", 5):
        return
    atoms = silicon(1 if quick else 2)
    atoms.calc = calculator_of(lambda: make_published("PET XS"), device, "float32")
    run = VelocityVerlet(atoms, 1 * units.fs)
    run.run(3)
    start = time.perf_counter()
    count = 10 if quick else 200
    run.run(count)
    seconds = time.perf_counter() - start
    report.line(
        f"\nDynamics of ASE, PET XS, Si {len(atoms)}: {1e3 * seconds / count:.2f} ms a step"
    )


def show_largest(report, device, quick):
    """Doubles the number of atoms until memory runs out; the CPU stops early."""
    report.line("\nLargest system, PET XS, energy and forces, float32")
    calculator = calculator_of(lambda: make_published("PET XS"), device, "float32")
    atoms = silicon(2)
    axis = 0
    largest = 0
    limit = 128 if quick else 10**6
    while len(atoms) <= limit and not report.is_over(f"{len(atoms)} atoms", 20 * (not quick)):
        start = time.perf_counter()
        try:
            calculator.calculate(atoms, ("energy", "forces"))
        except MemoryError as error:
            report.line(f"  {error}")
            break
        largest = len(atoms)
        report.line(f"  {largest:8} atoms: {time.perf_counter() - start:.2f} s with the search")
        repeats = [1, 1, 1]
        repeats[axis % 3] = 2
        atoms = atoms * repeats
        axis += 1
    report.line(f"  at least {largest} atoms")


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--quick", action="store_true", help="a minute on a CPU")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="time for everything")
    parser.add_argument("--output", help="file of results")
    return parser.parse_args()


def main():
    args = arguments()
    if args.device == "cuda" and not torch.cuda.is_available():
        print("benchmarks/gpu.py: this torch sees no CUDA device; --device cpu --quick tests the")
        print("script itself")
        return 2
    name = torch.cuda.get_device_name() if args.device == "cuda" else "cpu"
    report = Report(args.minutes)
    report.line(f"{date.today()}, {name}, torch {torch.__version__}, CUDA {torch.version.cuda}\n")
    show_correctness(report, args.device, args.quick)
    show_hessian(report, args.device)
    show_determinism(report, args.device, args.quick)
    show_speed(report, args.device, args.quick)
    show_molecules(report, args.device, args.quick)
    show_dynamics(report, args.device, args.quick)
    show_largest(report, args.device, args.quick)
    report.line(f"\nAll results are {'right' if report.is_right else 'NOT right: see WRONG above'}")
    plain = re.sub(r"\W+", "_", name.lower())
    default = Path(__file__).parent / "results" / f"gpu_{plain}.txt"
    path = Path(args.output) if args.output else default
    path.write_text("\n".join(report.lines) + "\n", encoding="utf-8")
    print(f"Written to {path}")
    return 0 if report.is_right else 1


if __name__ == "__main__":
    sys.exit(main())
