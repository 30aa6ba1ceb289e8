"""The `ase-pet` command.

Exit status: 0, 1 where a check failed or a run became unstable, 2 for bad input, which is one line.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Annotated

import typer

from .lazy import COMMANDS, LazyGroup, placeholder

app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Trained PET models as ASE calculators.",
)


def _print_version(value: bool) -> None:
    """Print the version and exit, where --version is given."""
    if value:
        # the package itself is the last room: nothing imports from it
        print(f"ase-pet {importlib.import_module('ase_pet').__version__}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option(
        "--version",
        is_eager=True,
        callback=_print_version,
        metavar="",  # a flag has no type
        help="Print the version and exit.",
    ),
]


@app.callback()
def _options(version: Version = False) -> None:
    """Take the options of `ase-pet` itself."""


for name, summary in COMMANDS.items():
    app.command(name, help=summary)(placeholder)


def main() -> None:
    """Run the command line; bad input ends in one line on stderr and exit status 2."""
    # as `python -m ase_pet` does: a factory may be in a file of the present folder
    sys.path.append(os.getcwd())
    try:
        app()
    except (ValueError, OSError, NotImplementedError, MemoryError) as error:
        print(f"ase-pet: {error}", file=sys.stderr)
        sys.exit(2)
