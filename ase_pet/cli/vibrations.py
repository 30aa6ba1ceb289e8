"""Commands around the minimum of the energy: relax, phonons, elastic, conductivity."""

import contextlib
import json as json_module
from pathlib import Path

import ase.io
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from .. import phonons as phonons_room
from .inputs import CALC, MODEL_SYMMETRY, STRUCTURE, integers
from .inputs import structure as read_structure
from .inspect import CALCULATOR, JSON

DTYPE = typer.Option(
    "float64", help="of CALC; float32 is too coarse for derivatives by differences"
)
FMAX = typer.Option(1e-4, help="eV/A, largest force after the relaxation")
SYMMETRY = typer.Option(
    None,
    "--symmetry/--no-symmetry",
    help="keep the space group; default: where all directions are periodic",
)
STEPS = typer.Option(500, help="most steps of the relaxation")
RELAX = typer.Option(True, "--relax/--no-relax", help="relax atoms and cell first")


def register(app):
    """Add the commands to the application."""
    app.command("relax")(relax)
    app.command("phonons")(phonons)
    app.command("elastic")(elastic)
    app.command("conductivity")(conductivity)


def relax(
    calc: str = CALC,
    structure: str = STRUCTURE,
    calculator: str = CALCULATOR,
    output: Path = typer.Option(..., help="folder to write relaxed.extxyz and relax.json to"),
    cell: bool = typer.Option(
        None,
        "--cell/--no-cell",
        help="relax the cell too; default: where all directions are periodic",
    ),
    symmetry: bool = SYMMETRY,
    fmax: float = FMAX,
    steps: int = STEPS,
    symmetrise: str = MODEL_SYMMETRY,
    dtype: str = DTYPE,
    json: bool = JSON,
):
    """Relax a structure within its space group.

    The structure is first refined to the space group that it has within 0.001 A. "largest force" is
    that of the calculator
    alone: above --fmax, the calculator breaks the symmetry of the crystal.
    """
    atoms = _structure(calc, structure, calculator, symmetrise, dtype)
    with _progress() as report:
        found = phonons_room.relax(
            atoms,
            fmax=fmax,
            cell=cell,
            symmetry=symmetry,
            steps=steps,
            on_step=lambda step, force: report(f"relaxation, {force:.1e} eV/A", step, None),
        )
    output.mkdir(parents=True, exist_ok=True)
    ase.io.write(output / "relaxed.extxyz", found.atoms)
    _finish(
        found.as_dict(), output / "relax.json", json, lambda: _print_relaxation(found.as_dict())
    )


def phonons(
    calc: str = CALC,
    structure: str = STRUCTURE,
    calculator: str = CALCULATOR,
    supercell: str = typer.Option(
        "2,2,2", help="repeats of the unit cell in STRUCTURE, or nine integers of a matrix"
    ),
    output: Path = typer.Option(
        ..., help="folder: phonopy_params.yaml, bands, DOS, phonons.json, phonons.png"
    ),
    method: str = typer.Option(
        "displacements", help="displacements, or hessian: exact second derivatives"
    ),
    displacement: float = typer.Option(0.01, help="A"),
    projection: str = typer.Option(
        "symfc",
        help=(
            "of the force constants: symfc (sum rule, exchange of indices, space "
            "group), traditional (without the space group), none"
        ),
    ),
    mesh: str = typer.Option(
        "20,20,20", help="q-points of density of states and thermal properties"
    ),
    relaxed: bool = RELAX,
    symmetry: bool = typer.Option(True, "--symmetry/--no-symmetry", help="use the space group"),
    fmax: float = FMAX,
    temperature_max: float = typer.Option(1000.0, help="K, of thermal properties"),
    symmetrise: str = MODEL_SYMMETRY,
    dtype: str = DTYPE,
    json: bool = JSON,
):
    """Phonons of a crystal: imaginary modes first, then bands, density of states, thermal
    properties.

    The cell is relaxed, displaced supercells are evaluated in batches, and the force constants are
    projected onto the laws that they obey; how far they were from these is reported. phonopy reads
    the folder: phonopy-load phonopy_params.yaml
    """
    repeats, points = integers("supercell", supercell, (3, 9)), integers("mesh", mesh, (3,))
    repeats = repeats if len(repeats) == 3 else [repeats[k : k + 3] for k in (0, 3, 6)]
    atoms = _structure(calc, structure, calculator, symmetrise, dtype)
    with _progress() as report:
        found = phonons_room.run(
            atoms,
            repeats,
            method=method,
            displacement=displacement,
            projection=projection,
            symmetry=symmetry,
            relaxed=relaxed,
            fmax=fmax,
            mesh=points,
            temperature_max=temperature_max,
            on_progress=report,
        )
        report("files", 0, None)
        phonons_room.write(found, output)
    _finish(found.as_dict(), None, json, lambda: _print_phonons(found.as_dict(), output))


def elastic(
    calc: str = CALC,
    structure: str = STRUCTURE,
    calculator: str = CALCULATOR,
    output: Path = typer.Option(None, help="folder to write elastic.json to"),
    relaxed: bool = RELAX,
    ions: bool = typer.Option(
        True, "--ions/--no-ions", help="relax the atoms in each strained cell"
    ),
    fmax: float = FMAX,
    symmetrise: str = MODEL_SYMMETRY,
    dtype: str = DTYPE,
    json: bool = JSON,
):
    """Elastic constants and moduli (GPa) of a crystal, and its equation of state beside them.

    The relaxed cell is strained by 0.5 and 1 % along the axes and 3 and 6 % in shear; the bulk
    modulus of the equation of state (Birch-Murnaghan) is another road to that of the constants.
    """
    atoms = _structure(calc, structure, calculator, symmetrise, dtype)
    content = {}
    with _progress() as report:
        if relaxed:
            relaxation = phonons_room.relax(
                atoms,
                fmax=fmax,
                on_step=lambda step, force: report(f"relaxation, {force:.1e} eV/A", step, None),
            )
            atoms, content["relaxation"] = relaxation.atoms, relaxation.as_dict()
        constants = phonons_room.elastic(
            atoms,
            ions=ions,
            fmax=fmax,
            on_progress=lambda done, total: report("strained cells", done, total),
        )
        report("equation of state", 0, None)
        state = phonons_room.equation_of_state(atoms, ions=ions, fmax=fmax)
    content = constants.as_dict() | {"equation_of_state": state.as_dict()} | content
    path = None if output is None else output / "elastic.json"
    _finish(content, path, json, lambda: _print_elastic(content))


def conductivity(
    calc: str = CALC,
    structure: str = STRUCTURE,
    calculator: str = CALCULATOR,
    supercell: str = typer.Option(
        "2,2,2", help="repeats of the unit cell in STRUCTURE, or nine integers"
    ),
    output: Path = typer.Option(..., help="folder: phono3py_params.yaml, conductivity.json"),
    displacement: float = typer.Option(0.03, help="A"),
    mesh: str = typer.Option("11,11,11", help="q-points; increase them until the number stays"),
    temperatures: str = typer.Option("300", help="K, whole numbers, separated by commas"),
    isotopes: bool = typer.Option(
        True, "--isotopes/--no-isotopes", help="scattering by those of natural elements"
    ),
    relaxed: bool = RELAX,
    fmax: float = FMAX,
    symmetrise: str = MODEL_SYMMETRY,
    dtype: str = DTYPE,
    json: bool = JSON,
):
    """Thermal conductivity (W/m/K) of a crystal by phono3py, from displacements of one and two
    atoms.

    Phonons scatter from each other, in the relaxation-time approximation, and from isotopes. Needs
    phono3py, of the extra `conductivity`.
    """
    repeats, points = integers("supercell", supercell, (3, 9)), integers("mesh", mesh, (3,))
    kelvin = integers("temperatures", temperatures, range(1, 1001))
    repeats = repeats if len(repeats) == 3 else [repeats[k : k + 3] for k in (0, 3, 6)]
    atoms = _structure(calc, structure, calculator, symmetrise, dtype)
    with _progress() as report:
        found = phonons_room.conductivity(
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
    found.write(output)
    _finish(
        found.as_dict(),
        output / "conductivity.json",
        json,
        lambda: _print_conductivity(found.as_dict()),
    )


def _structure(calc, structure, calculator, symmetrise, dtype):
    """Atoms with their calculator; the default of `dtype` is for those of this package."""
    return read_structure(
        calc,
        structure,
        calculator,
        symmetrise=symmetrise,
        dtype=dtype if calculator is None else None,
    )


@contextlib.contextmanager
def _progress():
    """Function report(stage, done, total or None) that shows a bar on stderr."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("")
        yield lambda stage, done, total: progress.update(
            task, description=stage, completed=done, total=total
        )


def _finish(content, path, json, show):
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json_module.dumps(content, indent=1) + "\n", encoding="utf-8")
    if json:
        print(json_module.dumps(content))
    else:
        show()


def _print_relaxation(found):
    table = Table(show_header=False)
    for name, unit in (
        ("space_group", ""),
        ("steps", ""),
        ("energy", "eV"),
        ("energy_change", "eV"),
        ("largest_force", "eV/A"),
        ("largest_stress", "GPa"),
        ("volume", "A^3"),
    ):
        value = found[name]
        table.add_row(
            name.replace("_", " "), f"{value:.6g}" if isinstance(value, float) else str(value), unit
        )
    table.add_row("cell", " ".join(f"{value:.4f}" for value in found["cell"]), "A, degrees")
    Console().print(table)


def _print_phonons(found, output):
    modes = found["imaginary"]
    if modes["modes"]:
        print(
            f"IMAGINARY MODES: {modes['modes']} sampled, {modes['fraction_of_mesh']:.2%} of the"
            " mesh; the structure is not at a minimum, and thermal properties leave these"
            " modes out"
        )
        for mode in modes["lowest"]:
            print(
                f"  {mode['frequency']:8.3f} THz at q = {mode['q']}, mode {mode['mode']}"
                f" ({mode['where']})"
            )
    else:
        print("no imaginary modes")
    print(
        f"frequencies {found['lowest_frequency']:.3f} to {found['highest_frequency']:.3f} THz;"
        f" largest group velocity {found['largest_group_velocity']:.2f} km/s"
    )
    table = Table("residual", "before the projection", "after it", "unit")
    for name, unit in (("sum_rule", "eV/A^2"), ("exchange", "eV/A^2"), ("acoustic", "THz")):
        table.add_row(
            name.replace("_", " "),
            *(f"{found['residuals'][when][name]:.2g}" for when in ("before", "after")),
            unit,
        )
    Console().print(table)
    print(
        f"{found['supercell_atoms']} atoms, {found['method']}, {found['seconds']:.1f} s; files in"
        f" {output}"
    )


def _print_elastic(found):
    table = Table("GPa", "xx", "yy", "zz", "yz", "xz", "xy")
    for name, row in zip(("xx", "yy", "zz", "yz", "xz", "xy"), found["constants"], strict=True):
        table.add_row(name, *(f"{value:.2f}" for value in row))
    Console().print(table)
    print(
        "mechanically stable"
        if found["stable"]
        else "MECHANICALLY UNSTABLE: some small strain lowers the energy"
    )
    print(
        f"bulk modulus {found['bulk_hill']:.2f} GPa (equation of state:"
        f" {found['equation_of_state']['bulk_modulus']:.2f}), shear modulus"
        f" {found['shear_hill']:.2f} GPa (Hill)"
    )


def _print_conductivity(found):
    table = Table("K", *("xx", "yy", "zz", "yz", "xz", "xy"), "mean", "unit")
    for kelvin, tensor, mean in zip(
        found["temperatures"], found["tensors"], found["mean"], strict=True
    ):
        entries = [tensor[i][j] for i, j in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))]
        table.add_row(f"{kelvin:g}", *(f"{value:.2f}" for value in [*entries, mean]), "W/m/K")
    Console().print(table)
    print(f"{found['displaced_supercells']} displaced supercells")
