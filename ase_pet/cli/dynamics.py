"""The md command."""

import dataclasses
import json as json_module
import sys
import time as clock
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from .. import md as dynamics
from ..uncertainty_policy import TooUncertain
from .inputs import CALC, DEVICE, DTYPE, MODEL_SYMMETRY, STRUCTURE, VARIANT, arguments
from .inspect import CALCULATOR, JSON, ORIENTATIONS, grid, load, read

SETTINGS = [field.name for field in dataclasses.fields(dynamics.Settings)]
OF_CALC = (
    "symmetrise",
    "dtype",
    "device",
    "variant",
    "orientations",
    "uncertainty",
    "uncertainty_threshold",
)
WHAT = ("calc", "structure", "calculator")
STOPPED = 130  # exit status of shells for Ctrl-C
EPILOG = (
    "Example: ase-pet md silicon start.extxyz --ensemble nvt --temperature 300 --time 10 --output"
    " run; after it was stopped, by whatever: ase-pet md --restart --output run"
)

HELP = {  # setting: what it is, by heading
    "Run": {
        "ensemble": "nve, nvt, npt",
        "temperature": "K",
        "time": "ps, in all",
        "timestep": "fs",
        "seed": "of momenta and thermostat",
        "momenta": (
            "draw: from the temperature, without net momentum and, of molecules, rotation; keep:"
            " those of the structure"
        ),
        "start_temperature": (
            "K, of the momenta that are drawn; default: temperature. A crystal on perfect sites"
            " gives half of it to its potential energy"
        ),
        "multiple": (
            "time steps with cheap forces between two corrections, nve only: direct forces of CALC,"
            " or --fast"
        ),
    },
    "Thermostat and barostat": {
        "thermostat": "of nvt: langevin, bussi, nose-hoover",
        "thermostat_time": "fs; of langevin 1 / friction",
        "pressure": "GPa, of npt",
        "barostat": "of npt: isotropic, full",
        "barostat_time": "fs",
    },
    "Files": {
        "interval": "steps between frames of the trajectory",
        "thermo_interval": "steps between rows of thermo.csv",
        "checkpoint": "steps between states to restart from",
    },
    "Limits": {
        "max_temperature": "K, above which the run has exploded",
        "max_force": "eV/A, the same",
    },
}
OPTIONS = {
    name: typer.Option(getattr(dynamics.Settings(), name), help=text, rich_help_panel=panel)
    for panel, texts in HELP.items()
    for name, text in texts.items()
}
EXTXYZ = typer.Option(
    False, "--extxyz", help="write trajectory.extxyz as well", rich_help_panel="Files"
)
FAST = typer.Option(
    None, help="module:factory of the calculator of cheap forces", rich_help_panel="Run"
)
OUTPUT = typer.Option(..., help="folder to write to; it must not hold another run")
RESTART = typer.Option(
    False,
    "--restart",
    help=(
        "continue the run in the folder, to the last bit as if it had not been stopped; a new one"
        " where there is none. CALC, STRUCTURE and settings may be left out; --time may be longer"
    ),
)
UNCERTAINTY = typer.Option(None, help="of a CALC that knows its own: off, warn, stop the run")
THRESHOLD = typer.Option(None, help="eV, standard deviation of the energy of any atom")


def register(app):
    """Add the command to the application."""
    app.command("md", epilog=EPILOG)(md)


def md(
    ctx: typer.Context,
    calc: str = CALC,
    structure: str = STRUCTURE,
    calculator: str = CALCULATOR,
    output: Path = OUTPUT,
    restart: bool = RESTART,
    ensemble: str = OPTIONS["ensemble"],
    temperature: float = OPTIONS["temperature"],
    time: float = OPTIONS["time"],
    timestep: float = OPTIONS["timestep"],
    seed: int = OPTIONS["seed"],
    momenta: str = OPTIONS["momenta"],
    start_temperature: float = OPTIONS["start_temperature"],
    multiple: int = OPTIONS["multiple"],
    fast: str = FAST,
    thermostat: str = OPTIONS["thermostat"],
    thermostat_time: float = OPTIONS["thermostat_time"],
    pressure: float = OPTIONS["pressure"],
    barostat: str = OPTIONS["barostat"],
    barostat_time: float = OPTIONS["barostat_time"],
    interval: int = OPTIONS["interval"],
    thermo_interval: int = OPTIONS["thermo_interval"],
    checkpoint: int = OPTIONS["checkpoint"],
    extxyz: bool = EXTXYZ,
    max_temperature: float = OPTIONS["max_temperature"],
    max_force: float = OPTIONS["max_force"],
    symmetrise: str = MODEL_SYMMETRY,
    dtype: str = DTYPE,
    device: str = DEVICE,
    variant: str = VARIANT,
    orientations: str = ORIENTATIONS,
    uncertainty: str = UNCERTAINTY,
    uncertainty_threshold: float = THRESHOLD,
    json: bool = JSON,
):
    """Molecular dynamics of a structure, in a folder: trajectory, thermo.csv, its plot, and a state
    to restart from.

    Any calculator will do: the name of one, a checkpoint, or --calculator module:factory. At the
    end stand means with standard errors and the drift of the conserved energy. Exit status 1: the
    run exploded, or the model was too uncertain; last_good.traj holds the structure before that.
    """
    given = {
        name: value
        for name, value in ctx.params.items()
        if ctx.get_parameter_source(name).name != "DEFAULT"
    }
    atoms, cheap, values, command = (
        _continued(output, given) if restart and not given.keys() & set(WHAT) else _new(ctx.params)
    )
    result = _run(atoms, output, values, restart=restart, fast=cheap, about={"command": command})
    _finish(result, json)


def _new(params):
    """Atoms, calculator of cheap forces, settings.

    And what settings.toml remembers of the command.
    """
    calc, structure = arguments(*(params[name] for name in WHAT))
    command = {
        "calc": calc,
        **{name: params[name] for name in ("calculator", "fast", *OF_CALC)},
        "structure": structure,
    }
    values = {name: params[name] for name in SETTINGS}
    return _prepared(read(structure, -1), values, command)


def _continued(folder, given):
    """The same of the run in a folder.

    With what was given on the command line in place of what was given then.
    """
    atoms, found = dynamics.folders.beginning(folder), dynamics.folders.read(folder)
    if "command" not in found:
        raise ValueError(
            f"`output` {folder} holds a run that was not begun by `ase-pet md`: give CALC STRUCTURE"
            " and its settings with --restart"
        )
    values = found["settings"] | {name: given[name] for name in SETTINGS if name in given}
    command = found["command"] | {name: given[name] for name in ("fast", *OF_CALC) if name in given}
    return _prepared(atoms, values, command)


def _prepared(atoms, values, command):
    command = {name: value for name, value in command.items() if value is not None}
    calc, calculator, fast = (command.get(name) for name in ("calc", "calculator", "fast"))
    options = {name: command[name] for name in OF_CALC if name in command}
    if "orientations" in options:
        options["orientations"] = grid(options["orientations"])
    dynamics.Settings(**values)  # before minutes of loading
    atoms.calc = load(calc, calculator, **options)
    return atoms, _cheap(calc, fast, values.get("multiple", 1), options), values, command


def _cheap(calc, fast, multiple, options):
    """Calculator of the forces between two corrections, None where there are none."""
    if fast is not None:
        return load(None, fast)
    if multiple == 1:
        return None
    if calc is None:
        raise ValueError(
            "`--multiple` with --calculator: give --fast module:factory, the calculator of cheap"
            " forces"
        )
    plain = {
        name: value
        for name, value in options.items()
        if not name.startswith(("uncertainty", "symmetrise"))
    }
    return load(calc, None, non_conservative="forces", symmetrise="none", **plain)


def _run(atoms, output, values, **options):
    """Result of a run with a progress bar.

    What ends it before its time is one line, and status 1 or that of Ctrl-C.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task, first = progress.add_task("md", total=dynamics.Settings(**values).steps), []
        nanoseconds = 1e-6 * values["timestep"] * values["multiple"]

        def on_step(step, temperature):
            first[:] = first or (step, clock.perf_counter())
            speed = (
                86400 * nanoseconds * (step - first[0]) / max(clock.perf_counter() - first[1], 1e-9)
            )
            progress.update(
                task, completed=step, description=f"{temperature:.0f} K, {speed:.3g} ns/day"
            )

        try:
            return dynamics.run(atoms, output, on_step=on_step, **options, **values)
        except (dynamics.Exploded, TooUncertain) as error:
            message, status = ". ".join([str(error), *getattr(error, "__notes__", ())]), 1
        except KeyboardInterrupt:
            message, status = (
                f"stopped; to continue: ase-pet md --restart --output {output}",
                STOPPED,
            )
    print(f"ase-pet: {message}", file=sys.stderr)
    raise typer.Exit(status)


def _finish(result, json):
    content = {
        "atoms": result.atoms,
        "steps": result.steps,
        "steps_now": result.steps_now,
        "seconds": result.seconds,
        "ns_per_day": result.ns_per_day,
        "settings": result.settings.as_dict(),
        "means": result.summary(),
    }
    try:
        result.plot()
    except ValueError as error:  # the run itself needs no matplotlib
        print(f"ase-pet: {error}", file=sys.stderr)
    path = result.folder / "md.json"
    path.write_text(json_module.dumps(content, indent=1) + "\n", encoding="utf-8")
    content["files"] = sorted(each.name for each in result.folder.iterdir())
    if json:
        print(json_module.dumps(content))
    else:
        _show(content, result.folder)


def _show(content, folder):
    settings, means, table = content["settings"], content["means"], Table(show_header=False)
    table.add_row(
        "run",
        f"{settings['ensemble']}, {content['atoms']} atoms, {content['steps']} steps, "
        f"{settings['time']:g} ps",
        "",
    )
    for name, unit in (("temperature", "K"), ("pressure", "GPa"), ("volume", "A3")):
        if means.get(f"error_{name}_{unit}", 0) > 0:  # a volume that does not change needs no row
            mean, error = (means[f"{kind}_{name}_{unit}"] for kind in ("mean", "error"))
            table.add_row(f"mean {name}", f"{mean:.5g} ± {error:.2g}", unit)
    if "error_drift" in means:
        table.add_row(
            "drift of the conserved energy",
            f"{means['drift_meV_per_atom_per_ps']:.2g} ± {means['error_drift']:.2g}",
            "meV/atom/ps",
        )
        table.add_row("its rms about the line", f"{means['rms_meV_per_atom']:.2g}", "meV/atom")
    if content["ns_per_day"] is not None:
        table.add_row("speed", f"{content['ns_per_day']:.3g}", "ns/day")
    Console().print(table)
    if not means:
        print("no means: thermo.csv has fewer than 20 rows (--thermo-interval)")
    print(f"{folder}: {', '.join(content['files'])}")
