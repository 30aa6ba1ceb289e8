"""`ase-pet check`: a calculator against the laws of physics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.table import Column, Table
from rich.text import Text

from .. import plugins
from . import options, screen
from ._results import require_writable

COLOURS = {"pass": "green", "fail": "bold red", "not applicable": "dim", "info": ""}
WIDTH = 100  # columns of the table in a file
NARROW = 120  # columns below which notes follow the table
INTERRUPTED = 130  # exit status after Ctrl-C, as of programs of Unix
Only = Annotated[str | None, typer.Option(help=f"{', '.join(plugins.names('ase_pet.checks'))}.")]


@options.with_options(
    options.calculator_options(
        dtype_help="Precision of CALC: float32, float64; with --calculator: of the limits to apply."
    )
)
def command(
    calc: options.Calc = None,
    *,
    calculator: str | None = None,
    structure: str | None = None,
    species: str | None = None,
    full: Annotated[bool, typer.Option("--full/--quick")] = False,
    only: Only = None,
    temperature: float = 300.0,
    html: Path | None = None,
    card: Annotated[bool, typer.Option("--card")] = False,
    workers: options.Workers = 1,
    json: options.Json = False,
    seed: int = 0,
    engine: Annotated[str | None, typer.Option(show_default=False)] = None,
    ranks: int = 2,
    **chosen: Any,
) -> None:
    """Check a calculator against the laws of physics; exit status 1 if a check fails.

    It is also 1 if no check applies, as nothing was shown then, and 130 after Ctrl-C, which keeps
    the results so far. Below the table is what helps against each failure. The report of --html
    explains what each check measures and what its failure means.

    Parameters
    ----------
    calc:
        Name, calculator folder or checkpoint.
    calculator:
        module:factory of any ASE calculator, instead of CALC.
    structure:
        File, of which each structure is used; default: structures built from the species of the
        calculator.
    species:
        Elements, e.g. 'Cu Ni', if the calculator does not list them.
    full:
        Add the slow checks (dense, nvt, memory), longer runs and all pairs of elements.
    only:
        Checks to run, separated by commas:
    temperature:
        Temperature of the MD runs in K.
    html:
        HTML file to write a report with plots to.
    card:
        Write the result into the card (README.md) of CALC.
    workers:
        Processes that share checks and structures; each computes with one thread, or
        OMP_NUM_THREADS.
    json:
        Print JSON for programs.
    seed:
        Seed of displacements, velocities and random directions.
    engine:
        Instead of these checks, compare the calculator in an engine (lammps) with itself in ASE:
        energies, forces, pressures, a trajectory, migration, an empty and a failing process.
    ranks:
        Processes of --engine.
    chosen:
        Options of the calculator, `options.CALCULATOR`.

    Examples
    --------
    Example: ase-pet check silicon --only gradients,nve --html report.html
    """
    from .. import checks, store

    if engine is not None:
        return _in_engine(calc, calculator, engine, ranks, structure, json, seed, chosen)
    _check_arguments(calc, calculator, html, card, temperature)
    level = "full" if full else "quick"
    names = _names(only, level)
    structures = None if structure is None else options.read_structures(structure, ":")
    # dtype of a foreign calculator sets the limits only
    dtype = chosen["dtype"]
    of_calculator = {**chosen, "dtype": None if calc is None else dtype}
    tested = options.load_calculator(calc, calculator, **of_calculator)
    results, finished = _run(
        tested,
        structures,
        names,
        workers,
        species=species.replace(",", " ").split() if species else None,
        level=level,
        dtype=dtype,
        temperature=temperature,
        seed=seed,
    )

    given = _command_line(
        {
            "--full": full,
            **{f"--{name}": value for name, value in chosen.items()},
            "--structure": structure,
            "--only": only,
        }
    )
    title = f"{calc or calculator} {given}".strip()
    description = checks.describe(tested, None if calc is None else store.find(calc))
    done = {result.check for result in results}
    unfinished = "" if finished else f"Interrupted after {len(done)} of {len(names)} checks."
    status = _exit_status(results, finished)
    if json:
        screen.print_json(
            {
                "calculator": calc or calculator,
                "passed": status == 0,
                "complete": finished,
                "description": description,
                "versions": checks.versions(),
                "results": [result.as_dict() for result in results],
            }
        )
    else:
        _show(results, title, description)
    # after the output: a disk that is full takes the files, but not the results
    if html is not None:
        html.write_text(checks.html(results, title, description, unfinished), encoding="utf-8")
    if card and calc is not None and finished:
        store.write_section(calc, *_section(calc, given, results))
    if unfinished:
        screen.complain(unfinished)
    elif not any(result.status in ("pass", "fail") for result in results):
        screen.complain("no check applies: nothing was shown")
    raise typer.Exit(status)


def _exit_status(results: Sequence[Any], finished: bool) -> int:
    """130 after an interrupt; 1 where a check failed or none passed; else 0."""
    if not finished:
        return INTERRUPTED
    statuses = {result.status for result in results}
    return 0 if "pass" in statuses and "fail" not in statuses else 1


def _in_engine(
    calc: str | None,
    calculator: str | None,
    engine: str,
    ranks: int,
    structure: str | None,
    json: bool,
    seed: int,
    chosen: dict[str, Any],
) -> None:
    """Compare the calculator in an engine with itself in ASE."""
    from . import _engine_check

    tested = _engine_check.Tested(calc, calculator, chosen)
    _engine_check.run(tested, engine, ranks, structure=structure, json=json, seed=seed)


def _check_arguments(
    calc: str | None, calculator: str | None, html: Path | None, card: bool, temperature: float
) -> None:
    """Refuse now what would fail after minutes."""
    from .. import checks, store

    options.check_positive(temperature=temperature)
    if (calc is None) == (calculator is None):
        raise ValueError("give CALC, or --calculator module:factory")
    if card:
        if calc is None:
            raise ValueError("`--card` is for calculator folders: expected CALC, not --calculator")
        if not (store.find(calc) / store.CARD).is_file():
            raise ValueError(f"`--card`: `{calc}` is no calculator folder and has no card")
    if html is not None:
        checks.html([])  # fails where matplotlib is missing
        if html.is_dir():
            raise ValueError(f"`--html`: `{html}` is a folder: expected the name of a file")
        require_writable(html.parent, "--html")
        html.parent.mkdir(parents=True, exist_ok=True)


def _names(only: str | None, level: str) -> list[str]:
    """Names of the checks to run, known to exist."""
    from .. import checks

    names: list[str] = only.split(",") if only else checks.names(level)
    for name in names:
        plugins.load("ase_pet.checks", name)
    return names


def _command_line(given: dict[str, Any]) -> str:
    """Options that were given, as on the command line."""
    words = []
    for name, value in given.items():
        if value:
            words.append(name if value is True else f"{name} {value}")
    return " ".join(words)


def _section(calc: str, given: str, results: Sequence[Any]) -> tuple[str, str]:
    """Title and body of the section of a card."""
    from .. import checks, store

    words = ["ase-pet check", store.find(calc).name, given, "--card"]
    command = " ".join(word for word in words if word)
    title = f"Checks ({given})" if given else "Checks"
    return title, f"`{command}`: {checks.markdown(results)}"


def _run(
    tested: Any, structures: Any, names: list[str], workers: int, **settings: Any
) -> tuple[list[Any], bool]:
    """Results of the checks, and whether all ran; with a progress bar."""
    from .. import checks
    from ..executors import processes

    started: list[str] = []
    with screen.progress("checks") as report:

        def on_check(name: str) -> None:
            report(name, len(started), len(names))
            started.append(name)

        results: list[Any] = []
        try:
            with processes(workers) as executor:
                checks.run(
                    tested,
                    structures,
                    only=names,
                    on_check=on_check,
                    on_results=results.extend,
                    executor=executor,
                    **settings,
                )
        except KeyboardInterrupt:
            return results, False
    return results, True


def _table(results: Sequence[Any], title: str, narrow: bool) -> Table:
    """Table of the results; a narrow one has no title, no notes, no lines between its columns."""
    from .. import checks

    names = ("check", "quantity", "value", "limit", "unit", "status", "severity")
    columns = [Column(name, no_wrap=True) for name in names[: 5 if narrow else 7]]
    if narrow:
        columns.append(Column("status", no_wrap=False))
        table = Table(*columns, box=SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    else:
        table = Table(*columns, "note", title=title)
    last = None
    for result in results:
        missing = "error" if result.status == "fail" else ""
        status = Text(result.status, style=COLOURS[result.status])
        severity = checks.severity(result)
        row = [
            result.check if result.check != last else "",  # is named in its first row only
            result.quantity,
            missing if result.value is None else f"{result.value:.3g}",
            result.range,
            result.unit,
        ]
        if narrow:
            table.add_row(*row, Text.assemble(status, f" {severity}" if severity else ""))
        else:
            note = ": ".join(text for text in (result.structure, result.note) if text)
            table.add_row(*row, status, severity, note)
        last = result.check
    return table


def _show(results: Sequence[Any], title: str, description: Mapping[str, Any]) -> None:
    """Print a table of the results, their number, what helps, and what was checked."""
    from .. import checks

    console = screen.console()
    if not console.is_terminal:
        console = screen.console(width=WIDTH)
    # a narrow terminal has no room for notes: those of failures follow the table
    narrow = console.width < NARROW
    title = f"checks of {title}"
    # the title of a table is broken where the table ends, in the middle of a path too
    if narrow:
        screen.say(title)
    console.print(_table(results, title, narrow))
    for result in results:
        if narrow and result.note and result.status in ("fail", "not applicable"):
            where = f" ({result.structure})" if result.structure else ""
            screen.say(f"{result.check}, {result.quantity}{where}: {result.note}")
    counts = {kind: sum(result.status == kind for result in results) for kind in COLOURS}
    screen.say(", ".join(f"{count} {kind}" for kind, count in counts.items() if count))
    remedies = {result.check: result.remedy for result in results if result.remedy}
    for name, remedy in remedies.items():
        screen.say(f"What helps against {name}: {remedy}")
    screen.say(checks.sentence(description))
    screen.say(", ".join(f"{name} {version}" for name, version in checks.versions().items()))
