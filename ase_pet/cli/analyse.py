"""`ase-pet analyse`: structure, motion and thermodynamics of a trajectory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options, screen
from ._results import require_writable

if TYPE_CHECKING:
    from ..analysis import Analysis, Results

Sources = Annotated[list[str], typer.Argument(show_default=False)]
FOLDER = "analysis"  # in the folder of a run


def command(
    sources: Sources,
    *,
    output: Path | None = None,
    timestep_between_frames: float | None = None,
    ensemble: str | None = None,
    skip: float | None = None,
    cutoff: float = 8.0,
    html: Annotated[bool, typer.Option("--html")] = False,
    json: options.Json = False,
) -> None:
    """Structure, motion, vibrations and thermodynamics of a trajectory.

    Radial distribution functions and coordination numbers, mean square displacement and diffusion
    coefficients, vibrational density of states, heat capacity, thermal expansion, and means of
    temperature, pressure, density and lattice, with standard errors. The equilibration is detected
    and left out. Each analysis is written as JSON, CSV and PNG. Several runs in npt at different
    temperatures give the thermal expansion.

    Parameters
    ----------
    sources:
        Folder of a run, file that ASE reads, or pattern in quotes such as "part*.traj"; or several
        folders or files, for the thermal expansion.
    output:
        Folder to write to; default: the folder analysis in that of the run, and for other files
        nothing is written.
    timestep_between_frames:
        Time between frames in fs; default: that of time_ps in the frames.
    ensemble:
        nve, nvt or npt, for the heat capacity; default: that of the run.
    skip:
        Fraction of the trajectory, by its length in ps, to leave out at the start; default: the
        equilibration is detected.
    cutoff:
        Largest distance of the radial distribution functions in A.
    html:
        Write report.html into the folder of the run, with these results.
    json:
        Print JSON for programs.

    Examples
    --------
    Example: ase-pet analyse run; ase-pet analyse liquid.extxyz --timestep-between-frames 10
    --output analysis; ase-pet analyse run_300K run_600K run_900K --output expansion
    """
    if output is not None:
        require_writable(output)
    if len(sources) > 1:
        _expansion(sources, output, json)
        return
    from .. import analysis

    source = Path(sources[0])
    results = analysis.analyse(
        source, interval=timestep_between_frames, ensemble=ensemble, skip=skip, cutoff=cutoff
    )
    if output is None and source.is_dir():
        output = source / FOLDER
    paths = [] if output is None else results.write(output)
    if html:
        from ..md import report

        paths.append(report.write(source, output))
    if json:
        screen.print_json(results.as_dict() | {"files": [str(path) for path in paths]})
        return
    _show(results)
    for path in paths:
        screen.say(path)


def _expansion(sources: list[str], output: Path | None, json: bool) -> None:
    """Thermal expansion of several runs."""
    from .. import analysis

    result = analysis.thermal_expansion(sources)
    paths = [] if output is None else result.write(output)
    if json:
        screen.print_json(result.as_dict() | {"files": [str(path) for path in paths]})
        return
    screen.console().print(_table([result]))
    for note in result.notes:
        screen.say(note)
    for path in paths:
        screen.say(path)


def _show(results: Results) -> None:
    """Print the results as a table, and what was not possible."""
    content = results.as_dict()
    start = content["equilibrated_from_frame"]
    begin = "no equilibrium" if start is None else f"equilibrated from frame {start}"
    screen.say(f"{content['system']}: {content['frames']} frames, {begin}")
    screen.console().print(_table(list(results.analyses.values())))
    notes = [note for analysis in results.analyses.values() for note in analysis.notes]
    for note in notes:
        screen.say(note)
    # one line for each reason
    for reason in dict.fromkeys(results.skipped.values()):
        names = [name for name, text in results.skipped.items() if text == reason]
        screen.say(f"no {', '.join(names)}: {reason}")


def _table(analyses: list[Analysis]) -> Any:
    """Table of the values of analyses."""
    from rich.table import Table

    from ..md.report import text

    table = Table(show_header=False)
    for analysis in analyses:
        # its notes say why
        if not analysis.values:
            continue
        table.add_row(analysis.title, "", style="bold")
        for name, value in analysis.values.items():
            table.add_row(f"  {name}", text(value))
    return table
