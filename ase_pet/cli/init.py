"""`ase-pet init`: a recipe that fits to data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from . import options, screen


def command(
    data: Annotated[list[str] | None, typer.Argument(show_default=False)] = None,
    *,
    output: Path = Path("recipe.toml"),
    keys: str | None = None,
    units: str | None = None,
    preset: str | None = None,
    json: options.Json = False,
) -> None:
    """Write a recipe that fits to the data, with comments, to train from.

    Elements, cutoff, names of labels, splits, batches and the length of the training follow from
    the data. The cost of three sizes of models is measured on this machine.

    Parameters
    ----------
    data:
        Files and folders of labelled structures; without them: a recipe with all keys.
    output:
        Recipe to write.
    keys:
        Names of labels, such as energy=E,forces=F; an empty name: not used.
    units:
        Units of all files, such as energy=Hartree,length=Bohr.
    preset:
        Size of the model: small, medium, large; default: by the number of structures.
    json:
        Print the costs as JSON.

    Examples
    --------
    Example: ase-pet init training.extxyz, then ase-pet train recipe.toml --output runs/first
    """
    from ..choices import one_of
    from ..train import initial_recipe, presets, template
    from ..train.label_options import parse, parse_units

    if preset is not None:
        one_of("--preset", preset, presets.PRESETS)
    # a recipe that was edited is work
    if output.exists():
        raise ValueError(f"`{output}` exists: remove it, or name another file by --output")
    if not output.parent.is_dir():
        raise ValueError(f"`{output.parent}`: there is no such folder")
    named = parse(keys)
    in_units = parse_units(units)
    if not data and (keys is not None or units is not None):
        raise ValueError("`--keys` and `--units` are of data: expected files as well")
    if not data:
        output.write_text(template.template(), encoding="utf-8")
        screen.say(f"wrote {output}, with all keys: edit its species and files")
        return
    with screen.progress("reading data") as report:
        found = initial_recipe.contents(data, named, in_units)
        report("measuring", 0, None)
        text, costs = initial_recipe.text(found, data, output.parent, preset)
    output.write_text(text, encoding="utf-8")
    if json:
        screen.print_json(costs)
        return
    table = Table(
        "size", "parameters", "ms/atom", "hours of training", title="CPUs of this machine"
    )
    for name, cost in costs.items():
        numbers = [f"{cost[key]:.3g}" for key in ("ms per atom", "hours")]
        table.add_row(name, str(int(cost["parameters"])), *numbers)
    screen.console().print(table)
    screen.say(f"wrote {output}: next, ase-pet train {output} --output runs/first")
