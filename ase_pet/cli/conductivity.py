"""`ase-pet conductivity`: lattice thermal conductivity of a crystal."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from . import _crystals, options, screen
from .phonons import supercell_matrix

VOIGT = {"xx": (0, 0), "yy": (1, 1), "zz": (2, 2), "yz": (1, 2), "xz": (0, 2), "xy": (0, 1)}
REPORT = "conductivity.json"


@options.with_options(
    options.structure_options(), options.derivative_options("Finite differences need float64.")
)
def command(
    calc: options.Calc = None,
    structure: options.Structure = None,
    *,
    calculator: options.Factory = None,
    supercell: str = "2,2,2",
    output: options.Output,
    displacement: float = 0.03,
    mesh: str = "11,11,11",
    temperatures: str = "300",
    isotopes: Annotated[bool, typer.Option("--isotopes/--no-isotopes")] = True,
    relaxed: _crystals.Relax = True,
    symmetry: _crystals.Symmetry = True,
    symprec: float | None = None,
    fmax: float = 1e-4,
    pressure: float = 0.0,
    limits: _crystals.Limits = True,
    overwrite: _crystals.Overwrite = False,
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
    supercell:
        Repeats of the unit cell of STRUCTURE, or the nine integers of a supercell matrix.
    output:
        Folder for phono3py_params.yaml and conductivity.json.
    displacement:
        Length of the displacements in A.
    mesh:
        q-points of the Brillouin zone; increase them until the conductivity is converged.
    temperatures:
        Temperatures in K: numbers separated by commas, or first:last:step.
    isotopes:
        Include the scattering by the isotopes of natural elements.
    relaxed:
        Relax atoms and cell first.
    symmetry:
        Keep the space group in the relaxation, and use its primitive cell.
    symprec:
        Tolerance of the space group in A; default: 0.001, or what the digits of the file need.
    fmax:
        Largest force after the relaxation in eV/A.
    pressure:
        Pressure of the relaxation in GPa, positive where it compresses.
    limits:
        Refuse calculations that are predicted to be too large.
    overwrite:
        Replace the results of another structure in the folder.
    json:
        Print JSON for programs.
    chosen:
        Format of the file, and options of the calculator, `options.CALCULATOR`.

    Examples
    --------
    Example: ase-pet conductivity silicon si.cif --mesh 19,19,19 --output conductivity
    """
    from .. import phonons

    repeats = supercell_matrix(supercell)
    # cheap arguments are checked before a model is loaded or downloaded
    points = options.integers("mesh", mesh, (3,))
    kelvin = _crystals.temperatures(temperatures, lowest=1.0)
    options.check_positive(displacement=displacement, fmax=fmax)
    atoms = options.structure_for_derivatives(calc, structure, calculator, **chosen)
    own = _crystals.require_own_folder(output, REPORT, atoms, overwrite)
    with screen.progress() as report:
        result = phonons.conductivity(
            atoms,
            repeats,
            displacement=displacement,
            mesh=points,
            temperatures=(300.0,) if kelvin is None else kelvin,
            isotopes=isotopes,
            symmetry=symmetry,
            tolerance=symprec,
            relaxed=relaxed,
            fmax=fmax,
            pressure=pressure,
            limits=limits,
            record=output,
            on_progress=lambda done, total: report("displaced supercells", done, total),
        )
    result.write(output)
    content = {**result.as_dict(), **own}
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
