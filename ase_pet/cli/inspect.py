"""Commands that look: list, info, eval."""

import importlib
import json as json_module
import time

import numpy as np
import typer
from ase.data import chemical_symbols
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .. import cards, store
from ..calculator import PETCalculator
from ..train.data import structures
from .checkpoints import list_published

CALCULATOR = typer.Option(
    None, "--calculator", help="module:factory of any ASE calculator, instead of CALC"
)
SYMMETRISE = (
    "none, ecse (:so3, :gentle, :pruned, :force), ecse_layers, group:O, group:I, quadrature:L;"
    " default: of the card"
)
ORIENTATIONS = typer.Option(
    None,
    help=(
        "axes of a PONITA instead of its own: their number, or the name of a grid; "
        "errors on others than in training may be large"
    ),
)
JSON = typer.Option(False, "--json", help="print JSON for programs")


def register(app):
    """Add the commands to the application."""
    app.command("list")(list_calculators)
    app.command("info")(info)
    app.command("eval")(evaluate)


def list_calculators(
    json: bool = JSON,
    published: bool = typer.Option(
        False,
        "--published",
        help="the published checkpoints instead: in the cache, and in the repository if online",
    ),
):
    """List the shipped calculators, or the published checkpoints."""
    if published:
        list_published(json)
        return
    rows = [{"name": name, **_summary(store.load(name))} for name in store.shipped()]
    if json:
        print(json_module.dumps(rows))
        return
    table = Table("name", "species", "cutoff (A)", "model", "symmetrise", "dtype")
    for row in rows:
        table.add_row(
            row["name"],
            " ".join(row["species"]),
            f"{row['cutoff']:g}",
            row["model"],
            row["symmetrise"],
            row["dtype"],
        )
    Console().print(table)
    print("published checkpoints: ase-pet list --published")


def info(
    calc: str = typer.Argument(help="name, calculator folder or checkpoint"),
    structure: str = typer.Argument(None, help="file to evaluate once"),
    symmetrise: str = typer.Option(None, help=SYMMETRISE),
    variant: str = typer.Option(None, help="energy head of a model with several"),
    orientations: str = ORIENTATIONS,
    json: bool = JSON,
):
    """Say what a calculator is and, with a structure, its energy, largest force.

    And what symmetrisation costs.
    """
    model, card = store.load(calc)
    content = (
        {"name": card.name}
        | _summary((model, card))
        | {
            "heads": list(getattr(model.settings, "heads", {"energy": 1})),
            "parameters": sum(p.numel() for p in model.parameters()),
            "provenance": card.provenance,
        }
    )
    if structure:
        content["structure"] = _evaluated(
            read(structure, -1),
            PETCalculator(
                calc, symmetrise=symmetrise, variant=variant, orientations=grid(orientations)
            ),
        )
    if json:
        print(json_module.dumps(content, default=str))  # a card may hold dates
        return
    table = Table(show_header=False)
    for key, value in content.items():
        table.add_row(
            key,
            Text(
                ", ".join(value) if isinstance(value, list) else "\n".join(cards.lines(value)),
                overflow="fold",
            ),
        )
    Console().print(table)


def _evaluated(atoms, calculator):
    """What `info` says of a structure.

    The cost comes first, as it is predicted before anything runs.
    """
    cost = calculator.cost(atoms)
    if cost:
        typer.echo(
            f"predicted: {cost['evaluations_per_atom']:.4g} evaluations for each atom,"
            f" {cost['ratio']:.4g} times the work of the plain model",
            err=True,
        )
    found = {"formula": str(atoms.symbols), "atoms": len(atoms)} | cost
    start = time.perf_counter()
    atoms.calc = calculator
    return found | {
        "energy": atoms.get_potential_energy(),
        "largest_force": float(np.linalg.norm(atoms.get_forces(), axis=1).max()),
        "seconds": round(time.perf_counter() - start, 3),
    }


def evaluate(
    calc: str = typer.Argument(None),
    data: str = typer.Argument(None),
    calculator: str = CALCULATOR,
    split: str = typer.Option(None, help="only structures whose info['split'] is this"),
    symmetrise: str = typer.Option(None, help="as in `info`"),
    shift: bool = typer.Option(
        False, "--shift", help="take out the mean error of the energies per atom"
    ),
    orientations: str = ORIENTATIONS,
    json: bool = JSON,
):
    """Errors of a calculator against the energies, forces, stresses and dipoles in a data file."""
    if calculator and data is None:
        calc, data = None, calc
    if data is None or (calc is None) == (calculator is None):
        raise ValueError("give CALC DATA, or --calculator module:factory DATA")
    frames = [
        atoms for atoms in read(data, ":") if split is None or atoms.info.get("split") == split
    ]
    if not frames:
        raise ValueError(f"`{data}` holds no structures{f' of split {split!r}' if split else ''}")
    found = compare(
        load(calc, calculator, symmetrise=symmetrise, orientations=grid(orientations)),
        frames,
        shift,
    )
    if json:
        print(json_module.dumps(found))
        return
    table = Table("", "RMSE", "MAE", "rms of reference", "unit", title=f"{len(frames)} structures")
    for name, row in found.items():
        table.add_row(name, *(f"{row[key]:.4g}" for key in ("rmse", "mae", "rms")), row["unit"])
    Console().print(table)


def read(path, index):
    """What ASE reads from a file.

    Raises ValueError or OSError that names the file, whatever ASE stumbled over.
    """
    try:
        return structures(path, index)
    except Exception as error:  # readers of some hundred formats, each with errors of its own
        if (
            isinstance(error, OSError) and error.errno
        ):  # the system's own: no such file, no permission
            raise
        raise ValueError(
            f"`{path}` cannot be read as structures: {type(error).__name__}: {error}"
        ) from None


def grid(text):
    """`orientations` of what was given on the command line: a number where it is one."""
    return int(text) if text is not None and text.isdecimal() else text


def load(calc, calculator, **options):
    """The calculator named by CALC with options of PETCalculator, or made by `module:factory`.

    Which takes none.
    """
    if calculator is None:
        return PETCalculator(calc, **options)
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise ValueError(
            f"`--{given[0].replace('_', '-')}` is for calculators of this package: expected CALC,"
            " not --calculator"
        )
    module, _, factory = calculator.partition(":")
    try:
        return getattr(importlib.import_module(module), factory)()
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"`--calculator` {calculator!r}: {error}; expected module:factory"
        ) from None


def compare(calc, frames, shift=False):
    """{name: {rmse, mae, rms, unit}} of a calculator against labelled Atoms; energies per atom in
    meV.

    shift: take the mean error of the energies per atom out of them. A label without a counterpart
    is not compared.
    """
    pairs = {"energy": [], "forces": [], "stress": [], "dipole": []}
    for atoms in frames:
        labels = atoms.calc.results if atoms.calc is not None else {}
        trial = atoms.copy()
        trial.calc = calc
        if "forces" in labels:
            pairs["forces"].append((1e3 * labels["forces"], 1e3 * trial.get_forces()))
        if "energy" in labels:
            scale = 1e3 / len(atoms)
            pairs["energy"].append((scale * labels["energy"], scale * trial.get_potential_energy()))
        if "stress" in labels:
            pairs["stress"].append(
                (160.21766208 * labels["stress"], 160.21766208 * trial.get_stress())
            )
        if "dipole" in labels and "dipole" in getattr(calc, "implemented_properties", ()):
            pairs["dipole"].append((labels["dipole"], trial.get_dipole_moment()))
    units = {"energy": "meV/atom", "forces": "meV/A", "stress": "GPa", "dipole": "e A"}
    return {
        name: _errors(values, units[name], shift and name == "energy")
        for name, values in pairs.items()
        if values
    }


def _errors(values, unit, shift):
    reference, found = (np.concatenate([np.ravel(pair[k]) for pair in values]) for k in (0, 1))
    difference = found - reference
    if shift:
        difference -= difference.mean()
    return {
        "rmse": float(np.sqrt(np.mean(difference**2))),
        "mae": float(np.mean(np.abs(difference))),
        "rms": float(np.sqrt(np.mean(reference**2))),
        "unit": unit,
    }


def _summary(loaded):
    model, card = loaded
    return {
        "species": [chemical_symbols[z] for z in model.species],
        "cutoff": model.cutoff,
        "model": type(model).__module__.rsplit(".", 1)[-1],
        "symmetrise": card.symmetrise,
        "dtype": card.dtype,
    }
