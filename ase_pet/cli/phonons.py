"""`ase-pet phonons`: lattice vibrations of a crystal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from . import _crystals, options, screen
from ._results import printed_if_unwritten

if TYPE_CHECKING:
    from ..phonons.spectrum import Spectrum

RESIDUALS = {"sum_rule": "eV/A^2", "exchange": "eV/A^2", "acoustic": "THz"}
NOTHING = 1e-20  # of a residual, below which it is printed as 0
LISTED = 3  # imaginary modes: neighbours in q are alike


@options.with_options(
    _crystals.crystal_options(
        "supercell",
        "displacement",
        "mesh",
        "relax",
        "symmetry",
        "symprec",
        "fmax",
        "steps",
        "pressure",
        "limits",
        "overwrite",
        mesh="20,20,20",
        mesh_help="q-points of density of states and thermal properties.",
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
    method: str = "displacements",
    projection: str = "symfc",
    allow_forces: Annotated[bool, typer.Option("--allow-forces")] = False,
    nac: str | None = None,
    path: str | None = None,
    q_points: str | None = None,
    temperatures: str | None = None,
    temperature_max: float = 1000.0,
    workers: options.Workers = 1,
    json: options.Json = False,
    **chosen: Any,
) -> None:
    """Phonons of a crystal: imaginary modes, bands, density of states, heat capacity.

    The cell is relaxed, displaced supercells are evaluated in batches, and the force constants are
    projected onto the sum rule, index exchange and the space group; the violations before the
    projection are reported. phonopy reads the folder: phonopy-load phonopy_params.yaml. Needs the
    extra `phonons`: pip install '.[phonons]' in a clone of ase_pet.

    Parameters
    ----------
    calc:
        Name, calculator folder or checkpoint.
    structure:
        File of the structure; the last one is used if it holds several.
    calculator:
        module:factory of any ASE calculator, instead of CALC.
    output:
        Folder for phonopy_params.yaml, bands, DOS, phonons.json, phonons.png.
    method:
        displacements (finite differences), hessian (exact second derivatives).
    projection:
        Projection of the force constants: symfc (sum rule, index exchange, space group),
        traditional (without the space group), none.
    allow_forces:
        Compute phonons of a structure with forces above 0.1 eV/A.
    nac:
        File BORN of phonopy, with the dielectric tensor and the effective charges: LO-TO splitting.
    path:
        Path of the bands, such as "G,X,L|K,G", by names or fractional coordinates; default: that of
        seekpath.
    q_points:
        q-points to list the frequencies of, such as "0 0 0, 1/2 0 1/2".
    temperatures:
        Temperatures of thermal properties in K: first:last:step, or numbers separated by commas.
    temperature_max:
        Highest temperature of thermal properties in K, without --temperatures.
    workers:
        Processes that share the displaced supercells; each computes with one thread, or
        OMP_NUM_THREADS.
    json:
        Print JSON for programs.
    chosen:
        Options of crystals, `_crystals.OPTIONS`, format of the file, and options of the calculator.

    Examples
    --------
    Example: ase-pet phonons silicon si.cif --supercell 3,3,3 --output phonons
    """
    from .. import phonons
    from ..choices import one_of
    from ..executors import processes
    from ..phonons.force_constants import PROJECTIONS
    from ..phonons.run import METHODS

    # cheap arguments are checked before a model is loaded or downloaded
    overwrite = chosen.pop("overwrite")
    shared = _crystals.taken(chosen)
    one_of("method", method, METHODS)
    one_of("projection", projection, PROJECTIONS)
    options.check_positive(temperature_max=temperature_max)
    kelvin = _crystals.temperatures(temperatures)
    listed = None if q_points is None else phonons.q_points(q_points)
    atoms = options.structure_for_derivatives(calc, structure, calculator, **chosen)
    _crystals.require_own_folder(output, "phonons.json", atoms, overwrite)
    with processes(workers) as executor, screen.progress() as report:
        result = phonons.run(
            atoms,
            method=method,
            projection=projection,
            allow_forces=allow_forces,
            nac=nac,
            temperature_max=temperature_max,
            temperatures=kelvin,
            path=path,
            q_points=listed,
            record=output,
            on_progress=report,
            executor=executor,
            **shared,
        )
        report("files", 0, None)
        content = result.as_dict()
        with printed_if_unwritten(content):
            phonons.write(result, output, overwrite)
    if json:
        screen.print_json(content)
    else:
        _show(content, output, _too_small(result, atoms.calc))


def _too_small(result: Spectrum, calculator: Any) -> str:
    """Remark on a supercell that is less than two cutoffs wide, or nothing."""
    import numpy as np

    from ..calculator import MLIPCalculator

    # other calculators do not say how far they see
    if not isinstance(calculator, MLIPCalculator):
        return ""
    supercell: Any = result.phonopy.supercell
    reciprocal = np.linalg.inv(supercell.cell)  # rows x, columns: vectors of the supercell
    width = 1 / np.linalg.norm(reciprocal, axis=0).max()
    cutoff = calculator.cutoff
    if width >= 2 * cutoff:
        return ""
    return (
        f", or the supercell is too small: {width:.2g} A wide, and the cutoff is {cutoff:g} A"
        " (a longer --supercell tells)"
    )


def _show_imaginary(modes: dict[str, Any], small: str) -> None:
    """Print the number of imaginary modes, what they mean, and the lowest ones."""
    if not modes["modes"]:
        screen.say("no imaginary modes")
        return
    meaning = f"the structure is not at a minimum{small}"
    if modes["small_near_gamma"] == modes["modes"]:
        meaning = (
            "all are small and on acoustic branches near Gamma, which tells of a --supercell that"
            " is too small, or of noisy forces, rather than of an unstable structure"
        )
    screen.say(
        f"IMAGINARY MODES: {modes['modes']} sampled, {modes['fraction_of_mesh']:.2%} of the mesh;"
        f" {meaning}; thermal properties leave these modes out"
    )
    for mode in modes["lowest"][:LISTED]:
        screen.say(
            f"  {mode['frequency']:8.3f} THz at q = {mode['q']}, mode {mode['mode']}"
            f" ({mode['where']})"
        )
    more = modes["modes"] - LISTED
    if more > 0:
        screen.say(f"  and {more} more above these: bands and mesh are in the folder")


def _show(content: dict[str, Any], output: Path, small: str) -> None:
    """Print imaginary modes first, then frequencies and residuals of the force constants."""
    from ..phonons.spectrum import LARGE_FORCE

    _show_imaginary(content["imaginary"], small)
    if content["largest_force"] > LARGE_FORCE:
        screen.say(
            f"NOT RELAXED: the largest force is {content['largest_force']:.2g} eV/A, the structure"
            " is at no minimum"
        )
    for line in _crystals.told(content["relaxation"]):
        screen.say(line)
    screen.say(
        f"frequencies {content['lowest_frequency']:z.3f} to {content['highest_frequency']:.3f} THz;"
        f" largest group velocity {content['largest_group_velocity']:.2f} km/s"
    )
    screen.say(
        f"zero-point energy {content['zero_point_energy']:.4f} eV, heat capacity at 300 K"
        f" {content['heat_capacity_300K']:.2f} J/K/mol (of primitive cells of"
        f" {content['primitive_atoms']} atoms), Debye temperature"
        f" {content['debye_temperature']:.0f} K"
    )
    for point in content["q_points"]:
        listed = " ".join(f"{value:z.3f}" for value in point["frequencies"])
        screen.say(f"q = {point['q']}: {listed} THz")

    # violations of sum rule, index exchange and acoustic frequencies
    residuals = content["residuals"]
    table = Table("residual", "before the projection", "after it", "unit")
    for name, unit in RESIDUALS.items():
        numbers = [residuals[when][name] for when in ("before", "after")]
        # far below the rounding of any force constant
        shown = [f"{value:.2g}" if value > NOTHING else "0" for value in numbers]
        table.add_row(name.replace("_", " "), *shown, unit)
    screen.console().print(table)
    screen.say(
        f"{content['supercell_atoms']} atoms, {content['method']}, {content['seconds']:.1f} s;"
        f" files in {output}"
    )
