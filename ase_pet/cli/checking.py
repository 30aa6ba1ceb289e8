"""The check command."""

import json as json_module
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

from .. import checks
from .inspect import CALCULATOR, JSON, ORIENTATIONS, SYMMETRISE, grid, load, read

COLOURS = {"pass": "green", "fail": "bold red", "not applicable": "dim", "info": ""}
WIDTH = 140  # of the table in a file


def register(app):
    """Add the command to the application."""
    app.command("check")(check)


def check(calc: str = typer.Argument(None, help="name, calculator folder or checkpoint"), calculator: str = CALCULATOR,
          structure: str = typer.Option(None, "--structure", help="file; each of its structures is used; default: made from "
                                        "the species of the calculator"),
          species: str = typer.Option(None, help="such as 'Cu Ni', where the calculator does not say"),
          full: bool = typer.Option(False, "--full/--quick", help="with long checks, longer runs, all pairs of elements"),
          only: str = typer.Option(None, help="checks to run, separated by commas"),
          symmetrise: str = typer.Option(None, help=SYMMETRISE),
          orientations: str = ORIENTATIONS,
          dtype: str = typer.Option(None, help="float32 or float64: of CALC; of another calculator, the limits to apply"),
          temperature: float = typer.Option(300.0, help="K, of the runs of molecular dynamics"),
          html: Path = typer.Option(None, help="report with plots, one file"), json: bool = JSON):
    """Check a calculator against the laws of physics; exit status 1 if a check fails."""
    if (calc is None) == (calculator is None):
        raise ValueError("give CALC, or --calculator module:factory")
    if html is not None:
        checks.html([])  # fails now, not after minutes, where matplotlib is missing
    tested = load(calc, calculator, symmetrise=symmetrise, orientations=grid(orientations),
                  **({} if calc is None else {"dtype": dtype}))
    structures = None if structure is None else read(structure, ":")
    chosen = only.split(",") if only else checks.names("full" if full else "quick")
    symbols = species.replace(",", " ").split() if species else None
    results = _run(tested, structures, chosen, species=symbols, level="full" if full else "quick", dtype=dtype,
                   temperature=temperature)
    title = calc or calculator
    if html is not None:
        html.write_text(checks.html(results, title), encoding="utf-8")
    if json:
        print(json_module.dumps({"calculator": title, "passed": _passed(results), "results": [
            result.as_dict() for result in results]}))
    else:
        _show(results, title)
    raise typer.Exit(0 if _passed(results) else 1)


def _run(tested, structures, chosen, **options):
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
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
    table = Table(*(Column(name, no_wrap=True) for name in ("check", "quantity", "value", "limit", "unit", "")), "note",
                  title=f"checks of {title}")
    last = None
    for result in results:
        value = "" if result.value is None else f"{result.value:.3g}"
        table.add_row(result.check if result.check != last else "", result.quantity, value, result.range, result.unit,
                      Text(result.status, style=COLOURS[result.status]),
                      Text(": ".join(filter(None, (result.structure, result.note)))))
        last = result.check
    console.print(table)
    counts = {kind: sum(result.status == kind for result in results) for kind in COLOURS}
    print(", ".join(f"{count} {kind}" for kind, count in counts.items() if count))
