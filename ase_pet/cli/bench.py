"""`ase-pet bench`: times of a calculator."""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from rich.table import Table

from . import options, screen

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms

STEP = "step of dynamics"
# A, between evaluations: no result is cached, and neighbour lists are reused as in dynamics
DISPLACEMENT = 1e-3
MOST_ATOMS = 10**6  # of a supercell
BUSY = 1.5  # wall time in CPU times, above which other processes slowed the run


@runtime_checkable
class StatesSpecies(Protocol):
    """A calculator that says which elements it supports."""

    species: Sequence[int]


@options.with_options(options.structure_options(), options.calculator_options())
def command(
    calc: options.Calc = None,
    structure: options.Structure = None,
    *,
    calculator: str | None = None,
    repeat: str | None = None,
    steps: int = 20,
    timestep: float = 1.0,
    temperature: float = 300.0,
    json: options.Json = False,
    **chosen: Any,
) -> None:
    """Measure the time of an evaluation and of an MD step, ns/day, and the peak memory.

    Medians and quartiles over --steps evaluations at different positions. A CPU time well below the
    wall time means that other processes kept the machine busy. OMP_NUM_THREADS sets the number of
    threads: 1 is best for small systems.

    Parameters
    ----------
    calc:
        Name, calculator folder or checkpoint.
    structure:
        File, of which the last structure is used; default: a structure built from the species of
        the calculator.
    calculator:
        module:factory of any ASE calculator, instead of CALC.
    repeat:
        Repeats of the cell, such as 2,2,2; default: 2,2,2 for the built crystal, else none.
    steps:
        Number of evaluations of each kind.
    timestep:
        Time step in fs, for ns/day.
    temperature:
        Temperature of the dynamics in K.
    json:
        Print JSON for programs.
    chosen:
        Format of the file, and options of the calculator, `options.CALCULATOR`.

    Examples
    --------
    Example: ase-pet bench silicon start.extxyz --repeat 2,2,2 --dtype float32 --timestep 1
    """
    if calculator is not None and structure is None:
        structure = calc
        calc = None
    # cheap arguments are checked before a model is loaded or downloaded
    if (calc is None) == (calculator is None):
        raise ValueError("give CALC, or --calculator module:factory STRUCTURE")
    options.check_positive(steps=steps, timestep=timestep, temperature=temperature)
    repeats = None if repeat is None else options.integers("repeat", repeat, (3,))
    options.check_positive(repeat=min(repeats or [1]))
    format = chosen.pop("format")
    atoms = None if structure is None else options.read_structures(structure, -1, format)
    begin = time.perf_counter()
    loaded = options.load_calculator(calc, calculator, finite=True, **chosen)
    seconds = time.perf_counter() - begin
    if atoms is None:
        atoms = _built(loaded, repeats)
    elif repeats is not None:
        atoms = _repeated(atoms, repeats)
    atoms.calc = loaded
    options.announce(calc or calculator, loaded, [atoms])
    content = {
        "calculator": calc or calculator,
        "formula": str(atoms.symbols),
        "atoms": len(atoms),
        **_hardware(loaded),
        "load_s": seconds,
        **_cost(loaded, atoms),
        **_measured(atoms, steps, timestep, temperature),
    }
    if json:
        screen.print_json(content)
    else:
        _show(content)


def _built(calculator: Any, repeats: list[int] | None) -> Atoms:
    """Structure of species that the calculator supports, repeated."""
    from ..checks._structures import defaults, is_periodic

    species = calculator.species if isinstance(calculator, StatesSpecies) else None
    if species is None:
        raise ValueError("the calculator does not say which species it knows: give STRUCTURE")
    atoms: Atoms = list(defaults(species).values())[-1]
    if repeats is None:
        repeats = [2, 2, 2] if is_periodic(atoms) else [1, 1, 1]
    return _repeated(atoms, repeats)


def _repeated(atoms: Atoms, repeats: list[int]) -> Atoms:
    """Supercell of a structure, refused before it is made if it is too large."""
    number = len(atoms) * math.prod(repeats)
    if number > MOST_ATOMS:
        raise ValueError(f"`--repeat` makes {number} atoms: expected at most {MOST_ATOMS}")
    repeated: Atoms = atoms.repeat(repeats)
    return repeated


def _measured(atoms: Atoms, steps: int, timestep: float, temperature: float) -> dict[str, Any]:
    """Times of each kind of evaluation, ns/day, peak memory."""
    import numpy as np
    from ase import units
    from ase.md.verlet import VelocityVerlet

    from .. import md

    md.thermalise(atoms, temperature, np.random.default_rng(0))
    # two sets of positions beyond those of the file, in turn: (2, n, 3) A
    displacements = DISPLACEMENT * np.random.default_rng(1).normal(size=(2, len(atoms), 3))
    kinds: dict[str, Callable[[], Any]] = {
        "energy": atoms.get_potential_energy,
        "energy, forces": atoms.get_forces,
    }
    begin = time.perf_counter()
    if md.thermo.has_stress(atoms):
        kinds["energy, forces, stress"] = lambda: (atoms.get_forces(), atoms.get_stress())
    atoms.get_forces()
    first = time.perf_counter() - begin

    def move() -> None:
        atoms.positions += displacements[0]
        displacements[:] = -displacements[0], displacements[0]

    times = {name: _times(move, compute, steps, name) for name, compute in kinds.items()}
    dynamics = VelocityVerlet(atoms, timestep * units.fs)
    dynamics.run(1)
    times[STEP] = _times(lambda: None, lambda: dynamics.run(1), steps, STEP)
    step_time = float(np.median(times[STEP][:, 0]))  # s
    return {
        "first_s": first,
        "times": {name: _row(table, len(atoms)) for name, table in times.items()},
        "timestep_fs": timestep,
        "ns_per_day": 0.0864 * timestep / step_time,
        **_memory(),
    }


def _times(
    prepare: Callable[[], Any], compute: Callable[[], Any], steps: int, name: str
) -> np.ndarray:
    """Wall and CPU time in s of each of so many calls, (steps, 2)."""
    import numpy as np

    times = []
    with screen.progress(name) as report:
        for step in range(steps):
            prepare()
            wall = time.perf_counter()
            cpu = time.process_time()
            compute()
            times.append((time.perf_counter() - wall, time.process_time() - cpu))
            report(name, step + 1, steps)
    return np.array(times)


def _row(times: np.ndarray, atoms: int) -> dict[str, Any]:
    """Summary of (steps, 2) wall and CPU times in s."""
    import numpy as np

    low, median, high = 1000 * np.quantile(times[:, 0], (0.25, 0.5, 0.75))
    return {
        "median_ms": median,
        "quartiles_ms": [low, high],
        "cpu_ms": 1000 * float(np.median(times[:, 1])),
        "ms_per_atom": median / atoms,
    }


def _memory() -> dict[str, float]:
    """Peak of the process, and of the tensors on a GPU, in MB."""
    import torch

    unit = 1 if sys.platform == "darwin" else 1024  # bytes in the unit of ru_maxrss
    peak = unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    memory = {"peak_memory_MB": peak / 1e6}
    if torch.cuda.is_available():
        memory["peak_gpu_memory_MB"] = torch.cuda.max_memory_allocated() / 1e6
    return memory


def _hardware(calculator: Any) -> dict[str, Any]:
    """Device, precision and threads; nothing for a calculator of another package."""
    import torch

    from ..calculator import PETCalculator

    if not isinstance(calculator, PETCalculator):
        return {}
    device = calculator.device
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "dtype": str(calculator.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
    }


def _cost(calculator: Any, atoms: Atoms) -> dict[str, float]:
    """Evaluations for each atom with a symmetriser, and their work in units of the plain model."""
    from ..calculator import PETCalculator

    cost = calculator.cost(atoms) if isinstance(calculator, PETCalculator) else {}
    return {name: cost[name] for name in ("evaluations_per_atom", "ratio") if name in cost}


def _show(content: dict[str, Any]) -> None:
    """Print a table of times, and what they mean."""
    where = ", ".join(str(content[name]) for name in ("device", "dtype") if name in content)
    title = f"{content['calculator']}, {content['atoms']} atoms {f'on {where}' if where else ''}"
    if "threads" in content:
        threads = content["threads"]
        title += f", {threads} thread{'s' * (threads > 1)}"
    table = Table("", "median (ms)", "quartiles (ms)", "CPU (ms)", "ms/atom", title=title)
    for name, row in content["times"].items():
        table.add_row(
            name,
            f"{row['median_ms']:.4g}",
            " to ".join(f"{value:.4g}" for value in row["quartiles_ms"]),
            f"{row['cpu_ms']:.4g}",
            f"{row['ms_per_atom']:.3g}",
        )
    screen.console().print(table)
    screen.say(
        f"{content['ns_per_day']:.3g} ns/day with a step of {content['timestep_fs']:g} fs; loaded"
        f" in {content['load_s']:.2f} s, first evaluation {content['first_s']:.2f} s"
    )

    step = content["times"][STEP]
    # a GPU works while its process waits: CPU time says nothing there
    if content.get("device", "cpu") == "cpu" and step["median_ms"] > BUSY * step["cpu_ms"]:
        slowdown = step["median_ms"] / step["cpu_ms"]
        screen.say(
            "the machine was busy with something else: a step took"
            f" {slowdown:.1f} times its CPU time"
        )
    if "ratio" in content:
        screen.say(
            f"symmetrised: {content['evaluations_per_atom']:.4g} evaluations for each atom,"
            f" {content['ratio']:.4g} times the work of the plain model"
        )
    memory = f"peak memory {content['peak_memory_MB']:.0f} MB"
    if content.get("peak_gpu_memory_MB"):
        memory += f", on the GPU {content['peak_gpu_memory_MB']:.0f} MB"
    screen.say(memory)
