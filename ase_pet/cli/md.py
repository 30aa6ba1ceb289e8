"""`ase-pet md`: molecular dynamics of a structure, in a folder."""

from __future__ import annotations

import dataclasses
import inspect
import time
import traceback
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..md.settings import Settings, meaning
from . import md_plan, options, screen

if TYPE_CHECKING:
    from ..md import Result

INTERRUPTED = 130  # exit status of shells for Ctrl-C


def settings_options(settings: type) -> list[inspect.Parameter]:
    """Parameters of a command, one for each field of a dataclass of settings.

    Defaults and types are those of the fields, whose metadata hold "help", "unit", "panel" and
    "choices".

    Parameters
    ----------
    settings:
        Dataclass.
    """
    types = typing.get_type_hints(settings)
    parameters = []
    for field in dataclasses.fields(settings):
        # a flag for True only: the default of a setting that is a bool is False
        flag = f"--{field.name.replace('_', '-')}"
        parse = field.metadata["parse"]
        aliases = [f"--{name.replace('_', '-')}" for name in field.metadata["aliases"]]
        # names are stated where they are not the default of typer
        option = typer.Option(
            *([flag, *aliases] if aliases or types[field.name] is bool else []),
            help=meaning(field.metadata),
            rich_help_panel=field.metadata["panel"],
            parser=parse,
        )
        # values of other types, such as ramps, are parsed from their text
        kind = str if parse else types[field.name]
        parameter = inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=Annotated[kind, option],
        )
        parameters.append(parameter)
    return parameters


@options.with_options(
    options.structure_options(), settings_options(Settings), options.calculator_options()
)
def command(
    ctx: typer.Context,
    calc: options.Calc = None,
    structure: options.Structure = None,
    *,
    calculator: str | None = None,
    output: options.Output,
    restart: options.Restart = False,
    repeat: str | None = None,
    fast: str | None = None,
    inner: str | None = None,
    uncertainty: str | None = None,
    uncertainty_threshold: float | None = None,
    json: options.Json = False,
    **more: Any,
) -> None:
    """Run molecular dynamics in a folder, from which it can be restarted.

    The folder holds the trajectory, thermo.csv, a plot of it, the last structure (final.extxyz),
    and the state for restarts. Works with any ASE calculator: a name, a checkpoint, or --calculator
    module:factory. At the end, means with standard errors and the drift of the conserved energy are
    printed. Exit status 1: the run became unstable, or the model too uncertain; last_good.traj
    holds the structure before that.

    Parameters
    ----------
    ctx:
        Context of the command, which knows the options that were given.
    calc:
        Name, calculator folder or checkpoint.
    structure:
        File of the structure; the last one is used if it holds several.
    calculator:
        module:factory of any ASE calculator, instead of CALC.
    output:
        Folder to write to; it must not hold another run.
    restart:
        Continue the run in the folder bit-exactly, or start one if there is none. STRUCTURE and
        settings may be left out, CALC and --inner if they are names of calculators; paths,
        --calculator and --fast are repeated. --time may be longer. --resume is an alias.
    repeat:
        Repeat the structure along its cell vectors, such as 2,2,2.
    fast:
        module:factory of the ASE calculator of the cheap forces of --inner-steps; default: the
        direct forces of CALC, if it predicts them.
    inner:
        Calculator of the cheap forces of --inner-steps: plain (CALC without its symmetriser), or
        the name or path of another calculator.
    uncertainty:
        Action when the predicted uncertainty is too high: off, warn, stop (the run); default: off.
        For checkpoints with uncertainties.
    uncertainty_threshold:
        Highest standard deviation of the energy of an atom in eV; default: 0.1.
    json:
        Print JSON for programs.
    more:
        --format, options of the calculator, and fields of ase_pet.md.Settings.

    Examples
    --------
    Example: ase-pet md silicon start.extxyz --ensemble nvt --temperature 300 --time 10 --output
    run; to resume an interrupted run: ase-pet md --restart --output run; heating and cooling:
    --ensemble nvt --temperature 300:1200:300 --time 20; exact symmetry at a low cost: --symmetrise
    ecse --inner plain --inner-steps 8
    """
    given = {}
    for name, value in ctx.params.items():
        source = ctx.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":
            given[name] = value
    # one argument is the structure if --calculator is given, else the calculator
    without_structure = structure is None and (calc is None or calculator is None)
    continued = restart and without_structure
    plan = md_plan.continued(output, given) if continued else md_plan.new(ctx.params, given)
    result = _run(plan, output, restart)
    _finish(result, json)


def _run(plan: md_plan.Plan, output: Path, restart: bool) -> Result:
    """Result of a run with a progress bar; a run that ends early is one line and an exit status."""
    from .. import md
    from ..uncertainty_policy import TooUncertain

    settings = Settings(**plan.settings)
    ns_per_step = 1e-6 * settings.timestep * settings.multiple
    start: list[float] = []  # step and time in s of the first call, as a restart is at a later step

    with screen.progress("md") as report:

        def on_step(step: int, temperature: float) -> None:
            now = time.perf_counter()
            if not start:
                start.extend((step, now))
            days = max(now - start[1], 1e-9) / 86400
            speed = ns_per_step * (step - start[0]) / days
            before = settings.of_equilibration().steps if settings.equilibrate else 0
            text = f"{temperature:.0f} K, {speed:.3g} ns/day"
            # steps of the equilibration are negative
            report(text, step + before, settings.steps + before)

        try:
            result: Result = md.run(
                plan.atoms,
                output,
                on_step=on_step,
                restart=restart,
                fast=plan.fast,
                about={"command": plan.command},
                **plan.settings,
            )
            return result
        except (md.UnstableRun, TooUncertain) as error:
            notes = traceback.format_exception_only(error)[1:]
            message = ". ".join([str(error), *(note.strip() for note in notes)])
            if isinstance(error, TooUncertain):
                message += (
                    " (--uncertainty-threshold, --uncertainty). An atom of a training structure may"
                    " be as uncertain: compare with those"
                )
            status = 1
        except KeyboardInterrupt:
            message = f"stopped; to continue: {md_plan.again(plan, output)}"
            status = INTERRUPTED
    screen.complain(message)
    raise typer.Exit(status)


def _finish(result: Result, json: bool) -> None:
    """Write md.json, the plot and report.html, and show the summary."""
    from ..md import report

    content: dict[str, Any] = {
        "atoms": result.atoms,
        "steps": result.steps,
        "steps_now": result.steps_now,
        "seconds": result.seconds,
        "ns_per_day": result.ns_per_day,
        "settings": result.settings.as_dict(),
        "means": result.summary(),
        "equilibration": result.equilibration(),
        "ramp": result.ramp_parts(),
        "inner_steps": result.inner_steps(),
    }
    screen.write_json(result.folder / "md.json", content)
    try:
        report.write(result.folder)  # and its plot
    except ValueError as error:  # the run itself needs no matplotlib
        screen.complain(error)
    content["files"] = sorted(path.name for path in result.folder.iterdir())
    if json:
        screen.print_json(content)
        return
    screen.console().print(_table(result, content))
    if not content["means"] and not content["ramp"]:
        screen.say(report.too_short(result.thermo()))
    screen.say(f"{result.folder}: {', '.join(content['files'])}")


def _table(result: Result, content: dict[str, Any]) -> Any:
    """Table of the summary of a run."""
    from rich.table import Table

    from ..md import report

    settings = result.settings
    table = Table(show_header=False)
    size = f"{result.atoms} atoms, {result.steps} steps, {settings.time:g} ps"
    table.add_row("run", f"{settings.ensemble}, {size}", "")
    parts = (content["means"], content["equilibration"], content["ramp"])
    for quantity, value, unit in report.summary_rows(settings, *parts):
        table.add_row(quantity, value, unit)
    for quantity, value, unit in report.inner_rows(content["inner_steps"]):
        table.add_row(quantity, value, unit)
    if content["ns_per_day"] is not None:
        table.add_row("speed", f"{content['ns_per_day']:.3g}", "ns/day")
    return table
