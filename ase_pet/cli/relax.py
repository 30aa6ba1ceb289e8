"""`ase-pet relax`: a structure at the minimum of its energy."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from ..errors import error_text
from . import _crystals, options, screen

REPORT = "relax.json"
UNITS = {
    "space_group": "",
    "steps": "",
    "energy": "eV",
    "energy_change": "eV",
    "largest_force": "eV/A",
    "largest_stress": "GPa",
    "pressure": "GPa",
    "volume": "A^3",
    "area": "A^2",
}


@options.with_options(
    _crystals.crystal_options("symprec", "fmax", "steps", "overwrite"),
    options.structure_options(),
    options.derivative_options("The forces of float32 are precise to about 1e-5 eV/A."),
)
def command(
    calc: options.Calc = None,
    structure: options.Structure = None,
    *,
    calculator: options.Factory = None,
    output: options.Output,
    cell: Annotated[bool | None, typer.Option("--cell/--no-cell")] = None,
    symmetry: Annotated[bool | None, typer.Option("--symmetry/--no-symmetry")] = None,
    pressure: float = 0.0,
    json: options.Json = False,
    **chosen: Any,
) -> None:
    """Relax a structure within its space group.

    The structure is first refined to the space group that it has within 0.001 A; if the relaxation
    reaches a larger one, it goes on within that. --fmax is for the forces that space group and
    constraints leave. The largest force that is printed is that of the calculator: it is above
    --fmax, with a note, if the calculator breaks the symmetry of the crystal, or if constraints
    hold atoms. Layers, periodic in two directions, are relaxed in their plane.
    relaxed.extxyz and relaxation.traj are written at each step.

    Parameters
    ----------
    calc:
        Name, calculator folder or checkpoint.
    structure:
        File of the structure; the last one is used if it holds several.
    calculator:
        module:factory of any ASE calculator, instead of CALC.
    output:
        Folder to write relaxed.extxyz, relaxation.traj and relax.json to.
    cell:
        Relax the cell too; default: if three directions are periodic, or two. Atoms that
        constraints hold move with it.
    symmetry:
        Keep the space group; default: if three directions are periodic, or two, and no constraint
        holds an atom.
    pressure:
        Pressure in GPa on the cell, positive where it compresses.
    json:
        Print JSON for programs.
    chosen:
        Options of crystals, `_crystals.OPTIONS`, format of the file, and options of the calculator.

    Examples
    --------
    Example: ase-pet relax silicon si.cif --output relaxed
    """
    from .. import phonons

    overwrite = chosen.pop("overwrite")
    options.check_positive(steps=chosen["steps"])
    shared = _crystals.taken(chosen)
    # no progress in percent: the number of steps is not known
    atoms = options.structure_for_derivatives(calc, structure, calculator, **chosen)
    own = _crystals.require_own_folder(output, REPORT, atoms, overwrite)
    # what a run that is killed leaves
    screen.write_json(output / REPORT, {"converged": False, **own})
    try:
        with screen.progress() as report:
            relaxation = phonons.relax(
                atoms,
                cell=cell,
                symmetry=symmetry,
                pressure=pressure,
                record=output,
                on_step=lambda step, force: report(f"relaxation, {force:.1e} eV/A", step, None),
                **shared,
            )
    except BaseException as error:
        ended = error_text(error)
        screen.write_json(output / REPORT, {"converged": False, "error": ended, **own})
        raise
    content = {**relaxation.as_dict(), **own}
    screen.write_json(output / REPORT, content)
    if json:
        screen.print_json(content)
    else:
        _show(content)
        if relaxation.symmetry_change is not None:
            screen.say(relaxation.symmetry_change)
        screen.say(f"files in {output}")
    _crystals.note_of_forces(relaxation, shared["fmax"])


def _show(content: dict[str, Any]) -> None:
    """Print the result of a relaxation."""
    table = Table(show_header=False)
    for name, unit in UNITS.items():
        value = content[name]
        if value is None or (name == "pressure" and not value):
            continue  # no volume of a molecule
        # space group and steps are no numbers with digits
        shown = f"{value:.6g}" if isinstance(value, float) else str(value)
        table.add_row(name.replace("_", " "), shown, unit)
    # a molecule in a box has a cell, but it means nothing
    if content["volume"] is not None or content["area"] is not None:
        lengths_and_angles = [f"{value:.4f}" for value in content["cell"]]
        table.add_row("cell", " ".join(lengths_and_angles), "A, degrees")
    screen.console().print(table)
