"""Files of the quasi-harmonic approximation: report, table and plot."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..staging import staged
from .gruneisen import Gruneisen, plot_gruneisen
from .quasi_harmonic import QuasiHarmonic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REPORT = "qha.json"
TABLE = "qha.csv"
PLOT = "qha.png"
MODES = "gruneisen.csv"
MODES_PLOT = "gruneisen.png"
# legend above the axes, where it hides no curve
ABOVE: dict[str, Any] = {
    "fontsize": "x-small",
    "loc": "lower center",
    "bbox_to_anchor": (0.5, 1.0),
}
CURVES = 8  # most free energies that are drawn


def write_quasi_harmonic(
    result: QuasiHarmonic, folder: Path | str, modes: Gruneisen | None = None
) -> list[Path]:
    """Paths of the files written.

    qha.json holds all numbers, qha.csv one temperature a line, qha.png the plots; gruneisen.csv has
    one mode of the mesh a line, gruneisen.png shows them.

    Parameters
    ----------
    result:
        Result of `quasi_harmonic`.
    folder:
        Folder to write to; it is created if needed.
    modes:
        Result of `gruneisen`, if it was computed.
    """
    report = result.as_dict()
    report["mode_gruneisen"] = None if modes is None else modes.as_dict()
    names = [REPORT, TABLE, PLOT]
    with staged(Path(folder)) as stage:
        (stage / REPORT).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        # one temperature a line
        columns = result.columns()
        _write_table(stage / TABLE, list(columns), zip(*columns.values(), strict=True))
        plot_quasi_harmonic(result).savefig(stage / PLOT, dpi=150)
        if modes is not None:
            columns_of_modes = ["q1", "q2", "q3", "weight", "frequency_THz", "gruneisen"]
            _write_table(stage / MODES, columns_of_modes, modes.rows())
            plot_gruneisen(modes).savefig(stage / MODES_PLOT, dpi=150)
            names += [MODES, MODES_PLOT]
    return [Path(folder) / name for name in names]


def plot_quasi_harmonic(result: QuasiHarmonic) -> Figure:
    """Figure of free energies against volume, and of volume, expansion, modulus, heat capacities.

    Parameters
    ----------
    result:
        Result of `quasi_harmonic`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    _plot_free_energies(axes[0], result)
    kelvin = result.temperatures
    lines: list[tuple[Any, str]] = [
        (result.volume, "volume (A$^3$ per primitive cell)"),
        (1e6 * result.expansion, "volumetric expansion (10$^{-6}$/K)"),
        (result.bulk_modulus, "bulk modulus (GPa)"),
        (result.heat_capacity_p, "heat capacity (J/mol/K)"),
        (result.gruneisen, "Grueneisen parameter"),
    ]
    for axis, (values, label) in zip(axes[1:], lines, strict=True):
        # a single temperature is a point
        axis.plot(kelvin, values, "C0.-" if len(kelvin) < 20 else "C0")
        axis.set(xlabel="temperature (K)", ylabel=label)
    axes[4].plot(kelvin, result.heat_capacity_v, "C1--")
    axes[4].legend(["at constant pressure", "at constant volume"], loc="lower right")
    axes[2].axhline(0, color="grey", lw=0.5)
    formula = result.volumes[0].formula
    what = f"quasi-harmonic, {result.pressure:g} GPa, {len(result.volumes)} volumes"
    figure.suptitle(f"{formula}, {result.facts['calculator']}, {what}")
    return figure


def _plot_free_energies(axes: Axes, result: QuasiHarmonic) -> None:
    """Free energies of the volumes at some temperatures, and their minima."""
    volumes = [one.primitive_volume for one in result.volumes]
    table = np.asarray(result.free_energies)  # (T, volumes)
    rows = np.unique(np.linspace(0, len(table) - 1, CURVES).astype(int))
    kelvin = [f"{temperature:g} K" for temperature in result.temperatures]
    for row in rows:
        axes.plot(volumes, table[row], ".-", lw=0.8, label=kelvin[row])
    axes.plot(result.volume[rows], result.gibbs[rows], "kx", label="minimum")
    axes.set(xlabel="volume (A$^3$ per primitive cell)", ylabel="free energy (eV)")
    axes.legend(ncols=4, **ABOVE)


def _write_table(path: Path, names: list[str], rows: Any) -> None:
    """Write a CSV file; nan is left empty."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(names)
        for row in rows:
            table.writerow([f"{value:.10g}" if np.isfinite(value) else "" for value in row])
