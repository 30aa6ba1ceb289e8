"""`ase-pet info`: what a calculator is."""

from __future__ import annotations

import re
import time
from typing import Any

from rich.table import Table
from rich.text import Text

from . import options, screen
from .list import summary

# units of the table; those of errors are in the provenance of calculators that were trained here
ERRORS = {"energy": "eV/atom", "forces": "eV/A", "stress": "eV/A^3", "dipole": "e A"}
EVALUATION = {"energy": "eV", "largest_force": "eV/A"}
HASH = re.compile("[0-9a-f]{64}")


@options.with_options(options.structure_options(), options.calculator_options())
def command(
    calc: str,
    structure: options.Structure = None,
    *,
    json: options.Json = False,
    **chosen: Any,
) -> None:
    """Describe a calculator and, with a structure, evaluate it once.

    The cost of a symmetriser, relative to the plain model, is predicted before the evaluation.

    Parameters
    ----------
    calc:
        Name, calculator folder or checkpoint.
    structure:
        File of a structure to evaluate; the last one is used if it holds several.
    json:
        Print JSON for programs.
    chosen:
        Format of the file, and options of the calculator, `options.CALCULATOR`.
    """
    from .. import cards, store, symmetrisers

    # cheap arguments are checked before a model is loaded or downloaded
    if chosen["symmetrise"] is not None:
        symmetrisers.check(chosen["symmetrise"])
    format = chosen.pop("format")
    atoms = None if structure is None else options.read_structures(structure, -1, format)
    model, config = store.load(calc)
    content = {
        "name": config.name,
        **summary(model, config),
        "heads": list(model.head_sizes),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "provenance": config.provenance,
    }
    if atoms is not None:
        calculator = options.load_calculator(calc, None, **chosen)
        content["structure"] = _evaluated(atoms, calculator)
    if json:
        screen.print_json(content)
        return
    table = Table(show_header=False)
    for key, value in _readable(content).items():
        shown = ", ".join(value) if isinstance(value, list) else "\n".join(cards.lines(value))
        # fold: long words, such as paths, are not cut off
        table.add_row(key, Text(shown, overflow="fold"))
    screen.console().print(table)


def _readable(content: dict[str, Any]) -> dict[str, Any]:
    """Content for people: with units, fewer digits and the first digits of hashes."""
    readable: dict[str, Any] = {}
    # keys of JSON stay as they are: units are added here only
    for key, value in content.items():
        name = f"{key} (A)" if key == "cutoff" else key
        readable[name] = value
    readable["provenance"] = _with_units(content["provenance"], ERRORS)
    if "structure" in content:
        evaluation = {}
        for key, value in content["structure"].items():
            name = f"{key} ({EVALUATION[key]})" if key in EVALUATION else key
            evaluation[name] = f"{value:.10g}" if isinstance(value, float) else value
        readable["structure"] = evaluation
    return readable


def _with_units(value: Any, units: dict[str, str]) -> Any:
    """Nested table with units in the names of its tables of errors, which have the key "rmse"."""
    if isinstance(value, dict):
        table = {}
        for key, entry in value.items():
            # other tables may have such keys too, such as an energy without errors
            is_error = isinstance(entry, dict) and "rmse" in entry
            name = f"{key} ({units[key]})" if is_error and key in units else key
            table[name] = _with_units(entry, units)
        return table
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str) and HASH.fullmatch(value):
        return f"{value[:12]}..."
    return value


def _evaluated(atoms: Any, calculator: Any) -> dict[str, Any]:
    """Cost, energy (eV), largest force (eV/A) and time (s) of a structure."""
    import numpy as np

    cost = calculator.cost(atoms)
    if cost:
        screen.note(
            f"predicted: {cost['evaluations_per_atom']:.4g} evaluations for each atom,"
            f" {cost['ratio']:.4g} times the work of the plain model",
        )
    start = time.perf_counter()
    atoms.calc = calculator
    energy = atoms.get_potential_energy()
    forces = np.linalg.norm(atoms.get_forces(), axis=1)  # (n,)
    return {
        "formula": str(atoms.symbols),
        "atoms": len(atoms),
        **cost,
        "energy": energy,
        "largest_force": float(forces.max()),
        "seconds": round(time.perf_counter() - start, 3),
    }
