"""Picture of a run (thermo.png): energies, temperature, pressure and volume over time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ase.formula import Formula

from ..extras import how_to_install
from ..statistics import with_error
from . import folders
from .outputs import SETTINGS

LONG_FORMULA = 24  # characters; longer ones are sorted by element
GREY = "0.9"
UNCERTAINTY = "max_atom_uncertainty_eV"
COLUMNS = {  # of thermo.csv, each with a panel: label
    "temperature_K": "temperature\n(K)",
    "pressure_GPa": "pressure\n(GPa)",
    "volume_A3": "volume\n(A3)",
    UNCERTAINTY: "uncertainty\nof an atom (eV)",
}


def figure_class(purpose: str = "the plot") -> Any:
    """Class of a matplotlib figure without a window.

    Parameters
    ----------
    purpose:
        What needs it, for the error message.

    Raises
    ------
    ValueError
        Matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ValueError(
            f"{purpose} needs matplotlib, of the extra `train` ({how_to_install('train')}): {error}"
        ) from None
    return Figure


def legend(axes: Any) -> None:
    """Put the legend of `axes`, if they have labels, above them, where it covers no curve."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            loc="lower right", bbox_to_anchor=(1, 1), ncols=4, frameon=False, fontsize="small"
        )


def title(folder: Path) -> str:
    """System, ensemble and calculator of the run in a `folder`; its name if that is all known."""
    if not (folder / SETTINGS).exists():
        return folder.name
    content = folders.read(folder)
    settings = content["settings"]
    structure = content.get("structure", {})
    parts = [short_formula(structure.get("formula", "")), _ensemble(settings)]
    parts.append(calculator_name(content.get("calculator", {})))
    return ", ".join(part for part in parts if part)


def short_formula(text: str) -> str:
    """Chemical formula of at most a line.

    Parameters
    ----------
    text:
        Formula in the order of the atoms, such as OH2OH2; a long one is sorted by element.
    """
    if len(text) <= LONG_FORMULA:
        return text
    try:
        return Formula(text).format("hill")
    except ValueError:  # edited by hand
        return text[:LONG_FORMULA]


def calculator_name(description: dict[str, Any]) -> str:
    """Class of a calculator, and its model if it has one.

    Parameters
    ----------
    description:
        Table "calculator" of settings.toml.
    """
    kind = str(description.get("class", "")).rpartition(".")[2]
    model = str(description.get("parameters", {}).get("model", ""))
    name = Path(model.strip("'\"")).name
    return f"{kind} {name}".strip() if name != "None" else kind


def targets(settings: dict[str, Any], name: str, time: np.ndarray) -> np.ndarray | None:
    """(m,) target or threshold of a column of thermo.csv at the times, None if it has none.

    Parameters
    ----------
    settings:
        Table "settings" of settings.toml. Its temperature may be a list, the points of a ramp.
    name:
        Column, such as "temperature_K".
    time:
        (m,) times in ps.
    """
    ensemble = settings.get("ensemble")
    if name == "temperature_K" and ensemble in ("nvt", "npt"):
        points = _points(settings)
        length = float(settings.get("ramp_time", settings["time"]))
        ramp = np.linspace(0, length, len(points))  # ps; the last temperature is kept
        return np.asarray(np.interp(time, ramp, points))
    if name == "pressure_GPa" and ensemble == "npt":
        return np.full(len(time), np.mean(settings["pressure"]))
    if name == UNCERTAINTY and "uncertainty_threshold" in settings:
        return np.full(len(time), settings["uncertainty_threshold"])
    return None


def _points(settings: dict[str, Any]) -> np.ndarray:
    """(k,) points of the target temperature in K: one, or those of a ramp."""
    return np.atleast_1d(np.asarray(settings["temperature"], dtype=float))


def draw(
    table: dict[str, np.ndarray],
    means: dict[str, Any],
    settings: dict[str, Any],
    atoms: int,
    heading: str,
) -> Any:
    """Figure of a run; equilibration is grey, targets are dashed.

    Parameters
    ----------
    table:
        Table of the run.
    means:
        Its summary, see `md.summary`.
    settings:
        Settings of the run, for the targets; may be empty.
    atoms:
        Number of atoms.
    heading:
        Title.
    """
    names = [name for name in COLUMNS if name in table]
    panels = 2 + len(names)  # two of energies
    figure = figure_class()(figsize=(7, 2.1 * panels + 0.4), layout="constrained")
    first, second, *others = figure.subplots(panels, 1, sharex=True)
    # a title is text of a file: a $ in it begins no formula
    figure.suptitle(heading, fontsize="medium", parse_math=False, wrap=True)
    # Langevin dynamics has no conserved energy
    conserved = "conserved_eV" if "conserved_eV" in table else "total_eV"
    label = conserved.removesuffix("_eV")
    _plot_energies(first, table, {conserved: label}, atoms)
    kinds = {"potential_eV": "potential", "kinetic_eV": "kinetic"}
    _plot_energies(second, table, kinds, atoms)
    for axes, name in zip(others, names, strict=True):
        _plot_column(axes, table, name, means, settings)
    for axes in (first, second, *others):
        start = means.get("equilibrated_from_ps", 0)
        if start > table["time_ps"][0]:
            axes.axvspan(table["time_ps"][0], start, color=GREY, label="equilibration")
        axes.margins(x=0.01)
        legend(axes)
    last = others[-1] if others else second
    last.set(xlabel="time (ps)")
    return figure


def _plot_energies(
    axes: Any, table: dict[str, np.ndarray], kinds: dict[str, str], atoms: int
) -> None:
    """Plot changes of energies in meV per atom; kinds: {column: label}."""
    for name, label in kinds.items():
        change = table[name] - table[name][0]
        axes.plot(table["time_ps"], 1000 * change / atoms, label=label, linewidth=0.8)
    axes.set(ylabel="energy change\n(meV/atom)")


def _plot_column(
    axes: Any,
    table: dict[str, np.ndarray],
    name: str,
    means: dict[str, Any],
    settings: dict[str, Any],
) -> None:
    """Plot a column over time, with its target, and its mean after the equilibration."""
    time = table["time_ps"]
    axes.plot(time, table[name], linewidth=0.8)
    axes.set(ylabel=COLUMNS[name])
    axes.ticklabel_format(useOffset=False)
    _mark_mean(axes, table, name, means)
    target = targets(settings, name, time)
    if target is not None:
        kind = "threshold" if name == UNCERTAINTY else "target"
        text = kind if np.ptp(target) else f"{kind} {target[0]:g}"
        axes.plot(time, target, "k--", linewidth=1, label=text)


def _mark_mean(axes: Any, table: dict[str, np.ndarray], name: str, means: dict[str, Any]) -> None:
    """Plot the mean of a column after the equilibration; the legend says why there is none."""
    mean = means.get(f"mean_{name}", np.nan)
    error = means.get(f"error_{name}")
    note = means.get("notes", {}).get(name)
    if error is not None:
        start = means["equilibrated_from_ps"]
        end = table["time_ps"][-1]
        text = f"mean {with_error(mean, error)}"
        axes.plot([start, end], [mean, mean], color="C1", label=text)
    elif note is not None:
        axes.plot([], [], " ", label=note)


def _ensemble(settings: dict[str, Any]) -> str:
    """Ensemble with its thermostat, temperature and pressure, such as "NVT (bussi) 300 K"."""
    ensemble = str(settings.get("ensemble", ""))
    if ensemble not in ("nvt", "npt"):
        return ensemble.upper()
    points = [f"{point:g}" for point in _points(settings)]
    temperatures = " to ".join(points)
    if ensemble == "nvt":
        thermostat = settings["thermostat"]
        return f"NVT ({thermostat}) {temperatures} K"
    barostat = settings["barostat"]
    pressure = np.mean(settings["pressure"])
    return f"NPT ({barostat}) {temperatures} K, {pressure:g} GPa"
