#!/usr/bin/env python3
"""MACE models in mace-torch and in ase_pet: agreement, speed, start, memory, size of installation.

    python benchmarks/mace_torch.py --peer-python peer/bin/python [--rounds 3] [--steps 5]

The models have random weights, in three sizes of the form of MACE-MP-0 (two layers, harmonics up
to l = 3, three factors, radial networks 64 64 64, cutoff 5 A, elements H C O Si). mace-torch makes
and saves them; both programs read the same files.

Agreement: energy, forces and, for crystals, stress, in float64 and in float32, and how far each
program is in float32 from mace-torch in float64.
Speed: steps with energy, forces and stress after another one, atoms moved before each: CPU time of
the process in ms per atom, the least of all steps and rounds.
Start: a new process imports, loads and makes one step, the medians of the rounds. Peak resident
memory after the first step, and after the last step of the largest structure. The programs
alternate. Times are CPU times, as they depend little on what else the machine does.

The environment of the peer: python3 -m venv peer, peer/bin/pip install torch==2.13.0, then
peer/bin/pip install mace-torch==0.3.16. `--python` names the interpreter of an environment with
ase_pet only; the default is the interpreter that runs the benchmark, with all its extras.
"""

# The workers import the standard library only, and other modules where they are needed.
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date

import published_checkpoint
from published_checkpoint import greatest, megabytes, processor, show

WAYS = ("mace-torch", "ase_pet")
DTYPES = ("float64", "float32")
SIZES = ("128x0e", "128x0e+128x1o", "64x0e")
TIMED = ("ethanol", "si64", "water192", "si216")
PHASES = ("import", "load", "first step")
published_checkpoint.VERSIONS += ("mace-torch", "e3nn")


def structures():
    """{name: atoms}: rattled silicon of 64 and 216 atoms, water of 192, ethanol."""
    from ase.build import bulk

    examples = published_checkpoint.structures()
    del examples["slab64"]
    examples["si216"] = bulk("Si", cubic=True).repeat(3)
    examples["si216"].rattle(0.05, seed=1)
    return examples


def make_models(folder):
    """Models of all sizes, written to FOLDER/SIZE.model by mace-torch."""
    import numpy as np
    import torch

    from mace import modules

    from e3nn import o3  # isort: skip

    torch.set_default_dtype(torch.float64)
    kinds = modules.interaction_classes
    for size in SIZES:
        torch.manual_seed(0)
        vectors = "1o" in size
        first = (
            "RealAgnosticResidualInteractionBlock" if vectors else "RealAgnosticInteractionBlock"
        )
        model = modules.ScaleShiftMACE(
            r_max=5.0,
            num_bessel=10,
            num_polynomial_cutoff=5,
            max_ell=3,
            interaction_cls=kinds["RealAgnosticResidualInteractionBlock"],
            interaction_cls_first=kinds[first],
            num_interactions=2,
            num_elements=4,
            hidden_irreps=o3.Irreps(size),
            MLP_irreps=o3.Irreps("16x0e"),
            atomic_energies=np.array([-1.1, -1.2, -1.5, -0.8]),
            avg_num_neighbors=25.0,
            atomic_numbers=[1, 6, 8, 14],
            correlation=3,
            gate=torch.nn.functional.silu,
            radial_MLP=[64, 64, 64],
            atomic_inter_scale=0.8,
            atomic_inter_shift=0.1,
        )
        torch.save(model, os.path.join(folder, f"{size}.model"))


def calculator(way, path, dtype):
    """Function that loads an ASE calculator; the import is inside, as it is timed."""
    if way == "ase_pet":
        from ase_pet import MLIPCalculator

        return lambda: MLIPCalculator(path, device="cpu", dtype=dtype)
    from mace.calculators import MACECalculator

    return lambda: MACECalculator(model_paths=path, device="cpu", default_dtype=dtype)


def step(atoms):
    """One evaluation after the atoms were moved."""
    atoms.positions[0, 0] += 0.01
    atoms.get_potential_energy()
    atoms.get_forces()
    if atoms.pbc.all():
        atoms.get_stress()


def values_of(calculators):
    """Energy in eV, forces in eV/A and stress in eV/A^3, by precision and structure."""
    values = {}
    for dtype, calc in calculators.items():
        values[dtype] = {}
        for name, atoms in structures().items():
            atoms.calc = calc
            one = {"energy": [float(atoms.get_potential_energy())]}
            one["forces"] = atoms.get_forces().tolist()
            if atoms.pbc.all():
                one["stress"] = atoms.get_stress().tolist()
            values[dtype][name] = one
    return values


def work_all(way, path, steps, with_values):
    """CPU times in s: phases of the start, and a step of each structure; memory in MB; values."""
    start = time.process_time()
    make = calculator(way, path, "float32")
    imported = time.process_time()
    examples = structures()
    atoms = examples["si64"]
    begin = time.process_time()
    calc = atoms.calc = make()
    loaded = time.process_time()
    step(atoms)
    first = time.process_time()
    memory = {"first step": megabytes()}
    times = {}
    for name in TIMED:
        atoms = examples[name]
        atoms.calc = calc
        of_steps = []
        for _ in range(int(steps) + 1):
            before = time.process_time()
            step(atoms)
            of_steps.append(time.process_time() - before)
        times[name] = min(of_steps[1:]) / len(atoms)
    memory["largest structure"] = megabytes()
    phases = {"import": imported - start, "load": loaded - begin, "first step": first - loaded}
    answer = {"phases": phases, "per_atom": times, "memory": memory}
    if with_values == "values":
        high = calculator(way, path, "float64")()
        answer["values"] = values_of({"float64": high, "float32": calc})
    return answer


WORKERS = {
    "make": make_models,
    "all": work_all,
    "size": published_checkpoint.work_size,
}


def work(python, kind, *rest):
    """What a worker returns, in a new process of an interpreter with one thread."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONWARNINGS": "ignore",
    }
    with tempfile.TemporaryDirectory() as folder:
        answer = os.path.join(folder, "answer.json")
        done = subprocess.run(
            [python, os.path.abspath(__file__), "--worker", answer, kind, *map(str, rest)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"{python} {kind} failed:\n{done.stderr}")
        with open(answer, encoding="utf-8") as file:
            return json.load(file)


def show_agreement(size, runs):
    """Print the largest differences between the programs of each structure."""
    values = {(way, dtype): runs[way][0]["values"][dtype] for way in WAYS for dtype in DTYPES}
    peer, ours = WAYS
    pairs = [((peer, dtype), (ours, dtype)) for dtype in DTYPES]
    pairs += [((way, "float32"), (peer, "float64")) for way in WAYS]
    rows = []
    for name in values[peer, "float64"]:
        for first, second in pairs:
            a = values[first][name]
            b = values[second][name]
            largest = max(abs(x) for row in b["forces"] for x in row)
            rows.append(
                [
                    name,
                    " ".join(first),
                    " ".join(second),
                    f"{greatest(a['energy'], b['energy']) / len(a['forces']):.1e}",
                    f"{greatest(a['forces'], b['forces']):.1e}",
                    f"{greatest(a['stress'], b['stress']):.1e}" if "stress" in a else "-",
                    f"{largest:.2g}",
                ]
            )
    columns = ["structure", "of", "and", "energy eV/atom", "forces eV/A", "stress eV/A^3"]
    show(f"{size}: largest differences", [*columns, "largest force"], rows, texts=3)


def show_costs(size, runs):
    """Print times and memory of a size of both programs, and their ratios."""
    peer, ours = WAYS
    rows = []
    for name in TIMED:
        least = {way: 1e3 * min(run["per_atom"][name] for run in runs[way]) for way in WAYS}
        rows.append([f"{name}, CPU ms/atom", *_ratio(least)])
    for phase in PHASES:
        middle = {way: _median(runs[way], "phases", phase) for way in WAYS}
        rows.append([f"{phase}, CPU s", *_ratio(middle)])
    sums = {way: sum(_median(runs[way], "phases", phase) for phase in PHASES) for way in WAYS}
    rows.append(["import + load + first step, CPU s", *_ratio(sums)])
    for when in ("first step", "largest structure"):
        memory = {way: _median(runs[way], "memory", when) for way in WAYS}
        rows.append([f"peak memory, {when}, MB", *_ratio(memory)])
    show(f"{size}: float32, one thread", ["", peer, ours, f"{peer} / {ours}"], rows)


def _median(runs, kind, key):
    return statistics.median(run[kind][key] for run in runs)


def _ratio(values):
    """Both values and how many times that of the peer is ours, as texts."""
    peer, ours = (values[way] for way in WAYS)
    return [f"{peer:.3g}", f"{ours:.3g}", f"{peer / ours:.2f}"]


def show_installed(pythons):
    """Print what is installed in both environments."""
    sizes = {way: work(pythons[way], "size") for way in WAYS}
    rows = [
        [
            way,
            str(size["distributions"]),
            f"{size['bytes'] / 1e6:.0f}",
            f"{(size['bytes'] - size['torch']) / 1e6:.0f}",
        ]
        for way, size in sizes.items()
    ]
    show("Installed, without pip", ["environment", "distributions", "MB", "MB without torch"], rows)
    for way, size in sizes.items():
        versions = ", ".join(f"{a} {b}" for a, b in sorted(size["versions"].items()))
        print(f"{way}: python {size['python']}, {versions}", flush=True)


def arguments():
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--peer-python", required=True, help="interpreter of an environment with mace-torch"
    )
    parser.add_argument(
        "--python", default=sys.executable, help="interpreter of an environment with ase_pet"
    )
    parser.add_argument("--models", help="folder of models that were made before")
    parser.add_argument("--sizes", nargs="+", default=SIZES, choices=SIZES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5)
    return parser.parse_args()


def main():
    """Command line; `--worker` calls one function for it in a new process."""
    if sys.argv[1:2] == ["--worker"]:
        path, kind, *rest = sys.argv[2:]
        answer = WORKERS[kind](*rest)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(answer, file)
        return
    args = arguments()
    interpreters = (args.peer_python, args.python)
    pythons = {way: os.path.abspath(path) for way, path in zip(WAYS, interpreters, strict=True)}
    print(f"{date.today()}, {processor()}, 1 thread")
    show_installed(pythons)
    with tempfile.TemporaryDirectory() as folder:
        folder = args.models or folder
        paths = {size: os.path.join(folder, f"{size}.model") for size in SIZES}
        if args.models is None:
            work(pythons["mace-torch"], "make", folder)
        for size in args.sizes:
            print(f"\n{size}, {os.path.getsize(paths[size]) / 1e6:.1f} MB", flush=True)
            runs = {way: [] for way in WAYS}
            for count in range(args.rounds):
                for way in WAYS:
                    extra = "times" if count else "values"
                    run = work(pythons[way], "all", way, paths[size], args.steps, extra)
                    runs[way].append(run)
            show_agreement(size, runs)
            show_costs(size, runs)
            print(f"load of the machine at the end {os.getloadavg()[0]:.1f}", flush=True)


if __name__ == "__main__":
    main()
