"""Commands for checkpoints of other programs.

Download, convert, and the list of the published ones.
"""

import json as json_module
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from .. import published, store

JSON = typer.Option(False, "--json", help="print JSON for programs")


def register(app):
    """Add the commands to the application."""
    app.command("download")(download)
    app.command("convert")(convert)


def download(
    name: str = typer.Argument(help="such as pet-mad-s, its newest version, or pet-mad-s-v1.5.0"),
    json: bool = JSON,
):
    """Download a published checkpoint, the newest version unless one is named.

    And print its path.
    """
    path = published.download(name)
    print(json_module.dumps({"name": path.stem, "path": str(path)}) if json else path)


def convert(
    checkpoint: str = typer.Argument(help="path or published name"),
    folder: Path = typer.Argument(help="calculator folder to write; must not exist"),
    name: str = typer.Option(None, help="name of the calculator; default: that of the file"),
    json: bool = JSON,
):
    """Write a calculator folder that gives the same numbers as a checkpoint of another program."""
    written = store.convert(checkpoint, folder, name)
    files = sorted(path.name for path in written.iterdir())
    print(
        json_module.dumps({"folder": str(written), "files": files})
        if json
        else f"written: {', '.join(str(written / file) for file in files)}"
    )


def list_published(json):
    """Print the published checkpoints.

    Versions in the cache and, where the network allows, in the repository.
    """
    there = published.cached()
    try:
        available, problem = published.listed(), None
    except FileNotFoundError as error:
        available, problem = {}, str(error)
    names = dict.fromkeys([*published.names(), *available, *there])
    rows = [
        {
            "name": name,
            "cached": published.in_order(there.get(name, ())),
            "repository": available.get(name, []) if problem is None else None,
        }
        for name in names
    ]
    for row in rows:
        versions = published.in_order({*row["cached"], *(row["repository"] or ())})
        row["newest"] = versions[-1] if versions else None
    if json:
        print(
            json_module.dumps(
                {"repository": published.REPOSITORY, "problem": problem, "checkpoints": rows}
            )
        )
        return
    table = Table(
        "name", "in the cache", "in the repository", title=f"checkpoints of {published.REPOSITORY}"
    )
    for row in rows:
        table.add_row(
            row["name"],
            _marked(row["cached"], row["newest"]),
            "not known" if problem else _marked(row["repository"], row["newest"]),
        )
    Console().print(table)
    print(
        "* newest of those listed"
        if problem is None
        else f"* newest of those in the cache; {problem}"
    )


def _marked(versions, newest):
    return " ".join(version + "*" * (version == newest) for version in versions)
