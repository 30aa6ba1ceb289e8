"""`ase-pet conductivity`: lattice thermal conductivity of a crystal."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from . import options, screen
from .phonons import supercell_matrix

VOIGT = {"xx": (0, 0), "yy": (1, 1), "zz": (2, 2), "yz": (1, 2), "xz": (0, 2), "xy": (0, 1)}
MOST_TEMPERATURES = 1000


@options.with_options(options.derivative_options("Finite differences need float64."))
def command(
    calc: options.Calc = None,
    structure: options.Structure = None,
    *,
    calculator: str | None = None,
    supercell: str = "2,2,2",
    output: options.Output,
    displacement: float = 0.03,
    mesh: str = "11,11,11",
    temperatures: str = "300",
    isotopes: Annotated[bool, typer.Option("--isotopes/--no-isotopes")] = True,
    relaxed: Annotated[bool, typer.Option("--relax/--no-relax")] = True,
    fmax: float = 1e-4,
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
        Temperatures in K, whole numbers, separated by commas.
    isotopes:
        Include the scattering by the isotopes of natural elements.
    relaxed:
        Relax atoms and cell first.
    fmax:
        Largest force after the relaxation in eV/A.
    json:
        Print JSON for programs.
    chosen:
        Options of the calculator, `options.CALCULATOR`.

    Examples
    --------
    Example: ase-pet conductivity silicon si.cif --mesh 19,19,19 --output conductivity
    """
    from .. import phonons

    repeats = supercell_matrix(supercell)
    # cheap arguments are checked before a model is loaded or downloaded
    points = options.integers("mesh", mesh, (3,))
    kelvin = options.integers("temperatures", temperatures, range(1, MOST_TEMPERATURES + 1))
    options.check_positive(displacement=displacement, fmax=fmax)
    atoms = options.structure_for_derivatives(calc, structure, calculator, **chosen)
    with screen.progress() as report:
        result = phonons.conductivity(
            atoms,
            repeats,
            displacement=displacement,
            mesh=points,
            temperatures=kelvin,
            isotopes=isotopes,
            relaxed=relaxed,
            fmax=fmax,
            on_progress=lambda done, total: report("displaced supercells", done, total),
        )
    result.write(output)
    content = result.as_dict()
    screen.write_json(output / "conductivity.json", content)
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
        shown = [f"{value:.2f}" for value in numbers]
        table.add_row(f"{kelvin:g}", *shown, "W/m/K")
    screen.console().print(table)
    print(f"{content['displaced_supercells']} displaced supercells")
