"""`ase-pet conductivity`: lattice thermal conductivity of a crystal."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from . import _crystals, options, screen
from ._results import printed_if_unwritten

VOIGT = {"xx": (0, 0), "yy": (1, 1), "zz": (2, 2), "yz": (1, 2), "xz": (0, 2), "xy": (0, 1)}
REPORT = "conductivity.json"


@options.with_options(
    _crystals.crystal_options(
        "supercell",
        "displacement",
        "mesh",
        "relax",
        "symmetry",
        "symprec",
        "fmax",
        "pressure",
        "limits",
        "overwrite",
        displacement=0.03,
        mesh="11,11,11",
        mesh_help=(
            "q-points of the Brillouin zone; increase them until the conductivity is converged."
        ),
        symmetry_help=(
            "Keep the space group in the relaxation, and use its primitive cell. Symmetric"
            " displacements are left out in each case: phono3py needs that."
        ),
    ),
    options.structure_options(),
    options.derivative_options("Finite differences need float64."),
)
def command(
    calc: options.Calc = None,
    structure: options.Structure = None,
    *,
    calculator: options.Factory = None,
    output: options.Output,
    temperatures: str = "300",
    isotopes: Annotated[bool, typer.Option("--isotopes/--no-isotopes")] = True,
    json: options.Json = False,
    **chosen: Any,
) -> None:
    """Thermal conductivity (W/m/K) of a crystal by phono3py.

    Force constants come from displacements of one and of two atoms. Phonons scatter from phonons,
    in the relaxation-time approximation, and from isotopes. Needs phono3py, of the extra
    `conductivity`: pip install '.[conductivity]' in a clone of ase_pet.

    Parameters
    ----------
    calc:
        Name, calculator folder or checkpoint.
    structure:
        File of the structure; the last one is used if it holds several.
    calculator:
        module:factory of any ASE calculator, instead of CALC.
    output:
        Folder for phono3py_params.yaml and conductivity.json.
    temperatures:
        Temperatures in K: numbers separated by commas, or first:last:step.
    isotopes:
        Include the scattering by the isotopes of natural elements.
    json:
        Print JSON for programs.
    chosen:
        Options of crystals, `_crystals.OPTIONS`, format of the file, and options of the calculator.

    Examples
    --------
    Example: ase-pet conductivity silicon si.cif --mesh 19,19,19 --output conductivity
    """
    from .. import phonons

    # cheap arguments are checked before a model is loaded or downloaded
    overwrite = chosen.pop("overwrite")
    shared = _crystals.taken(chosen)
    kelvin = _crystals.temperatures(temperatures, lowest=1.0)
    atoms = options.structure_for_derivatives(calc, structure, calculator, **chosen)
    own = _crystals.require_own_folder(output, REPORT, atoms, overwrite)
    with screen.progress() as report:
        result = phonons.conductivity(
            atoms,
            temperatures=(300.0,) if kelvin is None else kelvin,
            isotopes=isotopes,
            record=output,
            on_progress=lambda done, total: report("displaced supercells", done, total),
            **shared,
        )
    content = {**result.as_dict(), **own}
    with printed_if_unwritten(content):
        result.write(output)
        screen.write_json(output / REPORT, content)
    if json:
        screen.print_json(content)
    else:
        _show(content)


def _show(content: dict[str, Any]) -> None:
    """Print the conductivity at each temperature."""
    table = Table("K", *VOIGT, "mean", "unit")
    rows = zip(content["temperatures"], content["tensors"], content["mean"], strict=True)
    for kelvin, tensor, mean in rows:
        # tensor: (3, 3), symmetric
        numbers = []
        for row, column in VOIGT.values():
            numbers.append(tensor[row][column])
        numbers.append(mean)
        shown = [f"{value:z.2f}" for value in numbers]
        table.add_row(f"{kelvin:g}", *shown, "W/m/K")
    screen.console().print(table)
    for line in _crystals.told(content["relaxation"]):
        screen.say(line)
    screen.say(f"{content['displaced_supercells']} displaced supercells")
