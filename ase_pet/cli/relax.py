"""`ase-pet relax`: a structure at the minimum of its energy."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from . import options, screen

UNITS = {
    "space_group": "",
    "steps": "",
    "energy": "eV",
    "energy_change": "eV",
    "largest_force": "eV/A",
    "largest_stress": "GPa",
    "volume": "A^3",
}


@options.with_options(
    options.derivative_options("The forces of float32 are precise to about 1e-5 eV/A.")
)
def command(
    calc: options.Calc = None,
    structure: options.Structure = None,
    *,
    calculator: str | None = None,
    output: options.Output,
    cell: Annotated[bool | None, typer.Option("--cell/--no-cell")] = None,
    symmetry: Annotated[bool | None, typer.Option("--symmetry/--no-symmetry")] = None,
    fmax: float = 1e-4,
    steps: int = 500,
    json: options.Json = False,
    **chosen: Any,
) -> None:
    """Relax a structure within its space group.

    The structure is first refined to the space group that it has within 0.001 A. The largest force
    that is printed is not projected onto the space group: if it is above --fmax, the calculator
    breaks the symmetry of the crystal.

    Parameters
    ----------
    calc:
        Name, calculator folder or checkpoint.
    structure:
        File of the structure; the last one is used if it holds several.
    calculator:
        module:factory of any ASE calculator, instead of CALC.
    output:
        Folder to write relaxed.extxyz and relax.json to.
    cell:
        Relax the cell too; default: if all directions are periodic.
    symmetry:
        Keep the space group; default: if all directions are periodic.
    fmax:
        Largest force after the relaxation in eV/A.
    steps:
        Maximum number of steps of the relaxation.
    json:
        Print JSON for programs.
    chosen:
        Options of the calculator, `options.CALCULATOR`.

    Examples
    --------
    Example: ase-pet relax silicon si.cif --output relaxed
    """
    import ase.io

    from .. import phonons

    options.check_positive(fmax=fmax, steps=steps)
    # no progress in percent: the number of steps is not known
    atoms = options.structure_for_derivatives(calc, structure, calculator, **chosen)
    with screen.progress() as report:
        relaxation = phonons.relax(
            atoms,
            fmax=fmax,
            cell=cell,
            symmetry=symmetry,
            steps=steps,
            on_step=lambda step, force: report(f"relaxation, {force:.1e} eV/A", step, None),
        )
    output.mkdir(parents=True, exist_ok=True)
    ase.io.write(output / "relaxed.extxyz", relaxation.atoms)
    content = relaxation.as_dict()
    screen.write_json(output / "relax.json", content)
    if json:
        screen.print_json(content)
    else:
        _show(content)


def _show(content: dict[str, Any]) -> None:
    """Print the result of a relaxation."""
    table = Table(show_header=False)
    for name, unit in UNITS.items():
        value = content[name]
        # space group and steps are no numbers with digits
        shown = f"{value:.6g}" if isinstance(value, float) else str(value)
        table.add_row(name.replace("_", " "), shown, unit)
    lengths_and_angles = [f"{value:.4f}" for value in content["cell"]]
    table.add_row("cell", " ".join(lengths_and_angles), "A, degrees")
    screen.console().print(table)
