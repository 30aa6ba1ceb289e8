"""`ase-pet list`: the shipped calculators, or the published checkpoints."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from . import options, screen

COLUMNS = {  # key of a row: heading
    "name": "name",
    "species": "species",
    "cutoff": "cutoff (A)",
    "model": "model",
    "symmetrise": "symmetrise",
    "dtype": "dtype",
}


def command(
    *, published: Annotated[bool, typer.Option("--published")] = False, json: options.Json = False
) -> None:
    """List the shipped calculators, or the published checkpoints.

    Parameters
    ----------
    published:
        List the published checkpoints instead: in the cache and, if online, in the repository.
    json:
        Print JSON for programs.
    """
    if published:
        _list_published(json)
        return
    from .. import store

    rows = [{"name": name, **summary(*store.load(name))} for name in store.shipped()]
    if json:
        screen.print_json(rows)
        return
    table = Table(*COLUMNS.values())
    for row in rows:
        # as texts, which is all that a table takes
        shown = {**row, "species": " ".join(row["species"]), "cutoff": f"{row['cutoff']:g}"}
        table.add_row(*(shown[key] for key in COLUMNS))
    screen.console().print(table)
    screen.say("published checkpoints: ase-pet list --published")


def summary(model: Any, config: Any) -> dict[str, Any]:
    """What a calculator is: species, cutoff in A, model, symmetriser, precision.

    Parameters
    ----------
    model:
        Model of the calculator.
    config:
        What its calculator.toml says.
    """
    from ase.data import chemical_symbols

    return {
        "species": [chemical_symbols[z] for z in model.species],
        "cutoff": model.cutoff,
        "model": type(model).__module__.rsplit(".", 1)[-1],
        "symmetrise": config.symmetrise,
        "dtype": config.dtype,
    }


def _list_published(json: bool) -> None:
    """Print published checkpoints: versions in the cache and, if online, in the repository."""
    from .. import published, published_mace

    cached = published.cached()
    available: dict[str, list[str]] = {}
    problem = None
    try:
        available = published.listed()
    except FileNotFoundError as error:  # offline: the cache alone is listed
        problem = str(error)

    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys([*published.names(), *available, *cached]):
        in_cache = published.in_order(cached.get(name, ()))
        in_repository = None if problem else available.get(name, [])
        versions = published.in_order({*in_cache, *(in_repository or ())})
        row: dict[str, Any] = {
            "name": name,
            "cached": in_cache,
            "repository": in_repository,
            "newest": versions[-1] if versions else None,
        }
        rows.append(row)
    files = published_mace.cached()
    if json:
        mace = [
            {"name": name, "cached": name in files, "url": file.url, "licence": file.licence}
            for name, file in published_mace.FILES.items()
        ]
        content = {"repository": published.REPOSITORY, "problem": problem, "checkpoints": rows}
        screen.print_json({**content, "mace": mace})
        return

    title = f"checkpoints of {published.REPOSITORY}"
    table = Table("name", "in the cache", "in the repository", title=title)
    for row in rows:
        newest = row["newest"]
        stored = "not known" if problem else _marked(row["repository"], newest)
        table.add_row(row["name"], _marked(row["cached"], newest), stored)
    screen.console().print(table)
    mace_table = Table("name", "in the cache", "licence", title="MACE models")
    for name, file in published_mace.FILES.items():
        mace_table.add_row(name, "yes" if name in files else "", file.licence)
    screen.console().print(mace_table)
    if problem is None:
        screen.say("* newest of those listed")
    else:
        screen.say(f"* newest of those in the cache; {problem}")


def _marked(versions: list[str], newest: str | None) -> str:
    """Versions in one line, the newest with a star."""
    return " ".join(version + "*" * (version == newest) for version in versions)
