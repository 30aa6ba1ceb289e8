"""`ase-pet qha`: quasi-harmonic approximation of a crystal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from . import _crystals, options, screen
from ._results import printed_if_unwritten, require_new

SHOWN = {  # column: title, digits
    "temperature_K": ("T, K", ".0f"),
    "volume_A3": ("V, A^3", ".4f"),
    "thermal_expansion_1e-6_per_K": ("dV/V/dT, 1e-6/K", ".3f"),
    "bulk_modulus_GPa": ("B, GPa", ".2f"),
    "gibbs_energy_eV": ("G, eV", ".4f"),
    "heat_capacity_p_J_per_mol_K": ("C_p, J/mol/K", ".3f"),
    "gruneisen": ("gamma", ".3f"),
}
ROWS = 11  # temperatures that are printed
MOST_NUMBERS = 5000  # of a range


@options.with_options(
    _crystals.crystal_options(
        "supercell",
        "displacement",
        "mesh",
        "symmetry",
        "symprec",
        "fmax",
        "limits",
        "overwrite",
        fmax_help="Largest force of the relaxations in eV/A.",
        overwrite_help="Replace results that the folder holds.",
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
    temperatures: str = "0:1000:10",
    strains: str = "-0.015:0.025:0.005",
    pressure: options.Pressure = 0.0,
    equation: str = "vinet",
    gruneisen: Annotated[bool, typer.Option("--gruneisen")] = False,
    workers: options.Workers = 1,
    json: options.Json = False,
    **chosen: Any,
) -> None:
    """Quasi-harmonic crystal: thermal expansion, Gibbs energy, bulk modulus against T.

    The cell is relaxed at --pressure and strained to several volumes. At each the atoms and, where
    the symmetry allows, the shape of the cell are relaxed, and phonons computed. Imaginary modes
    at any volume are errors; temperatures at which the free energy has its minimum outside of the
    volumes are left out, with a note. Needs the
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
        Folder for qha.json, qha.csv and qha.png, and gruneisen.csv and .png.
    temperatures:
        Temperatures in K, as first:last:step or separated by commas.
    strains:
        Relative changes of the cell lengths, five or more, as first:last:step or separated by
        commas. Volumes on both sides of the minimum are needed.
    pressure:
        The crystal is relaxed at it.
    equation:
        Equation of state: vinet, birch_murnaghan, murnaghan.
    gruneisen:
        Compute mode Grueneisen parameters too, at the relaxed volume.
    workers:
        Processes that share the volumes; each computes with one thread, or OMP_NUM_THREADS.
    json:
        Print JSON for programs.
    chosen:
        Options of crystals, `_crystals.OPTIONS`, --format, and options of the calculator.

    Examples
    --------
    Example: ase-pet qha silicon si.cif --supercell 3,3,3 --temperatures 0:800:20 --output qha
    """
    from .. import phonons
    from ..choices import one_of
    from ..executors import processes
    from ..phonons._ranges import checked_strains, checked_temperatures
    from ..phonons.quasi_harmonic import EQUATIONS

    # cheap arguments are checked before a model is loaded or downloaded
    overwrite = chosen.pop("overwrite")
    common = _crystals.taken(chosen) | {"pressure": pressure}
    kelvin = checked_temperatures(numbers("temperatures", temperatures))
    changes = checked_strains(numbers("strains", strains))
    one_of("equation", equation, EQUATIONS)
    require_new(output, "qha.json", overwrite)
    atoms = options.structure_for_derivatives(calc, structure, calculator, **chosen)
    with processes(workers) as executor, screen.progress() as report:
        common["executor"] = executor
        result = phonons.quasi_harmonic(
            atoms,
            temperatures=kelvin,
            strains=changes,
            equation=equation,
            on_progress=report,
            **common,
        )
        modes = None
        if gruneisen:
            modes = phonons.gruneisen(atoms, on_progress=report, **common)
    content = result.as_dict()
    content["mode_gruneisen"] = None if modes is None else modes.as_dict()
    with printed_if_unwritten(content):
        phonons.write_quasi_harmonic(result, output, modes)
    if json:
        screen.print_json(content)
    else:
        _show(content, output)


def numbers(name: str, text: str) -> list[float]:
    """Numbers of an option: first:last:step, last included, or a list with commas.

    Parameters
    ----------
    name:
        Name of the option without its dashes.
    text:
        Value of the option.

    Raises
    ------
    ValueError
        The text holds something else.
    """
    import numpy as np

    expected = f"`--{name}` is {text!r}: expected first:last:step, or numbers with commas"
    try:
        values = [float(part) for part in text.replace(":", ",").split(",")]
    except ValueError:
        raise ValueError(expected) from None
    if not np.isfinite(values).all():
        raise ValueError(expected)
    if ":" not in text:
        return values
    if len(values) != 3 or not values[2] > 0 or values[1] < values[0]:
        raise ValueError(f"{expected}, with a step above 0")
    first, last, step = values
    count = int((last - first) / step + 1e-6) + 1
    if count > MOST_NUMBERS:
        raise ValueError(f"`--{name}` has {count} numbers: expected {MOST_NUMBERS} or fewer")
    # without the rounding of sums such as 0.1 + 0.2
    return [round(first + k * step, 12) for k in range(count)]


def _show(content: dict[str, Any], output: Path) -> None:
    """Print some of the temperatures, and the equation of state without phonons."""
    import numpy as np

    table = Table(*(title for title, _ in SHOWN.values()))
    # evenly spaced rows, first and last included
    last = len(content["temperature_K"]) - 1
    for row in np.unique(np.linspace(0, last, ROWS).round().astype(int)):
        shown = []
        for name, (_, digits) in SHOWN.items():
            value = content[name][row]
            shown.append("-" if value is None else format(value, digits))
        table.add_row(*shown)
    screen.console().print(table)
    static = content["static"]
    screen.say(
        f"without phonons: {static['volume']:.4f} A^3, bulk modulus {static['bulk_modulus']:.2f}"
        f" GPa; volumes and energies are of the primitive cell ({content['atoms_per_cell']} atoms)"
    )
    modes = content["mode_gruneisen"]
    if modes is not None:
        means = ", ".join(
            f"{name.replace('_', ' ')}: {value:.3f}" for name, value in modes["mean"].items()
        )
        screen.say(
            f"mode Grueneisen parameters {modes['lowest']:.3f} to {modes['highest']:.3f}, mean at"
            f" {means}"
        )
    screen.say(f"files in {output}")
