"""Arguments and options that several commands share, and what they stand for.

Packages that take long to import are imported in the functions that need them, so that the help of
a command is quick.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from . import screen
from ._factory import is_name, made
from ._formats import check_format
from ._plausible import note_of_lengths
from ._start_line import announce as announce

if TYPE_CHECKING:
    from ase import Atoms

Calc = Annotated[str | None, typer.Argument(show_default=False)]
Structure = Annotated[str | None, typer.Argument(show_default=False)]
Output = Annotated[Path, typer.Option(show_default=False)]
Json = Annotated[bool, typer.Option("--json")]
Restart = Annotated[bool, typer.Option("--restart", "--resume")]  # one name, and its alias
Pressure = Annotated[float, typer.Option(help="External pressure in GPa.")]
Factory = Annotated[str | None, typer.Option(show_default=False)]
Workers = Annotated[int, typer.Option(min=1)]

# options that each command with a calculator takes: {name: help}; d3 adds to any calculator, the
# others are arguments of PETCalculator
CALCULATOR = {
    "symmetrise": (
        "Symmetriser: none, ecse (:so3, :published, :gentle, :force), ecse_layers, group:O, group:I"
        " (:proper, :aligned), quadrature:L; default: that of the calculator."
    ),
    "orientations": (
        "Axes of a PONITA: their number, or the name of a grid; default: those of its training."
        " Others need --orientations-untrained."
    ),
    "orientations_untrained": (
        "Allow --orientations that the model was not trained on. Errors may be large."
    ),
    "dtype": "Precision: float32, float64; default: that of the calculator.",
    "device": "Device: auto (CUDA if there is one), cpu, cuda, cuda:1, ...; default: auto.",
    "variant": "Energy head of a model with several: its name after energy/.",
    "skin": (
        "Length in A: neighbours are searched again once an atom has moved by half of it; default:"
        " 1. 0 searches at each evaluation."
    ),
    "compile": (
        "Compile the steps of a run: takes minutes once, and a C++ compiler; for long runs of small"
        " systems."
    ),
    "d3": "Add D3 dispersion of a functional, such as pbe or pbe:zero (extra `d3`).",
}
# of options of CALCULATOR that are no texts
TYPES: dict[str, Any] = {
    "skin": float | None,
    "orientations_untrained": bool | None,
    "compile": bool | None,
}
PANEL = "Calculator"  # heading of these options
FORMAT = (
    "Format of the file of structures by its name in ASE, such as vasp, lammps-data or"
    " espresso-out; default: that of its name and content."
)
Command = TypeVar("Command", bound=Callable[..., None])


def calculator_options(
    dtype: str | None = None, dtype_help: str = CALCULATOR["dtype"]
) -> list[inspect.Parameter]:
    """Parameters of a command, one for each option of CALCULATOR.

    Parameters
    ----------
    dtype:
        Default of --dtype.
    dtype_help:
        Help of --dtype, where the precision has another meaning or default.
    """
    parameters = []
    for name, meaning in {**CALCULATOR, "dtype": dtype_help}.items():
        # a flag has no form that says no
        declared = [f"--{name.replace('_', '-')}"] if TYPES.get(name) == bool | None else []
        option = typer.Option(*declared, help=meaning, rich_help_panel=PANEL)
        parameter = inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=dtype if name == "dtype" else None,
            annotation=Annotated[TYPES.get(name, str | None), option],
        )
        parameters.append(parameter)
    return parameters


def structure_options() -> list[inspect.Parameter]:
    """Parameters of a command that reads structures: --format."""
    annotation = Annotated[str | None, typer.Option(help=FORMAT)]
    keyword = inspect.Parameter.KEYWORD_ONLY
    return [inspect.Parameter("format", keyword, default=None, annotation=annotation)]


def derivative_options(dtype_note: str) -> list[inspect.Parameter]:
    """Options of CALCULATOR for commands that need precise forces: float64 is their default.

    Parameters
    ----------
    dtype_note:
        What float32 does to the results of the command.
    """
    return calculator_options("float64", f"Precision of CALC: float64, float32. {dtype_note}")


def with_options(*groups: Sequence[inspect.Parameter]) -> Callable[[Command], Command]:
    """Decorator of a command: these options take the place of its `**` parameter.

    Parameters
    ----------
    groups:
        Lists of options, in the order of the help.
    """

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        *named, _ = signature.parameters.values()
        for group in groups:
            named.extend(group)
        command.__signature__ = signature.replace(parameters=named)  # type: ignore[attr-defined]
        return command

    return decorate


def calc_and_structure(
    calc: str | None, structure: str | None, calculator: str | None
) -> tuple[str | None, str]:
    """CALC (or None) and STRUCTURE: with --calculator, the first argument is the structure.

    Parameters
    ----------
    calc:
        First argument.
    structure:
        Second argument.
    calculator:
        Value of --calculator.

    Raises
    ------
    ValueError
        Structure or calculator are missing, or there are two calculators.
    """
    if calculator is not None and structure is None:
        structure = calc
        calc = None
    if structure is None or (calc is None) == (calculator is None):
        raise ValueError("give CALC STRUCTURE, or --calculator module:factory STRUCTURE")
    return calc, structure


def named(calc: str | None, calculator: str | None) -> tuple[str | None, str | None]:
    """CALC and --calculator: `--calculator silicon`, a name or path, can only mean CALC.

    Parameters
    ----------
    calc:
        Name, folder or checkpoint, or None.
    calculator:
        Value of --calculator.
    """
    if calc is None and calculator is not None and is_name(calculator):
        return calculator, None
    return calc, calculator


def integers(name: str, text: str, sizes: Collection[int]) -> list[int]:
    """List of the integers in the text of an option, such as "2,2,2".

    Parameters
    ----------
    name:
        Name of the option without its dashes.
    text:
        Value of the option.
    sizes:
        Valid lengths of the list.

    Raises
    ------
    ValueError
        The text holds something else.
    """
    try:
        numbers = [int(part) for part in text.replace(",", " ").split()]
    except ValueError:
        numbers = []
    if len(numbers) not in sizes:
        raise ValueError(
            f"`--{name}` is {text!r}: expected {' or '.join(map(str, sizes))} whole numbers, such"
            " as 2,2,2"
        )
    return numbers


def check_positive(**numbers: float) -> None:
    """Raise ValueError for the first option that is not above 0; numbers: {name: value}."""
    for name, value in numbers.items():
        if not 0 < value < math.inf:
            option = name.replace("_", "-")
            raise ValueError(f"`--{option}` is {value!r}: expected a number above 0")


def read_structures(path: str, index: int | str, format: str | None = None) -> Any:
    """List of ase.Atoms in a file, or one ase.Atoms where index is a number.

    Parameters
    ----------
    path:
        Path of the file.
    index:
        ":" for all structures, -1 for the last one.
    format:
        Name of the format in ASE; None for what name and content say.

    Raises
    ------
    ValueError
        ASE cannot read the file, or a structure in it is bad.
    OSError
        There is no such file, or it may not be read.
    """
    from ..train.files import structures

    if format is not None:
        check_format(format)
    read = structures(path, index, format)
    odd = [note_of_lengths(atoms) for atoms in ([read] if index == -1 else read[:1])]
    if any(odd):
        screen.note(f"ase-pet: note: {path}: {odd[0]}")
    return read


def load_calculator(
    calc: str | None,
    calculator: str | None,
    *,
    option: str = "calculator",
    finite: bool = False,
    **options: Any,
) -> Any:
    """ASE calculator: PETCalculator of CALC, or what `module:factory` returns, and D3 if asked for.

    Parameters
    ----------
    calc:
        Name, folder or checkpoint; None with `calculator`.
    calculator:
        `module:factory`, or None; a name or path of a calculator means CALC.
    option:
        Name of the option that holds it, for errors.
    finite:
        Whether the results of a factory's calculator with nan or inf are errors, as those of a
        wrong type or shape are in any case.
    options:
        Options of CALCULATOR, and other arguments of PETCalculator; those that are None are left
        out.

    Raises
    ------
    ValueError
        An option is bad or not for this calculator, or there is no such factory.
    """
    given = {name: value for name, value in options.items() if value is not None}
    from .. import dispersion, executors

    functional = given.pop("d3", None)
    # how worker processes make it, as not all calculators can be sent to them
    again = functools.partial(load_calculator, calc, calculator, finite=finite, **options)
    dispersion.check(functional)  # before a model is loaded or downloaded
    if option == "calculator":
        calc, calculator = named(calc, calculator)
    if calculator is not None:
        # a factory takes no arguments
        if given:
            wrong = next(iter(given)).replace("_", "-")
            raise ValueError(
                f"`--{wrong}` is for calculators of this package: expected CALC, not --calculator"
            )
        from ..results import checked

        foreign = checked(made(calculator, option), finite)
        return executors.made_by(dispersion.dispersed(foreign, functional), again)
    if calc is None:
        raise ValueError("give CALC, or --calculator module:factory")

    if "orientations" in given:
        given["orientations"] = axes(given["orientations"])
    from ..calculator import PETCalculator

    both = dispersion.dispersed(PETCalculator(calc, **given), functional)
    return both if functional is None else executors.made_by(both, again)


def axes(text: str) -> int | str:
    """Value of --orientations: a number of axes, or the name of a grid.

    Parameters
    ----------
    text:
        Text on the command line.
    """
    return int(text) if text.isdecimal() else text


def structure_with_calculator(
    calc: str | None,
    structure: str | None,
    calculator: str | None,
    *,
    format: str | None = None,
    **options: Any,
) -> Atoms:
    """Last structure of a file, with its calculator; a line on stderr says what they are.

    Parameters
    ----------
    calc:
        First argument of the command.
    structure:
        Second argument of the command.
    calculator:
        Value of --calculator.
    format:
        Value of --format.
    options:
        Arguments of PETCalculator; those that are None are left out.
    """
    calc, path = calc_and_structure(calc, structure, calculator)
    atoms: Atoms = read_structures(path, -1, format)
    atoms.calc = load_calculator(calc, calculator, finite=True, **options)
    announce(calc or calculator, atoms.calc, [atoms])
    return atoms


def structure_for_derivatives(
    calc: str | None,
    structure: str | None,
    calculator: str | None,
    *,
    dtype: str,
    **options: Any,
) -> Atoms:
    """Last structure of a file, with its calculator in the precision that derivatives need.

    Parameters
    ----------
    calc:
        First argument of the command.
    structure:
        Second argument of the command.
    calculator:
        Value of --calculator, whose precision is its own.
    dtype:
        Precision of CALC.
    options:
        Other arguments of PETCalculator; those that are None are left out.
    """
    own = dtype if calculator is None else None
    return structure_with_calculator(calc, structure, calculator, dtype=own, **options)
