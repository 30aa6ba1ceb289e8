"""The check command."""

import json as json_module
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

from .. import checks, store
from .inspect import CALCULATOR, JSON, ORIENTATIONS, SYMMETRISE, grid, load, read

COLOURS = {"pass": "green", "fail": "bold red", "not applicable": "dim", "info": ""}
WIDTH = 140  # of the table in a file


def register(app):
    """Add the command to the application."""
    app.command("check")(check)


def check(
    calc: str = typer.Argument(None, help="name, calculator folder or checkpoint"),
    calculator: str = CALCULATOR,
    structure: str = typer.Option(
        None,
        "--structure",
        help=(
            "file; each of its structures is used; default: made from the species of the calculator"
        ),
    ),
    species: str = typer.Option(None, help="such as 'Cu Ni', where the calculator does not say"),
    full: bool = typer.Option(
        False, "--full/--quick", help="with long checks, longer runs, all pairs of elements"
    ),
    only: str = typer.Option(None, help="checks to run, separated by commas"),
    symmetrise: str = typer.Option(None, help=SYMMETRISE),
    orientations: str = ORIENTATIONS,
    dtype: str = typer.Option(
        None, help="float32 or float64: of CALC; of another calculator, the limits to apply"
    ),
    temperature: float = typer.Option(300.0, help="K, of the runs of molecular dynamics"),
    html: Path = typer.Option(None, help="report with plots, one file"),
    card: bool = typer.Option(
        False, "--card", help="write the result into the card (README.md) of CALC"
    ),
    json: bool = JSON,
):
    """Check a calculator against the laws of physics; exit status 1 if a check fails.

    What each check measures, and what its failure means: docs/guides/checks.md, or the report of
    --html.
    """
    _early(calc, calculator, html, card)
    tested = load(
        calc,
        calculator,
        symmetrise=symmetrise,
        orientations=grid(orientations),
        **({} if calc is None else {"dtype": dtype}),
    )
    structures = None if structure is None else read(structure, ":")
    chosen = only.split(",") if only else checks.names("full" if full else "quick")
    symbols = species.replace(",", " ").split() if species else None
    results = _run(
        tested,
        structures,
        chosen,
        species=symbols,
        level="full" if full else "quick",
        dtype=dtype,
        temperature=temperature,
    )
    options = _options(
        {
            "--full": full,
            "--symmetrise": symmetrise,
            "--orientations": orientations,
            "--dtype": dtype,
            "--structure": structure,
            "--only": only,
        }
    )
    if html is not None:
        html.write_text(
            checks.html(results, f"{calc or calculator} {options}".strip()), encoding="utf-8"
        )
    if card:
        store.write_section(calc, *_section(calc, options, results))
    if json:
        print(
            json_module.dumps(
                {
                    "calculator": calc or calculator,
                    "passed": _passed(results),
                    "results": [result.as_dict() for result in results],
                }
            )
        )
    else:
        _show(results, f"{calc or calculator} {options}".strip())
    raise typer.Exit(0 if _passed(results) else 1)


def _early(calc, calculator, html, card):
    """Refuse now what would fail after minutes."""
    if (calc is None) == (calculator is None):
        raise ValueError("give CALC, or --calculator module:factory")
    if card and calculator is not None:
        raise ValueError("`--card` is for calculator folders: expected CALC, not --calculator")
    if card and not (store.find(calc) / store.CARD).is_file():
        raise ValueError(f"`--card`: `{calc}` is no calculator folder and has no card")
    if html is not None:
        checks.html([])  # where matplotlib is missing
        html.parent.mkdir(parents=True, exist_ok=True)
        if html.is_dir():
            raise ValueError(f"`--html`: `{html}` is a folder: expected the name of a file")


def _options(given):
    """Text of the options that were given, as on the command line."""
    return " ".join(
        name if value is True else f"{name} {value}" for name, value in given.items() if value
    )


def _section(calc, options, results):
    """Title and body of the section of a card."""
    command = " ".join(filter(None, ("ase-pet check", store.find(calc).name, options, "--card")))
    return f"Checks{f' ({options})' if options else ''}", f"`{command}`: {checks.markdown(results)}"


def _run(tested, structures, chosen, **options):
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("checks", total=len(chosen))
        started = []

        def on_check(name):
            progress.update(task, description=name, completed=len(started))
            started.append(name)

        return checks.run(tested, structures, only=chosen, on_check=on_check, **options)


def _passed(results):
    return not any(result.status == "fail" for result in results)


def _show(results, title):
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    table = Table(
        *(
            Column(name, no_wrap=True)
            for name in ("check", "quantity", "value", "limit", "unit", "")
        ),
        "note",
        title=f"checks of {title}",
    )
    last = None
    for result in results:
        value = "" if result.value is None else f"{result.value:.3g}"
        table.add_row(
            result.check if result.check != last else "",
            result.quantity,
            value,
            result.range,
            result.unit,
            Text(result.status, style=COLOURS[result.status]),
            Text(": ".join(filter(None, (result.structure, result.note)))),
        )
        last = result.check
    console.print(table)
    counts = {kind: sum(result.status == kind for result in results) for kind in COLOURS}
    print(", ".join(f"{count} {kind}" for kind, count in counts.items() if count))
