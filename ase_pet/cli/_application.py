"""The typer application of `ase-pet`."""

from __future__ import annotations

import typer

from .lazy import COMMANDS, HELP, LazyGroup, Quiet, Verbose, Version, placeholder

app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings=HELP,
    help="Trained PET models as ASE calculators.",
)


@app.callback()
def _options(version: Version = False, verbose: Verbose = False, quiet: Quiet = False) -> None:
    """Take the options of `ase-pet` itself."""


for name, summary in COMMANDS.items():
    app.command(name, help=summary)(placeholder)
