"""Options and steps that the commands about crystals share."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options, screen
from ._results import hold, require_writable

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms

    from ..phonons import Relaxation

# of commands that write relaxed.extxyz or structure.extxyz
REPORTS = ("relax.json", "elastic.json", "phonons.json", "conductivity.json")


@dataclass(frozen=True)
class Option:
    """An option of several commands.

    Attributes
    ----------
    kind:
        Type of its value.
    default:
        Its value where it is not given.
    meaning:
        Its help.
    argument:
        Name of the argument in `ase_pet.phonons`, None: that of the option.
    """

    kind: Any
    default: Any
    meaning: str
    argument: str | None = None


OPTIONS = {
    "supercell": Option(
        str,
        "2,2,2",
        "Repeats of the unit cell of STRUCTURE, or the nine integers of a supercell matrix.",
    ),
    "displacement": Option(float, 0.01, "Length of the displacements in A."),
    "mesh": Option(str, "21,21,21", "q-points of the thermal properties; odd numbers are faster."),
    "relax": Option(bool, True, "Relax atoms and cell first.", "relaxed"),
    "symmetry": Option(bool, True, "Use the space group."),
    "symprec": Option(
        float | None,
        None,
        "Tolerance of the space group in A; default: 0.001, or what the digits of the file need.",
        "tolerance",
    ),
    "fmax": Option(float, 1e-4, "Largest force after the relaxation in eV/A."),
    "steps": Option(int, 500, "Maximum number of steps of the relaxation."),
    "pressure": Option(
        float, 0.0, "Pressure of the relaxation in GPa, positive where it compresses."
    ),
    "limits": Option(bool, True, "Refuse calculations that are predicted to be too large."),
    "overwrite": Option(bool, False, "Replace the results of another structure in the folder."),
}
FLAGS = {"overwrite": "--overwrite"}  # of what can only be switched on
MOST_TEMPERATURES = 10000
HOTTEST = 1e5  # K, as in phonons._numbers, which takes long to import


def crystal_options(*names: str, **changes: Any) -> list[inspect.Parameter]:
    """Parameters of a command, one for each of these options.

    Parameters
    ----------
    names:
        Keys of OPTIONS, in the order of the help.
    changes:
        Other defaults, NAME, or help, NAME_help, of options of this command.
    """
    parameters = []
    for name in names:
        option = OPTIONS[name]
        both = FLAGS.get(name, f"--{name}/--no-{name}")
        declared = typer.Option(
            *([both] if option.kind is bool else []),
            help=changes.get(f"{name}_help", option.meaning),
        )
        parameter = inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=changes.get(name, option.default),
            annotation=Annotated[option.kind, declared],
        )
        parameters.append(parameter)
    return parameters


def taken(chosen: dict[str, Any]) -> dict[str, Any]:
    """{argument of ase_pet.phonons: value} of the options of OPTIONS.

    Numbers that must be above 0 are checked.

    Parameters
    ----------
    chosen:
        {option: value} of a command, from which they are removed.
    """
    arguments = {}
    # the others are those of the calculator
    for name in [name for name in OPTIONS if name in chosen]:
        value = chosen.pop(name)
        if name in ("displacement", "fmax"):
            options.check_positive(**{name: value})
        if name == "mesh":
            value = options.integers(name, value, (3,))
        if name == "supercell":
            value = supercell_matrix(value)
        arguments[OPTIONS[name].argument or name] = value
    return arguments


def supercell_matrix(text: str) -> list[Any]:
    """Repeats along the cell vectors (3,), or the rows of a matrix (3, 3).

    Parameters
    ----------
    text:
        Value of --supercell: three or nine integers.
    """
    numbers = options.integers("supercell", text, (3, 9))
    if len(numbers) == 3:
        return numbers
    return [numbers[0:3], numbers[3:6], numbers[6:9]]


def require_own_folder(
    output: Path | None, name: str, atoms: Atoms, overwrite: bool
) -> dict[str, Any]:
    """Entry "input" of a report.

    Raises ValueError if the folder holds that of another structure, and OSError if it cannot be
    written.

    Parameters
    ----------
    output:
        Folder of the results, or None.
    name:
        Name of the report.
    atoms:
        Structure of the command.
    overwrite:
        Whether the user allows to replace the results of another structure.
    """
    from ..phonons import identity, require_own

    own = identity(atoms)
    if output is not None:
        require_own(output / name, own, overwrite)
        require_same_formula(output, own["formula"], overwrite)
        require_writable(output)
        hold(output)
    return {"input": own}


def require_same_formula(folder: Path, formula: str, overwrite: bool) -> None:
    """Raise ValueError if a folder holds results of other atoms: commands share names of files.

    Parameters
    ----------
    folder:
        Folder of the results.
    formula:
        Formula of the structure of the command.
    overwrite:
        Whether the user allows to replace them.
    """
    for name in REPORTS:
        path = folder / name
        if overwrite or not path.exists():
            continue
        try:
            before = json.loads(path.read_text(encoding="utf-8"))["input"]["formula"]
        except (ValueError, KeyError, TypeError):  # not of this package
            continue
        if before != formula:
            raise ValueError(
                f"`{path}` holds results of {before}, and this is {formula}: choose another folder"
                " (--output), or allow to replace them (--overwrite)"
            )


def temperatures(text: str | None, lowest: float = 0.0) -> np.ndarray | None:
    """(T,) temperatures in K of the value of --temperatures, None if there is none.

    Parameters
    ----------
    text:
        Numbers separated by commas, or first:last:step.
    lowest:
        Lowest valid temperature in K.

    Raises
    ------
    ValueError
        The text holds something else.
    """
    import numpy as np

    if text is None:
        return None
    colon = ":" in text
    try:
        numbers = [float(part) for part in text.replace(",", ":").split(":")]
    except ValueError:
        numbers = []
    # the third of first:last:step is no temperature
    kelvin = numbers[:2] if colon else numbers
    valid = bool(kelvin) and all(lowest <= number <= HOTTEST for number in kelvin)
    if colon:
        valid = valid and len(numbers) == 3 and numbers[1] >= numbers[0] and numbers[2] > 0
        valid = valid and (numbers[1] - numbers[0]) / numbers[2] < MOST_TEMPERATURES
    if not valid or ("," in text and colon):
        raise ValueError(
            f"`--temperatures` is {text!r}: expected temperatures from {lowest:g} to"
            f" {HOTTEST:.0f} K separated by commas, or first:last:step, such as 0:1000:10"
            f" (at most {MOST_TEMPERATURES})"
        )
    if not colon:
        return np.array(numbers)
    first, last, step = numbers
    # 1e-9: the last temperature is included
    return np.arange(first, last + 1e-9 * step, step)


def told(relaxation: Any) -> list[str]:
    """Lines about the result of a relaxation: symmetry, cell, forces.

    Parameters
    ----------
    relaxation:
        Entry "relaxation" of a report, or None.
    """
    if relaxation is None:
        return []
    lines = []
    before = relaxation["initial_space_group"]
    after = relaxation["space_group"]
    if before != after:
        lines.append(f"the space group was {before} and is {after} after the relaxation")
    if relaxation["cell"] is not None:
        numbers = " ".join(f"{value:.4f}" for value in relaxation["cell"])
        lines.append(f"relaxed cell {numbers} (A, degrees), space group {after}")
    return lines


def note_of_forces(relaxation: Relaxation, fmax: float) -> None:
    """Print a note on stderr if the largest force is above fmax though the relaxation converged.

    Parameters
    ----------
    relaxation:
        Result of the relaxation.
    fmax:
        Largest force that was asked for in eV/A.
    """
    force = relaxation.largest_force
    # 1.01: in a strained cell forces are those of the optimiser but for the strain
    if force <= 1.01 * fmax:
        return
    if relaxation.within_symmetry:
        reason = (
            "within the space group the forces have converged; the rest is not symmetric, because"
            " the calculator breaks the symmetry of the crystal"
        )
        if _plain_pet(relaxation.atoms.calc):
            reason += ", as a plain PET does: --symmetrise ecse makes it exact"
    elif relaxation.atoms.constraints:
        reason = "constraints hold atoms; the forces on the others have converged"
    else:
        reason = "the forces of the optimiser, with the strain of the cell, have converged"
    screen.note(
        f"ase-pet: note: the largest force of the calculator is {force:.2g} eV/A, above --fmax"
        f" {fmax:g}: {reason}"
    )


def _plain_pet(calculator: Any) -> bool:
    """Whether a calculator is a PET without a symmetriser."""
    from ..calculator import PETCalculator

    if not isinstance(calculator, PETCalculator):
        return False
    symmetrise = calculator.parameters["symmetrise"] or calculator.card.symmetrise
    return symmetrise == "none" and type(calculator.model).__module__.endswith(".models.pet")
