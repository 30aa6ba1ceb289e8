"""`ase-pet info`: what a calculator is."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from . import options, screen
from .list import summary

# units of the table; those of errors are in the provenance of calculators that were trained here
ERRORS = {"energy": "eV/atom", "forces": "eV/A", "stress": "eV/A^3", "dipole": "e A"}
EVALUATION = {"energy": "eV", "largest_force": "eV/A", "stress": "GPa"}  # of the table
VOIGT = ("xx", "yy", "zz", "yz", "xz", "xy")
FURTHER = {"charges": "e", "magmom": "mu_B", "magmoms": "mu_B", "stresses": "eV/A^3"}  # in ASE
LENGTHS = ("cutoff", "receptive_field", "shortest_distances")  # in A
MOST_PAIRS = 12  # whose distances are listed
# in the card of a calculator: `- Data licence: MIT`, or the first line of a section
LICENCE = re.compile(r"(?m)^(?:- (?:Data )?licence: |## Licence\n\n(?:- )?)(.+)$")
HASH = re.compile("[0-9a-f]{64}")


@options.with_options(options.structure_options(), options.calculator_options())
def command(
    calc: options.Calc = None,
    structure: options.Structure = None,
    *,
    calculator: options.Factory = None,
    json: options.Json = False,
    **chosen: Any,
) -> None:
    """Describe a calculator and, with a structure, evaluate it once.

    Of the calculator of another package: class, parameters, and what it returns for the structure.
    The cost of a symmetriser, relative to the plain model, is predicted before the evaluation.

    Parameters
    ----------
    calc:
        Name, calculator folder or checkpoint.
    structure:
        File of a structure to evaluate; the last one is used if it holds several.
    calculator:
        module:factory of any ASE calculator, instead of CALC.
    json:
        Print JSON for programs.
    chosen:
        Format of the file, and options of the calculator, `options.CALCULATOR`.
    """
    from .. import cards, constraints, symmetrisers

    # cheap arguments are checked before a model is loaded or downloaded
    if chosen["symmetrise"] is not None:
        symmetrisers.check(chosen["symmetrise"])
    if calculator is not None:
        if calc is not None and structure is not None:
            raise ValueError("give CALC, or --calculator module:factory")
        structure = structure or calc
        calc, calculator = options.named(None, calculator)
    format = chosen.pop("format")
    atoms = None if structure is None else options.read_structures(structure, -1, format)
    content = _of_package(calc) if calc is not None else {}
    if atoms is not None or calc is None:
        loaded = options.load_calculator(calc, calculator, finite=True, **chosen)
        if calc is None:
            content = _of_another_package(loaded)
        if atoms is not None:
            content["structure"] = _evaluated(constraints.without(atoms, "info"), loaded)
    if json:
        screen.print_json(content)
        return
    table = Table(show_header=False)
    readable = _readable(content) if calc is not None else _with_units(content)
    for key, value in readable.items():
        shown = ", ".join(value) if isinstance(value, list) else "\n".join(cards.lines(value))
        # fold: long words, such as paths, are not cut off
        table.add_row(key, Text(shown, overflow="fold"))
    screen.console().print(table)


def _of_package(calc: str) -> dict[str, Any]:
    """What a name, folder or checkpoint holds."""
    from .. import outputs, store

    model, config = store.load(calc)
    return {
        "name": config.name,
        **summary(model, config),
        **_range(model),
        "heads": list(model.head_sizes),
        "units": {name: outputs.OUTPUTS[name].unit for name in outputs.available(model)},
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "licence": _licence(store.find(calc), config.provenance),
        "shortest_distances": _by_pair(config.shortest_distances),
        "provenance": config.provenance,
    }


def _of_another_package(calculator: Any) -> dict[str, Any]:
    """Class, package, files and parameters of an ASE calculator, and its properties."""
    from ..checks import describe

    properties = list(map(str, calculator.implemented_properties))
    return {**describe(calculator), "implemented_properties": properties}


def _range(model: Any) -> dict[str, Any]:
    """Message-passing depth, and the distance in A beyond which atoms have no effect."""
    depth = model.message_passing_depth
    # an edge further away affects an atom by a chain of edges, each as long as the cutoff
    return {
        "message_passing": depth,
        "receptive_field": None if depth is None else (depth + 1) * model.cutoff,
    }


def _licence(folder: Path, provenance: dict[str, Any]) -> str:
    """What a checkpoint or the card of a calculator states about its licence."""
    for key in ("license", "licence"):
        if provenance.get(key):
            return str(provenance[key])
    from .. import store

    card = folder / store.README
    if card.is_file():
        stated = LICENCE.search(card.read_text(encoding="utf-8", errors="replace"))
        if stated is not None:
            return stated[1]
    return "not stated"


def _by_pair(distances: dict[tuple[int, int], float]) -> dict[str, float]:
    """Shortest distances {Si-Si: A} of pairs of elements in the training data."""
    from ase.data import chemical_symbols

    return {"-".join(chemical_symbols[z] for z in pair): d for pair, d in distances.items()}


def _readable(content: dict[str, Any]) -> dict[str, Any]:
    """Content for people: with units, fewer digits and the first digits of hashes."""
    readable: dict[str, Any] = {}
    # keys of JSON stay as they are: units are added here only
    for key, value in content.items():
        name = f"{key} (A)" if key in LENGTHS else key
        readable[name.replace("_", " ")] = value
    depth = content["message_passing"]
    readable["message passing"] = {None: "unknown", 0: "none: energies are local"}.get(
        depth, f"{depth} edge{'s' * (depth != 1)} beyond the neighbours"
    )
    readable["receptive field (A)"] = _number(content["receptive_field"])
    seen = content["shortest_distances"]
    readable["shortest distances (A)"] = "in training: " + ", ".join(
        f"{pair} {distance:.2f}" for pair, distance in list(seen.items())[:MOST_PAIRS]
    )
    if not seen:
        readable["shortest distances (A)"] = "not known: close atoms are not noticed"
    elif len(seen) > MOST_PAIRS:
        readable["shortest distances (A)"] += f", ... ({len(seen)} pairs: --json)"

    provenance = dict(content["provenance"])
    errors = provenance.pop("errors", None)
    readable["provenance"] = _shortened(provenance)
    if isinstance(errors, dict):
        readable["errors (RMSE)"] = _errors(errors)
    if "structure" in content:
        readable["structure"] = _with_units(readable.pop("structure"))
    return readable


def _with_units(content: dict[str, Any]) -> dict[str, Any]:
    """Content for people, with the units of what was evaluated."""
    readable: dict[str, Any] = {}
    for key, value in content.items():
        name = f"{key} ({EVALUATION[key]})" if key in EVALUATION else key
        if key == "structure":
            value = _with_units(value)
        elif key == "stress":
            value = _stress(value)
        readable[name.replace("_", " ")] = value if isinstance(value, list) else _number(value)
    return readable


def _stress(values: list[float] | None) -> str:
    """Components in GPa of a stress (6,) in eV/A^3."""
    from ase import units

    if values is None:
        return "none: not periodic in three directions, or not implemented"
    parts = zip(VOIGT, values, strict=True)
    return ", ".join(f"{name} {value / units.GPa:z.4f}" for name, value in parts)


def _number(value: Any) -> Any:
    """A float with ten digits at most; None as a text."""
    if value is None:
        return "unknown"
    return f"{value:.10g}" if isinstance(value, float) else value


def _errors(errors: dict[str, Any]) -> dict[str, str]:
    """Lines such as {"test (21 structures)": "energy 0.0032 eV/atom, forces 0.054 eV/A"}."""
    lines = {}
    for split, table in errors.items():
        # tables of checkpoints may hold anything
        if not isinstance(table, dict):
            lines[split] = str(table)
            continue
        parts = []
        for name, entry in table.items():
            if isinstance(entry, dict) and isinstance(entry.get("rmse"), float):
                parts.append(f"{name} {entry['rmse']:.3g} {ERRORS.get(name, '')}".strip())
        count = f" ({table['structures']} structures)" if "structures" in table else ""
        lines[f"{split}{count}"] = ", ".join(parts) or "not stated"
    return lines


def _shortened(value: Any) -> Any:
    """Nested table with fewer digits."""
    if isinstance(value, dict):
        return {key: _shortened(entry) for key, entry in value.items()}
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str) and HASH.fullmatch(value):
        return f"{value[:12]}..."
    return value


def _evaluated(atoms: Any, calculator: Any) -> dict[str, Any]:
    """Cost, energy (eV), largest force (eV/A), stress (eV/A^3) and time (s) of a structure.

    "returned": shape and unit of each result of the calculator.
    """
    import numpy as np

    from ..calculator import PETCalculator

    cost = calculator.cost(atoms) if isinstance(calculator, PETCalculator) else {}
    if cost:
        screen.note(
            f"predicted: {cost['evaluations_per_atom']:.4g} evaluations for each atom,"
            f" {cost['ratio']:.4g} times the work of the plain model",
        )
    start = time.perf_counter()
    atoms.calc = calculator
    energy = atoms.get_potential_energy()
    forces = _if_implemented(atoms.get_forces)  # (n, 3)
    stress = _if_implemented(atoms.get_stress) if atoms.pbc.all() else None  # (6,)
    largest = None if forces is None else float(np.linalg.norm(forces, axis=1).max())
    return {
        "formula": str(atoms.symbols),
        "atoms": len(atoms),
        **cost,
        "energy": energy,
        "largest_force": largest,
        "stress": None if stress is None else stress.tolist(),
        "returned": _returned(calculator),
        "seconds": round(time.perf_counter() - start, 3),
    }


def _if_implemented(function: Callable[[], Any]) -> Any:
    """What a function of ase.Atoms returns; None if the calculator does not implement it."""
    from ase.calculators.calculator import PropertyNotImplementedError

    try:
        return function()
    except PropertyNotImplementedError:
        return None


def _returned(calculator: Any) -> dict[str, str]:
    """{name: shape and unit} of the results of a calculator."""
    import numpy as np

    from ..outputs import OUTPUTS

    defined = {name: output.unit for name, output in OUTPUTS.items()}
    units = {**FURTHER, **defined}
    returned = {}
    for name, value in vars(calculator).get("results", {}).items():
        shape = np.shape(value)
        size = f"{shape}" if shape else "number"
        # units of what ASE does not define are those of the calculator
        returned[str(name)] = f"{size}, {units.get(name, 'unit of the calculator')}"
    return returned
