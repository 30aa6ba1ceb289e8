"""`ase-pet vibrations`: harmonic frequencies of a molecule or an adsorbate."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from . import _crystals, options, screen
from ._results import printed_if_unwritten, require_new
from .qha import numbers


@options.with_options(
    _crystals.crystal_options(
        "displacement", "overwrite", overwrite_help="Replace results that the folder holds."
    ),
    options.structure_options(),
    options.derivative_options("Second derivatives need float64."),
)
def command(
    calc: options.Calc = None,
    structure: options.Structure = None,
    *,
    calculator: options.Factory = None,
    output: options.Output,
    method: str | None = None,
    relaxed: Annotated[bool, typer.Option("--relax/--no-relax")] = False,
    fmax: float = 1e-3,
    temperatures: str = "298.15",
    symmetry_number: int | None = None,
    multiplicity: int | None = None,
    gas_pressure: float = 1.0,
    transition_state: Annotated[bool, typer.Option("--transition-state")] = False,
    json: options.Json = False,
    **chosen: Any,
) -> None:
    """Vibrations of a molecule or adsorbate: frequencies, infrared, thermochemistry.

    Translations and rotations are projected out of a molecule, translations of a periodic
    structure. Fixed atoms (FixAtoms) do not move: the vibrations are those of the others. Masses
    are those of the file. Infrared intensities are computed where the calculator has a dipole.
    The free energies are those of the ideal gas for a molecule, else of harmonic oscillators.

    Parameters
    ----------
    calc:
        Name, calculator folder or checkpoint.
    structure:
        File of the structure; the last one is used if it holds several.
    calculator:
        module:factory of any ASE calculator, instead of CALC.
    output:
        Folder for vibrations.json, .csv, .png, thermochemistry.csv and the animated modes.
    method:
        hessian (exact second derivatives), displacements (central differences); default: hessian
        if the calculator has it.
    relaxed:
        Relax the atoms first, in their cell.
    fmax:
        Largest force after the relaxation in eV/A.
    temperatures:
        Temperatures in K, separated by commas, or first:last:step.
    symmetry_number:
        Number of rotations that map the molecule onto itself, such as 2 for H2O; default: 1.
    multiplicity:
        Spin multiplicity 2S+1; default: `spin` of the file, else 1.
    gas_pressure:
        Pressure of the gas in bar.
    transition_state:
        The structure is a saddle point: its one imaginary mode is left out of the free energy.
    json:
        Print JSON for programs.
    chosen:
        Options of crystals, `_crystals.OPTIONS`, --format, and options of the calculator.

    Examples
    --------
    Example: ase-pet vibrations ethanol ethanol.xyz --relax --output vibrations
    """
    from .. import vibrations
    from ..choices import one_of
    from ..vibrations.thermochemistry import HIGHEST_PRESSURE, checked_multiplicity

    if method is not None:
        one_of("method", method, vibrations.METHODS)
    kelvin = _kelvin(temperatures)
    options.check_positive(fmax=fmax, gas_pressure=gas_pressure)
    overwrite = chosen.pop("overwrite")
    shared = _crystals.taken(chosen)
    if gas_pressure > HIGHEST_PRESSURE:
        raise ValueError(
            f"`--gas-pressure` is {gas_pressure!r}: expected a number above 0, at most"
            f" {HIGHEST_PRESSURE:g}, in bar"
        )
    counts = {"symmetry_number": symmetry_number, "multiplicity": multiplicity}
    options.check_positive(**{name: value for name, value in counts.items() if value is not None})
    require_new(output, vibrations.REPORT, overwrite)
    atoms = options.structure_for_derivatives(calc, structure, calculator, **chosen)
    _crystals.require_same_formula(output, atoms.get_chemical_formula(), overwrite)
    if not atoms.pbc.any():
        multiplicity = checked_multiplicity(atoms, multiplicity)
    with screen.progress() as report:
        result = vibrations.run(
            atoms,
            method=method,
            relaxed=relaxed,
            fmax=fmax,
            on_progress=report,
            **shared,
        )
    thermo = None
    missing = ""
    try:
        thermo = vibrations.thermochemistry(
            result,
            kelvin,
            symmetry_number=symmetry_number or 1,
            multiplicity=multiplicity,
            pressure=gas_pressure,
            transition_state=transition_state,
        )
    except vibrations.NoThermochemistry as error:  # the frequencies are a result without it
        missing = str(error)
    content = result.as_dict()
    content["thermochemistry"] = None if thermo is None else thermo.as_dict()
    with printed_if_unwritten(content):
        vibrations.write(result, output, thermo)
    if missing:
        warnings.warn(missing, stacklevel=1)
    elif symmetry_number is None and result.external == "molecule":
        warnings.warn(
            "the entropy is that of the symmetry number 1: give that of the molecule"
            " (--symmetry-number)",
            stacklevel=1,
        )
    if json:
        screen.print_json(content)
    else:
        _show(content, output)


def _kelvin(text: str) -> list[float]:
    """Temperatures in K of --temperatures, above 0."""
    kelvin = numbers("temperatures", text)
    if not min(kelvin) > 0:
        raise ValueError(f"`--temperatures` is {text!r}: expected temperatures above 0 K")
    return kelvin


def _show(content: dict[str, Any], output: Path) -> None:
    """Print modes, what was projected out, and free energies."""
    if content["imaginary"]:
        screen.say(f"IMAGINARY MODES: {content['imaginary']}; the structure is not at a minimum")
    columns = {"cm-1": ".2f", "THz": ".4f", "meV": ".3f"}
    if content["infrared_km_per_mol"] is not None:
        columns["infrared_km_per_mol"] = ".2f"
    table = Table("mode", *(name.replace("_", " ") for name in columns))
    for number in range(len(content["meV"])):
        numbers = [format(content[name][number], digits) for name, digits in columns.items()]
        table.add_row(str(number), *numbers)
    screen.console().print(table)

    # what was left out, and how large it was
    count = content["projected_out"]
    if count:
        before = sorted(content["before_projection_cm-1"], key=abs)[:count]
        shown = ", ".join(f"{value:z.2f}" for value in before)
        kind = "translations and rotations" if content["external"] == "molecule" else "translations"
        screen.say(f"{count} {kind} projected out; before, the lowest were {shown} cm-1")
    else:
        screen.say(f"{len(content['moving_atoms'])} atoms move, nothing is projected out")
    screen.say(
        f"zero-point energy {content['zero_point_energy']:.6f} eV, largest force"
        f" {content['largest_force']:.2g} eV/A, {content['method']}"
    )
    thermo = content["thermochemistry"]
    if thermo is not None:
        lists = {key: value for key, value in thermo.items() if isinstance(value, list)}
        table = Table(*(key.replace("_", " ") for key in lists), title=thermo["model"])
        rows: Any = zip(*lists.values(), strict=True)
        for row in rows:
            table.add_row(*(f"{value:z.5f}" for value in row))
        screen.console().print(table)
    screen.say(f"files in {output}")
