"""The `ase-pet` command.

Exit status: 0, 1 where a check failed or a run became unstable, 2 for bad input, which is one line.
"""

from __future__ import annotations

import os
import sys

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
