"""`ase-pet elastic`: elastic constants of a crystal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from . import options, screen

VOIGT = ("xx", "yy", "zz", "yz", "xz", "xy")


@options.with_options(options.derivative_options("Finite differences need float64."))
def command(
    calc: options.Calc = None,
    structure: options.Structure = None,
    *,
    calculator: str | None = None,
    output: Path | None = None,
    relaxed: Annotated[bool, typer.Option("--relax/--no-relax")] = True,
    ions: Annotated[bool, typer.Option("--ions/--no-ions")] = True,
    fmax: float = 1e-4,
    json: options.Json = False,
    **chosen: Any,
) -> None:
    """Elastic constants and moduli (GPa) of a crystal, and its equation of state.

    The relaxed cell is strained by 0.5 and 1 % along the axes and 3 and 6 % in shear. The bulk
    modulus is computed twice: from the constants and from the equation of state (Birch-Murnaghan).

    Parameters
    ----------
    calc:
        Name, calculator folder or checkpoint.
    structure:
        File of the structure; the last one is used if it holds several.
    calculator:
        module:factory of any ASE calculator, instead of CALC.
    output:
        Folder to write elastic.json to.
    relaxed:
        Relax atoms and cell first.
    ions:
        Relax the atoms in each strained cell.
    fmax:
        Largest force after the relaxation in eV/A.
    json:
        Print JSON for programs.
    chosen:
        Options of the calculator, `options.CALCULATOR`.

    Examples
    --------
    Example: ase-pet elastic silicon si.cif --output elastic
    """
    from .. import phonons

    options.check_positive(fmax=fmax)
    atoms = options.structure_for_derivatives(calc, structure, calculator, **chosen)
    relaxation = {}
    with screen.progress() as report:
        if relaxed:
            result = phonons.relax(
                atoms,
                fmax=fmax,
                on_step=lambda step, force: report(f"relaxation, {force:.1e} eV/A", step, None),
            )
            atoms = result.atoms
            relaxation = {"relaxation": result.as_dict()}
        constants = phonons.elastic(
            atoms,
            ions=ions,
            fmax=fmax,
            on_progress=lambda done, total: report("strained cells", done, total),
        )
        report("equation of state", 0, None)
        state = phonons.equation_of_state(atoms, ions=ions, fmax=fmax)
    # the strains are small: the equation of state tests the constants over a wider range
    content = {**constants.as_dict(), "equation_of_state": state.as_dict(), **relaxation}
    if output is not None:
        screen.write_json(output / "elastic.json", content)
    if json:
        screen.print_json(content)
    else:
        _show(content)


def _show(content: dict[str, Any]) -> None:
    """Print constants and moduli."""
    table = Table("GPa", *VOIGT)
    # constants: (6, 6) in Voigt order
    for name, row in zip(VOIGT, content["constants"], strict=True):
        table.add_row(name, *(f"{value:.2f}" for value in row))
    screen.console().print(table)
    if content["stable"]:
        print("mechanically stable")
    else:
        print("MECHANICALLY UNSTABLE: some small strain lowers the energy")
    print(
        f"bulk modulus {content['bulk_hill']:.2f} GPa (equation of state:"
        f" {content['equation_of_state']['bulk_modulus']:.2f}), shear modulus"
        f" {content['shear_hill']:.2f} GPa (Hill)"
    )
