#!/usr/bin/env python3
"""A PET checkpoint in upet and in ase_pet: agreement, cost of the first step, installation size.

    python benchmarks/published_checkpoint.py CHECKPOINT [CHECKPOINT ...] \
        --peer-python peer/bin/python

Three programs are compared: `ase_pet` and `upet` (UPETCalculator), which read CHECKPOINT, and
`metatomic` (MetatomicCalculator), which reads the exported model (same name with .pt) if it exists.

Agreement: energy, forces and, for structures with three periodic directions, stress, in float64 and
in float32; and how far each is in float32 from float64.
Cost: new processes alternate, A B C A B C ..., after one warm-up round that fills the disk caches.
Import, load, and steps with energy and forces (the other programs always add the stress): wall and
CPU time of the process, medians over the rounds, and the peak resident memory after the first step
and after the last.
Installations: files below site-packages and number of distributions, both without pip. `--python`
names the interpreter of an environment with ase_pet only; the default is the interpreter that runs
the benchmark, including extras. Each environment is created separately, with the same wheel of
torch:

    python3 -m venv ours && ours/bin/pip install torch==2.13.0
    ours/bin/pip install -c constraints.txt .
    python3 -m venv peer && peer/bin/pip install torch==2.13.0
    peer/bin/pip install upet
"""

# The timed worker imports the standard library only, and other modules where they are needed.
# So does the parent process, as ru_maxrss of a child starts from the memory of its parent.
import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date

WAYS = {"ase_pet": "ours", "upet": "peer", "metatomic": "peer"}
DTYPES = ("float64", "float32")
PHASES = ("import", "load", "first", "second", "third")
COST_ON = "si64"
VERSIONS = (
    "torch",
    "ase",
    "ase_pet",
    "upet",
    "metatrain",
    "metatomic-ase",
    "metatomic-torch",
    "metatensor-torch",
)


def structures():
    """{name: atoms}.

    Rattled silicon crystal, water, ethanol, rattled silicon slab with two periodic directions.
    """
    import numpy as np
    from ase import Atoms
    from ase.build import bulk, diamond100, molecule

    examples = {
        "si64": bulk("Si", cubic=True).repeat(2),
        "water192": Atoms(cell=[12.416] * 3, pbc=True),
        "ethanol": molecule("CH3CH2OH"),
        "slab64": diamond100("Si", (4, 4, 4), vacuum=7.5),
    }
    rng = np.random.default_rng(0)
    for corner in np.ndindex(4, 4, 4):
        one = molecule("H2O")
        one.rotate(360 * rng.random(), rng.normal(size=3))
        one.positions += 3.104 * np.array(corner) + 1.0
        examples["water192"] += one
    examples["slab64"].pbc = (True, True, False)
    for atoms in examples.values():
        atoms.rattle(0.05, rng=rng)
    return examples


def calculator(way, checkpoint, dtype):
    """ASE calculator on the CPU; the import is inside because it is part of what is timed."""
    if way == "ase_pet":
        from ase_pet import PETCalculator

        return lambda: PETCalculator(checkpoint, device="cpu", dtype=dtype)
    if way == "upet":
        from upet.ase import UPETCalculator

        return lambda: UPETCalculator(checkpoint_path=checkpoint, device="cpu", dtype=dtype)
    from metatomic_ase import MetatomicCalculator

    return lambda: MetatomicCalculator(exported(checkpoint), device="cpu")


def exported(checkpoint):
    return os.path.splitext(checkpoint)[0] + ".pt"


def megabytes():
    """Peak resident memory of this process in MB (10^6 bytes)."""
    return (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        * (1 if sys.platform == "darwin" else 1024)
        / 1e6
    )


def work_cost(way, checkpoint, dtype):
    """Times in s, wall and CPU, of the phases of one fresh process, and its peak memory in MB."""
    times, clock = {}, [time.perf_counter(), time.process_time()]

    def lap(phase):
        now = [time.perf_counter(), time.process_time()]
        times[phase] = [now[0] - clock[0], now[1] - clock[1]]
        clock[:] = now

    make = calculator(way, checkpoint, dtype)
    lap("import")
    atoms = structures()[COST_ON]
    lap("structure")  # does not count: the same for all
    atoms.calc = make()
    lap("load")
    atoms.get_forces()
    lap("first")
    first = megabytes()
    for phase in ("second", "third"):
        atoms.positions[0, 0] += 0.01
        atoms.get_forces()
        lap(phase)
    return {"times": times, "first_megabytes": first, "last_megabytes": megabytes()}


def work_values(way, checkpoint, dtype):
    """Energy in eV, forces in eV/A and stress in eV/A^3 of the structures, by name."""
    calc, values = calculator(way, checkpoint, dtype)(), {}
    for name, atoms in structures().items():
        atoms.calc = calc
        values[name] = {
            "energy": [atoms.get_potential_energy()],
            "forces": atoms.get_forces().tolist(),
        }
        if atoms.pbc.all():
            values[name]["stress"] = atoms.get_stress().tolist()
    return values


def work_size():
    """Size in bytes and number of distributions (without pip), size of torch, versions."""
    import importlib.metadata
    import sysconfig

    root, total = sysconfig.get_path("purelib"), 0
    for folder, folders, files in os.walk(root):
        if folder == root:
            folders[:] = [name for name in folders if name != "pip" and not name.startswith("pip-")]
        total += sum(os.lstat(os.path.join(folder, name)).st_size for name in files)
    packages = {
        one.metadata["Name"].lower(): one for one in importlib.metadata.distributions(path=[root])
    }
    packages.pop("pip", None)
    torch = sum(
        os.lstat(path).st_size
        for path in map(packages["torch"].locate_file, packages["torch"].files)
        if os.path.exists(path) and not os.path.isdir(path)
    )
    return {
        "bytes": total,
        "torch": torch,
        "distributions": len(packages),
        "python": platform.python_version(),
        "versions": {name: one.version for name, one in packages.items() if name in VERSIONS},
    }


WORKERS = {"cost": work_cost, "values": work_values, "size": work_size}


def work(python, kind, *rest, threads):
    """What a worker returns, in a fresh process of an interpreter."""
    environment = os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONWARNINGS": "ignore",
    }
    with (
        tempfile.TemporaryDirectory() as folder
    ):  # not the standard output: libraries write there too
        path = os.path.join(folder, "answer.json")
        done = subprocess.run(
            [python, os.path.abspath(__file__), "--worker", path, kind, *rest],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"{python} {kind} {' '.join(rest)} failed:\n{done.stderr}")
        with open(path, encoding="utf-8") as file:
            return json.load(file)


def greatest(first, second):
    """Largest absolute difference of two nested lists of one shape."""
    if isinstance(first, list):
        return max(greatest(a, b) for a, b in zip(first, second, strict=True))
    return abs(first - second)


def agreement(checkpoint, ways, pythons, threads):
    """Records of each structure and pair of programs.

    They hold the largest differences in eV/atom, eV/A and eV/A^3, and the rms force.
    """
    values = {
        (way, dtype): work(pythons[WAYS[way]], "values", way, checkpoint, dtype, threads=threads)
        for dtype in DTYPES
        for way in ways
        if way != "metatomic" or dtype == "float32"
    }
    pairs = [(("upet", dtype), ("ase_pet", dtype)) for dtype in DTYPES]
    pairs += [(("metatomic", "float32"), ("ase_pet", "float32"))] * ("metatomic" in ways)
    pairs += [((way, "float32"), ("upet", "float64")) for way in ("upet", "ase_pet")]
    for name in values["upet", "float64"]:
        for first, second in pairs:
            a, b = values[first][name], values[second][name]
            yield {
                "structure": name,
                "first": first,
                "second": second,
                "rms": (
                    (sum(x * x for row in b["forces"] for x in row) / 3 / len(b["forces"])) ** 0.5
                ),
                "energy": greatest(a["energy"], b["energy"]) / len(a["forces"]),
                "forces": greatest(a["forces"], b["forces"]),
                "stress": greatest(a["stress"], b["stress"]) if "stress" in a else None,
            }


def costs(checkpoint, ways, pythons, threads, repeats, dtype="float32"):
    """Runs of each program, alternating; the first round is a warm-up."""
    runs = {way: [] for way in ways}
    for count in range(repeats + 1):
        for way in ways:
            run = work(pythons[WAYS[way]], "cost", way, checkpoint, dtype, threads=threads)
            runs[way] += [run] * (count > 0)
    return runs


def summary(runs):
    """Medians by column: wall and CPU time in s of the phases and their sum, peak memory in MB."""
    medians = {}
    for kind, position in (("wall", 0), ("CPU", 1)):
        of = [{phase: run["times"][phase][position] for phase in PHASES} for run in runs]
        medians |= {
            f"{phase} {kind}": statistics.median(one[phase] for one in of) for phase in PHASES
        }
        sums = [one["import"] + one["load"] + one["first"] for one in of]
        medians |= {f"sum {kind}": statistics.median(sums), f"least sum {kind}": min(sums)}
    medians |= {
        name: statistics.median(run[name] for run in runs)
        for name in ("first_megabytes", "last_megabytes")
    }
    return medians


def show(title, columns, rows, texts=1):
    """Print a table as plain text; the first columns are texts, the others numbers."""
    from rich.box import ASCII
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, box=ASCII, title_justify="left")
    for k, column in enumerate(columns):
        table.add_column(column, justify="left" if k < texts else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    Console(width=140, highlight=False).print(table)


def show_agreement(records):
    rows = [
        [
            record["structure"],
            *(" ".join(record[who]) for who in ("first", "second")),
            *(
                "-" if record[name] is None else f"{record[name]:.1e}"
                for name in ("energy", "forces", "stress", "rms")
            ),
        ]
        for record in records
    ]
    show(
        "Largest differences",
        [
            "structure",
            "of",
            "and",
            "energy eV/atom",
            "forces eV/A",
            "stress eV/A^3",
            "rms force eV/A",
        ],
        rows,
        texts=3,
    )


def show_costs(medians, repeats):
    for kind in ("wall", "CPU"):
        columns = [f"{phase} {kind}" for phase in PHASES] + [f"sum {kind}", f"least sum {kind}"]
        rows = [
            [
                way,
                *(f"{cost[column]:.2f}" for column in columns),
                f"{cost[f'sum {kind}'] / medians['ase_pet'][f'sum {kind}']:.2f}",
            ]
            for way, cost in medians.items()
        ]
        show(
            f"{kind} time in s, {COST_ON}, float32, medians of {repeats} processes; sum: import +"
            " load + first step",
            [
                "way",
                "import",
                "load",
                "first step",
                "second",
                "third",
                "sum",
                "least sum",
                "sum / ours",
            ],
            rows,
        )
    rows = [
        [way, f"{cost['first_megabytes']:.0f}", f"{cost['last_megabytes']:.0f}"]
        for way, cost in medians.items()
    ]
    show(
        "Peak resident memory in MB, medians", ["way", "after first step", "after third step"], rows
    )


def show_sizes(sizes):
    rows = [
        [
            side,
            str(size["distributions"]),
            f"{size['bytes'] / 1e6:.0f}",
            f"{(size['bytes'] - size['torch']) / 1e6:.0f}",
        ]
        for side, size in sizes.items()
    ]
    show("Installed, without pip", ["environment", "distributions", "MB", "MB without torch"], rows)
    for side, size in sizes.items():
        print(
            f"{side}: python {size['python']}, "
            + ", ".join(f"{a} {b}" for a, b in sorted(size["versions"].items()))
        )


def processor():
    """Processor of this machine, its cores and the load."""
    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            fields = {
                a.strip(): b.strip()
                for a, b in (line.split(":", 1) for line in lines if ":" in line)
            }
        model = (
            f"{fields.get('model name', model)} (family {fields.get('cpu family')}, model"
            f" {fields.get('model')})"
        )
    return f"{model}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT")
    parser.add_argument(
        "--peer-python", required=True, help="interpreter of an environment with upet"
    )
    parser.add_argument(
        "--python", default=sys.executable, help="interpreter of an environment with ase_pet"
    )
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", help="file for the records")
    return parser.parse_args()


def main():
    if sys.argv[1:2] == ["--worker"]:
        path, kind, *rest = sys.argv[2:]
        answer = WORKERS[kind](*rest)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(answer, file)
        return
    args = arguments()
    pythons = {"ours": os.path.abspath(args.python), "peer": os.path.abspath(args.peer_python)}
    print(f"{date.today()}, {processor()}, {args.threads} threads")
    sizes = {side: work(python, "size", threads=args.threads) for side, python in pythons.items()}
    show_sizes(sizes)
    records = {"sizes": sizes}
    for checkpoint in map(os.path.abspath, args.checkpoints):
        ways = [way for way in WAYS if way != "metatomic" or os.path.exists(exported(checkpoint))]
        print(f"\n{os.path.basename(checkpoint)}, {os.path.getsize(checkpoint) / 1e6:.0f} MB")
        same = list(agreement(checkpoint, ways, pythons, args.threads))
        show_agreement(same)
        runs = costs(checkpoint, ways, pythons, args.threads, args.repeats)
        show_costs({way: summary(measured) for way, measured in runs.items()}, args.repeats)
        print(f"load at the end {os.getloadavg()[0]:.1f}")
        records[os.path.basename(checkpoint)] = {"agreement": same, "runs": runs}
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(records, file, indent=1)


if __name__ == "__main__":
    main()
