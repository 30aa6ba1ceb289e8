"""`ase-pet check --engine lammps`: the certificate of a calculator in LAMMPS."""

from __future__ import annotations

import json as json_module
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import typer
from rich.table import Table
from rich.text import Text

from . import options, screen
from ._errors import FAILED

ENGINES = ("lammps",)


class Tested(NamedTuple):
    """What the command line says of a calculator.

    Attributes
    ----------
    calc:
        Name, folder or checkpoint.
    factory:
        Value of --calculator, which must be None.
    chosen:
        Options of the calculator.
    """

    calc: str | None
    factory: str | None
    chosen: dict[str, Any]


def run(
    tested: Tested,
    engine: str,
    ranks: int,
    *,
    structure: str | None,
    json: bool,
    seed: int,
) -> None:
    """Compare a calculator in an engine, on ranks of MPI, with itself in ASE.

    Parameters
    ----------
    tested:
        The calculator.
    engine:
        Name of the engine.
    ranks:
        Number of processes.
    structure:
        File of a structure, None for a crystal or molecule of the elements of the calculator.
    json:
        Whether to print JSON.
    seed:
        Seed of displacements and velocities.

    Raises
    ------
    ValueError
        An option is bad, or the engine does not start.
    """
    if engine not in ENGINES:
        raise ValueError(f"`--engine` is {engine!r}: valid choices are {', '.join(ENGINES)}")
    calc = tested.calc
    if calc is None or tested.factory is not None:
        raise ValueError("`--engine` is for calculators of this package: give CALC")
    if ranks < 1:
        raise ValueError(f"`--ranks` is {ranks}: expected a number of processes above 0")
    arguments = {name: value for name, value in tested.chosen.items() if value is not None}
    arguments.setdefault("dtype", "float64")
    calculator = options.load_calculator(calc, None, **arguments)
    from ..engines._evaluation import check_calculator

    check_calculator(calculator, ranks)
    atoms = _structure(calculator, structure)
    rows = _rows(calculator.todict(), atoms, ranks, seed)
    passed = all(row["passed"] for row in rows)
    if json:
        content = {"calculator": calc, "engine": engine, "ranks": ranks}
        screen.print_json({**content, "passed": passed, "results": rows})
    else:
        _show(rows, f"{calc} in {engine} on {ranks} ranks against ASE")
    if not passed:
        raise typer.Exit(FAILED)


def _structure(tested: Any, path: str | None) -> Any:
    """Structure of the comparison: of a file, or a crystal of some tens of atoms."""
    from .. import checks

    if path is not None:
        return options.read_structures(path, -1)
    structures = list(checks.defaults(tested.species).values())
    periodic = [atoms for atoms in structures if atoms.pbc.all()]
    atoms = (periodic or structures)[0]
    # long enough for ranks that have atoms which do not see each other
    return atoms.repeat((2, 2, 1)) if periodic else atoms


def _rows(arguments: dict[str, Any], atoms: Any, ranks: int, seed: int) -> list[dict[str, Any]]:
    """Rows of the program that runs on all ranks."""
    beside_python = Path(sys.executable).parent / "mpiexec"
    mpiexec = str(beside_python) if beside_python.exists() else shutil.which("mpiexec")
    if mpiexec is None:
        raise ValueError(
            "there is no `mpiexec` on the PATH: install an MPI, or the extra `engines`"
        )
    with tempfile.TemporaryDirectory(prefix="ase-pet-check-") as name:
        folder = Path(name)
        atoms.write(folder / "structure.traj")
        model = Path(arguments["model"])
        arguments["model"] = str(model.resolve()) if model.exists() else arguments["model"]
        structure = str(folder / "structure.traj")
        task = {"calculator": arguments, "structure": structure, "seed": seed}
        (folder / "task.json").write_text(json_module.dumps(task), encoding="utf-8")
        program = [sys.executable, "-m", "ase_pet.engines._certificate", "task.json", "rows.json"]
        command = [mpiexec, "-n", str(ranks), *program]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode or not (folder / "rows.json").exists():
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise ValueError(f"LAMMPS did not run on {ranks} ranks: {' '.join(last)}")
        content = (folder / "rows.json").read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = json_module.loads(content)
    return rows


def _show(rows: list[dict[str, Any]], title: str) -> None:
    """Print a table of the results, and their number."""
    table = Table("check", "quantity", "value", "limit", "unit", "status", title=title)
    last = None
    for row in rows:
        limit = "" if row["limit"] is None else f"{row['limit']:.3g}"
        status = Text("pass", "green") if row["passed"] else Text("fail", "bold red")
        check = row["check"] if row["check"] != last else ""
        above = "> " if row["note"] == "must be above" else ""
        table.add_row(
            check, row["quantity"], f"{row['value']:.3g}", above + limit, row["unit"], status
        )
        last = row["check"]
    screen.console(width=120).print(table)
    n_failed = sum(not row["passed"] for row in rows)
    screen.say(f"{len(rows) - n_failed} pass, {n_failed} fail")
