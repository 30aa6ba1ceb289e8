"""The `ase-pet` command. Exit status.

0, 1 where a check failed, 2 for bad input with one clear line.
"""

import os
import sys

import typer

from . import benchmark, checking, checkpoints, dynamics, inspect, training, vibrations

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Trained PET models as ASE calculators.",
)
inspect.register(app)
checking.register(app)
checkpoints.register(app)
training.register(app)
dynamics.register(app)
benchmark.register(app)
vibrations.register(app)


def main():
    """Run the command line; bad input ends in one line on stderr and exit status 2."""
    sys.path.append(
        os.getcwd()
    )  # as `python -m ase_pet` has it: a factory may stand in a file of the present folder
    try:
        app()
    except (ValueError, OSError, NotImplementedError, MemoryError) as error:
        print(f"ase-pet: {error}", file=sys.stderr)
        sys.exit(2)
