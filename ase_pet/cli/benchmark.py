"""The bench command."""

import json as json_module
import resource
import sys
import time

import numpy as np
import torch
import typer
from ase import units
from ase.md.verlet import VelocityVerlet
from rich.console import Console
from rich.progress import track
from rich.table import Table

from .. import md
from ..checks._structures import defaults, is_periodic
from .inputs import CALC, DEVICE, DTYPE, MODEL_SYMMETRY, VARIANT, integers
from .inspect import CALCULATOR, JSON, ORIENTATIONS, grid, load, read

STRUCTURE = typer.Argument(
    None, help="file, its last structure; default: made from the species of the calculator"
)
REPEAT = typer.Option(
    None,
    help=(
        "repeats of the cell, such as 2,2,2; default: 2,2,2 for a crystal that was made, else none"
    ),
)
STEP = "step of dynamics"
# A, between evaluations: none is found in a cache, and neighbour lists are reused as in dynamics
NUDGE = 1e-3
BUSY = 1.5  # wall time in CPU times
EPILOG = "Example: ase-pet bench silicon start.extxyz --repeat 2,2,2 --dtype float32 --timestep 1"


def register(app):
    """Add the command to the application."""
    app.command("bench", epilog=EPILOG)(bench)


def bench(
    calc: str = CALC,
    structure: str = STRUCTURE,
    calculator: str = CALCULATOR,
    repeat: str = REPEAT,
    steps: int = typer.Option(20, help="evaluations of each kind"),
    timestep: float = typer.Option(1.0, help="fs, for ns/day"),
    temperature: float = typer.Option(300.0, help="K, of the dynamics"),
    symmetrise: str = MODEL_SYMMETRY,
    dtype: str = DTYPE,
    device: str = DEVICE,
    variant: str = VARIANT,
    orientations: str = ORIENTATIONS,
    json: bool = JSON,
):
    """Time of energy, forces and stress, of a step of dynamics, ns/day, and peak memory.

    Medians over --steps evaluations at positions that differ, and the quartiles around them; CPU
    time beside wall time tells whether something else kept the machine busy. OMP_NUM_THREADS sets
    the threads: 1 is best for small systems.
    """
    if calculator is not None and structure is None:
        calc, structure = None, calc
    if (calc is None) == (calculator is None):
        raise ValueError("give CALC, or --calculator module:factory STRUCTURE")
    for name, value in (("steps", steps), ("timestep", timestep), ("temperature", temperature)):
        if not value > 0:
            raise ValueError(f"`--{name}` is {value!r}: expected a number above 0")
    options = {
        "symmetrise": symmetrise,
        "dtype": dtype,
        "device": device,
        "variant": variant,
        "orientations": grid(orientations),
    }
    begin = time.perf_counter()
    loaded = load(
        calc, calculator, **{name: value for name, value in options.items() if value is not None}
    )
    seconds = time.perf_counter() - begin
    atoms = _structure(structure, loaded, repeat)
    atoms.calc = loaded
    content = {
        "calculator": calc or calculator,
        "formula": str(atoms.symbols),
        "atoms": len(atoms),
        **_where(loaded),
        "load_s": seconds,
        **_cost(loaded, atoms),
        **_measured(atoms, steps, timestep, temperature),
    }
    if json:
        print(json_module.dumps(content))
    else:
        _show(content)


def _structure(path, calculator, repeat):
    if path is not None:
        atoms, usual = read(path, -1), "1,1,1"
    else:
        if getattr(calculator, "species", None) is None:
            raise ValueError("the calculator does not say which species it knows: give STRUCTURE")
        atoms = list(defaults(calculator.species).values())[-1]
        usual = "2,2,2" if is_periodic(atoms) else "1,1,1"
    return atoms.repeat(integers("repeat", usual if repeat is None else repeat, (3,)))


def _measured(atoms, steps, timestep, temperature):
    """Times of each kind of evaluation, ns/day, peak memory."""
    md.thermalise(atoms, temperature, np.random.default_rng(0))
    nudge = NUDGE * np.random.default_rng(1).normal(size=(2, len(atoms), 3))
    kinds = {"energy": atoms.get_potential_energy, "energy, forces": atoms.get_forces}
    begin = time.perf_counter()
    if md.thermo.has_stress(atoms):
        kinds["energy, forces, stress"] = lambda: (atoms.get_forces(), atoms.get_stress())
    atoms.get_forces()
    first = time.perf_counter() - begin

    def move():
        atoms.positions += nudge[0]
        nudge[:] = -nudge[0], nudge[0]

    times = {name: _times(move, compute, steps, name) for name, compute in kinds.items()}
    dynamics = VelocityVerlet(atoms, timestep * units.fs)
    dynamics.run(1)
    times[STEP] = _times(lambda: None, lambda: dynamics.run(1), steps, STEP)
    return {
        "first_s": first,
        "times": {name: _row(found, len(atoms)) for name, found in times.items()},
        "timestep_fs": timestep,
        "ns_per_day": 0.0864 * timestep / float(np.median(times[STEP][:, 0])),
        **_memory(),
    }


def _times(prepare, compute, steps, name):
    """(steps, 2) wall and CPU time in s."""
    found, console = [], Console(stderr=True)
    for _ in track(
        range(steps), name, console=console, transient=True, disable=not console.is_terminal
    ):
        prepare()
        wall, cpu = time.perf_counter(), time.process_time()
        compute()
        found.append((time.perf_counter() - wall, time.process_time() - cpu))
    return np.array(found)


def _row(times, atoms):
    low, median, high = 1000 * np.quantile(times[:, 0], (0.25, 0.5, 0.75))
    return {
        "median_ms": median,
        "quartiles_ms": [low, high],
        "cpu_ms": 1000 * float(np.median(times[:, 1])),
        "ms_per_atom": median / atoms,
    }


def _memory():
    """Peak of the process, and of the tensors on a GPU, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )
    found = {"peak_memory_MB": peak / 1e6}
    if torch.cuda.is_available():
        found["peak_gpu_memory_MB"] = torch.cuda.max_memory_allocated() / 1e6
    return found


def _where(calculator):
    """Device, precision and threads.

    Nothing for a calculator of others, where torch may have no part in it.
    """
    device, dtype = getattr(calculator, "device", None), getattr(calculator, "dtype", None)
    if not isinstance(device, torch.device):
        return {}
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {
        "device": name,
        "dtype": str(dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
    }


def _cost(calculator, atoms):
    """Evaluations for each atom with a symmetriser, and their work in units of the plain model."""
    cost = calculator.cost(atoms) if hasattr(calculator, "cost") else {}
    return {name: cost[name] for name in ("evaluations_per_atom", "ratio") if name in cost}


def _show(content):
    where = ", ".join(str(content[name]) for name in ("device", "dtype") if name in content)
    threads = f", {content['threads']} threads" if "threads" in content else ""
    table = Table(
        "",
        "median (ms)",
        "quartiles (ms)",
        "CPU (ms)",
        "ms/atom",
        title=(
            f"{content['calculator']}, {content['atoms']} atoms"
            f" {f'on {where}' if where else ''}{threads}"
        ),
    )
    for name, row in content["times"].items():
        table.add_row(
            name,
            f"{row['median_ms']:.4g}",
            " to ".join(f"{value:.4g}" for value in row["quartiles_ms"]),
            f"{row['cpu_ms']:.4g}",
            f"{row['ms_per_atom']:.3g}",
        )
    Console().print(table)
    print(
        f"{content['ns_per_day']:.3g} ns/day with a step of {content['timestep_fs']:g} fs; loaded"
        f" in {content['load_s']:.2f} s, first evaluation {content['first_s']:.2f} s"
    )
    step = content["times"][STEP]
    if content.get("device", "cpu") == "cpu" and step["median_ms"] > BUSY * step["cpu_ms"]:
        print(
            "the machine was busy with something else: a step took"
            f" {step['median_ms'] / step['cpu_ms']:.1f} times its CPU time"
        )
    if "ratio" in content:
        print(
            f"symmetrised: {content['evaluations_per_atom']:.4g} evaluations for each atom,"
            f" {content['ratio']:.4g} times the work of the plain model"
        )
    print(
        f"peak memory {content['peak_memory_MB']:.0f} MB"
        + (
            f", on the GPU {content['peak_gpu_memory_MB']:.0f} MB"
            if content.get("peak_gpu_memory_MB")
            else ""
        )
    )
