"""What commands that compute on a structure are given.

CALC, STRUCTURE, options of the calculator, lists of integers.
"""

import typer

from .inspect import SYMMETRISE, load, read

CALC = typer.Argument(None, help="name, calculator folder or checkpoint")
STRUCTURE = typer.Argument(None, help="file of the structure, its last one if it holds several")
MODEL_SYMMETRY = typer.Option(None, "--symmetrise", help=f"of the model: {SYMMETRISE}")
DEVICE = typer.Option(None, help="auto, cpu, cuda, cuda:1, ... [default: auto]")
DTYPE = typer.Option(None, help="float32, float64; default: of the card")
VARIANT = typer.Option(None, help="energy head of a model with several")


def structure(calc, path, calculator, **options):
    """Atoms of a file, its last one, with the calculator that CALC or --calculator names.

    options: of PETCalculator, None where they were not given. Raises ValueError for arguments that
    do not fit together.
    """
    calc, path = arguments(calc, path, calculator)
    atoms = read(path, -1)
    atoms.calc = load(
        calc, calculator, **{name: value for name, value in options.items() if value is not None}
    )
    return atoms


def arguments(calc, path, calculator):
    """(CALC or None, STRUCTURE) of what stands on the command line.

    With --calculator the structure comes first.
    """
    if calculator is not None and path is None:
        calc, path = None, calc
    if path is None or (calc is None) == (calculator is None):
        raise ValueError("give CALC STRUCTURE, or --calculator module:factory STRUCTURE")
    return calc, path


def integers(name, text, sizes):
    """List of the integers in the text of an option.

    Raises ValueError unless their number is among `sizes`.
    """
    try:
        found = [int(part) for part in text.replace(",", " ").split()]
    except ValueError:
        found = []
    if len(found) not in sizes:
        raise ValueError(
            f"`--{name}` is {text!r}: expected {' or '.join(map(str, sizes))} whole numbers, such"
            " as 2,2,2"
        )
    return found
