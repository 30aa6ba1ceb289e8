"""`ase-pet elastic`: elastic constants of a crystal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from . import _crystals, options, screen
from ._results import printed_if_unwritten

REPORT = "elastic.json"
VOIGT = ("xx", "yy", "zz", "yz", "xz", "xy")


@options.with_options(
    _crystals.crystal_options(
        "relax",
        "symmetry",
        "symprec",
        "fmax",
        "steps",
        "pressure",
        "overwrite",
        symmetry_help=(
            "Keep the space group in the first relaxation and in the equation of state."
        ),
        steps_help="Maximum number of steps of the first relaxation.",
        pressure_help="Pressure in GPa, positive where it compresses.",
    ),
    options.structure_options(),
    options.derivative_options("Finite differences need float64."),
)
def command(
    calc: options.Calc = None,
    structure: options.Structure = None,
    *,
    calculator: options.Factory = None,
    output: Path | None = None,
    ions: Annotated[bool, typer.Option("--ions/--no-ions")] = True,
    workers: options.Workers = 1,
    json: options.Json = False,
    **chosen: Any,
) -> None:
    """Elastic constants and moduli (GPa) of a crystal, and its equation of state.

    The relaxed cell is strained by 0.5 and 1 % along the axes and 3 and 6 % in shear. The bulk
    modulus is computed twice: from the constants and from the equation of state (Birch-Murnaghan).
    Constraints of the structure are ignored.

    Parameters
    ----------
    calc:
        Name, calculator folder or checkpoint.
    structure:
        File of the structure; the last one is used if it holds several.
    calculator:
        module:factory of any ASE calculator, instead of CALC.
    output:
        Folder to write elastic.json, and the files of the relaxation, to.
    ions:
        Relax the atoms in each strained cell.
    workers:
        Processes that share the strained cells; each computes with one thread, or OMP_NUM_THREADS.
    json:
        Print JSON for programs.
    chosen:
        Options of crystals, `_crystals.OPTIONS`, format of the file, and options of the calculator.

    Examples
    --------
    Example: ase-pet elastic silicon si.cif --output elastic
    """
    from .. import constraints, phonons
    from ..executors import processes

    overwrite = chosen.pop("overwrite")
    steps = chosen.pop("steps")
    relaxed = chosen.pop("relax")
    within = _crystals.taken(chosen)
    strained = {name: within[name] for name in ("fmax", "pressure")}
    atoms = options.structure_for_derivatives(calc, structure, calculator, **chosen)
    own = _crystals.require_own_folder(output, REPORT, atoms, overwrite)
    atoms = constraints.without(atoms, "elastic constants")
    relaxation = {}
    with processes(workers) as executor, screen.progress() as report:
        if relaxed:
            result = phonons.relax(
                atoms,
                steps=steps,
                record=output,
                on_step=lambda step, force: report(f"relaxation, {force:.1e} eV/A", step, None),
                **within,
            )
            atoms = result.atoms
            relaxation = {"relaxation": result.as_dict()}
            _crystals.note_of_forces(result, within["fmax"])
        constants = phonons.elastic(
            atoms,
            ions=ions,
            on_progress=lambda done, total: report("strained cells", done, total),
            executor=executor,
            **strained,
        )
        report("equation of state", 0, None)
        state = phonons.equation_of_state(atoms, ions=ions, executor=executor, **within)
    # the strains are small: the equation of state tests the constants over a wider range
    content = {**constants.as_dict(), "equation_of_state": state.as_dict(), **relaxation, **own}
    if output is not None:
        with printed_if_unwritten(content):
            screen.write_json(output / REPORT, content)
    if json:
        screen.print_json(content)
    else:
        _show(content)
        if output is not None:
            screen.say(f"files in {output}")


def _show(content: dict[str, Any]) -> None:
    """Print constants and moduli."""
    table = Table("GPa", *VOIGT)
    # constants: (6, 6) in Voigt order
    for name, row in zip(VOIGT, content["constants"], strict=True):
        table.add_row(name, *(f"{value:z.2f}" for value in row))
    screen.console().print(table)
    for line in _crystals.told(content.get("relaxation")):
        screen.say(line)
    if content["pressure"]:
        screen.say(f"at a pressure of {content['pressure']:g} GPa")
    if content["stable"]:
        screen.say("mechanically stable")
    else:
        screen.say("MECHANICALLY UNSTABLE: some small strain lowers the energy")
    screen.say(
        f"bulk modulus {content['bulk_hill']:.2f} GPa (equation of state:"
        f" {content['equation_of_state']['bulk_modulus']:.2f}), shear modulus"
        f" {content['shear_hill']:.2f} GPa (Hill)"
    )
