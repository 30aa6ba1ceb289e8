"""`ase-pet neb`: minimum-energy path and barrier between two structures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from . import _crystals, options, screen
from ._results import require_new

Final = Annotated[str | None, typer.Argument(show_default=False)]


@options.with_options(
    _crystals.crystal_options("overwrite", overwrite_help="Replace results that the folder holds."),
    options.structure_options(),
    options.derivative_options("The forces of float32 are precise to about 1e-5 eV/A."),
)
def command(
    calc: options.Calc = None,
    initial: options.Structure = None,
    final: Final = None,
    *,
    calculator: options.Factory = None,
    output: options.Output,
    images: int = 5,
    interpolation: str = "idpp",
    climb: Annotated[bool, typer.Option("--climb/--no-climb")] = True,
    relaxed: Annotated[bool, typer.Option("--relax/--no-relax")] = True,
    fmax: float = 0.05,
    steps: int = 500,
    spring: float = 0.1,
    json: options.Json = False,
    **chosen: Any,
) -> None:
    """Minimum-energy path and barrier between two structures, by nudged elastic bands.

    Both structures have the same atoms in the same order. They are relaxed first, with fixed cell
    and the constraints of INITIAL. One calculator evaluates all images, in a batch if it can. The
    barrier is that of a cubic fit to energies and forces. Exit status 1: not converged; the files
    are written and say so.

    Parameters
    ----------
    calc:
        Name, calculator folder or checkpoint.
    initial:
        File of the first structure; the last one is used if it holds several.
    final:
        File of the last structure.
    calculator:
        module:factory of any ASE calculator, instead of CALC.
    output:
        Folder for band.extxyz, neb.traj (all steps), neb.json and neb.png.
    images:
        Number of images between the two structures.
    interpolation:
        Start of the path: idpp, linear.
    climb:
        Let the highest image climb to the saddle point.
    relaxed:
        Relax both structures first.
    fmax:
        Largest force on the band in eV/A.
    steps:
        Maximum number of steps of the band.
    spring:
        Spring constant in eV/A^2.
    json:
        Print JSON for programs.
    chosen:
        --overwrite, --format, and options of the calculator.

    Examples
    --------
    Example: ase-pet neb silicon initial.extxyz final.extxyz --images 7 --output neb
    """
    from .. import neb
    from ..choices import one_of

    # with --calculator, the first argument is a structure
    if calculator is not None and final is None:
        final = initial
        initial = calc
        calc = None
    if initial is None or final is None or (calc is None) == (calculator is None):
        raise ValueError("give CALC INITIAL FINAL, or --calculator module:factory INITIAL FINAL")
    one_of("interpolation", interpolation, neb.INTERPOLATIONS)
    options.check_positive(images=images, fmax=fmax, steps=steps, spring=spring)
    require_new(output, neb.REPORT, chosen.pop("overwrite"))
    last = options.read_structures(final, -1, chosen["format"])
    atoms = options.structure_for_derivatives(calc, initial, calculator, **chosen)
    with screen.progress() as report:
        band = neb.run(
            atoms,
            last,
            images=images,
            interpolation=interpolation,
            climb=climb,
            relaxed=relaxed,
            fmax=fmax,
            steps=steps,
            spring=spring,
            folder=output,
            on_step=lambda step, force: report(f"band, {force:.1e} eV/A", step, None),
        )
    neb.write(band, output)
    content = band.as_dict()
    if json:
        screen.print_json(content)
    else:
        _show(content, output)
    if not band.converged:
        screen.complain(f"not converged: {band.largest_force:.2g} eV/A after {band.steps} steps")
        raise typer.Exit(1)


def _show(content: dict[str, Any], output: Path) -> None:
    """Print the barrier and what it rests on."""
    screen.say(
        f"barrier {content['barrier']:z.4f} eV, reverse {content['reverse_barrier']:z.4f} eV,"
        f" energy change {content['energy_change']:z.4f} eV"
    )
    state = "converged" if content["converged"] else "NOT CONVERGED"
    climbing = "climbing image" if content["climbing"] else "no climbing image"
    # first and last structure are minima only if their forces are small
    first, last = content["end_forces"]
    screen.say(
        f"{state}: {content['largest_force']:.2g} eV/A after {content['steps']} steps,"
        f" {climbing} {content['highest_image']}; forces of the ends {first:.2g} and"
        f" {last:.2g} eV/A"
    )
    screen.say(f"files in {output}")
