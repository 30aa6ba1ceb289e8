"""Files of vibrations: report, table, spectrum and animated modes."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import extxyz
from ..phonons.run import name_of
from ..staging import staged
from .run import Vibrations
from .thermochemistry import Thermochemistry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REPORT = "vibrations.json"
TABLE = "vibrations.csv"
PLOT = "vibrations.png"
STRUCTURE = "structure.extxyz"
THERMO = "thermochemistry.csv"
MODES = "modes"  # folder of animations
FRAMES = 20  # of one period
LARGEST = 0.3  # A, displacement of the atom that moves most in an animation
WIDTH = 10.0  # cm^-1, half width at half maximum of the lines of a spectrum


def write(
    vibrations: Vibrations, folder: Path | str, thermo: Thermochemistry | None = None
) -> list[Path]:
    """Paths of the files written.

    vibrations.json holds all numbers, vibrations.csv one mode a line, vibrations.png the spectrum,
    structure.extxyz the structure, thermochemistry.csv one temperature a line, and the folder modes
    one animation for each mode, which `ase gui` shows.

    Parameters
    ----------
    vibrations:
        Vibrations to write.
    folder:
        Folder to write to; it is created if needed.
    thermo:
        Thermochemistry, if it was computed.
    """
    folder = Path(folder)
    # one file for programs holds all numbers
    report = vibrations.as_dict()
    report["thermochemistry"] = None if thermo is None else thermo.as_dict()
    names = [REPORT, TABLE, PLOT, STRUCTURE]
    with staged(folder) as stage:
        (stage / REPORT).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        _write_table(vibrations, stage / TABLE)
        plot(vibrations).savefig(stage / PLOT, dpi=150)
        extxyz.write(stage / STRUCTURE, [vibrations.atoms])
        if thermo is not None:
            _write_thermo(thermo, stage / THERMO)
            names.append(THERMO)
        for number in range(len(vibrations.energies)):
            path = _animate(vibrations, number, stage / MODES)
            names.append(f"{MODES}/{path.name}")
    paths = [folder / name for name in names]
    animations = set((folder / MODES).glob("*cm-1.xyz"))
    # those of another calculation would be mixed with these
    for old in animations.difference(paths):
        old.unlink()
    return paths


def plot(vibrations: Vibrations) -> Figure:
    """Figure of the infrared spectrum, or of the density of modes if there are no intensities.

    Parameters
    ----------
    vibrations:
        Vibrations; imaginary modes are red, at negative wavenumbers.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    wavenumbers = vibrations.wavenumbers
    # without a dipole all modes have the same height
    heights = vibrations.intensities
    unit = "infrared intensity (km/mol)"
    if heights is None:
        heights = np.ones(len(wavenumbers))
        unit = "modes"
    _plot_lines(axes, wavenumbers, heights)
    axes.set(xlabel="wavenumber (cm$^{-1}$)", ylabel=unit, ylim=(0, None))
    atoms = vibrations.atoms
    title = f"{atoms.get_chemical_formula()}, {name_of(atoms.calc)}, {vibrations.method}"
    if vibrations.imaginary:
        title = f"{vibrations.imaginary} IMAGINARY MODES. {title}"
    figure.suptitle(title)
    return figure


def _plot_lines(axes: Axes, wavenumbers: np.ndarray, heights: np.ndarray) -> None:
    """Sticks of the modes, and their Lorentzians of the same height."""
    low = min(0.0, 1.1 * wavenumbers.min())
    high = 1.1 * max(wavenumbers.max(), 100.0)
    grid = np.linspace(low, high, 4000)
    # (grid, modes)
    shapes = 1 / (1 + ((grid[:, None] - wavenumbers) / WIDTH) ** 2)
    axes.plot(grid, shapes @ heights, "C0", lw=1)
    colours = ["red" if wavenumber < 0 else "black" for wavenumber in wavenumbers]
    axes.vlines(wavenumbers, 0, heights, colors=colours, lw=1)
    axes.axvline(0, color="grey", lw=0.5)
    axes.set_xlim(low, high)


def _write_table(vibrations: Vibrations, path: Path) -> None:
    """One line for each mode."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["mode", "cm-1", "THz", "meV", "infrared_km_per_mol"])
        intensities = vibrations.intensities
        for number, energy in enumerate(vibrations.energies):
            values = [vibrations.wavenumbers[number], vibrations.frequencies[number], 1e3 * energy]
            # without a dipole the last column is empty
            if intensities is not None:
                values.append(intensities[number])
            shown = [f"{value:.6f}" for value in values]
            table.writerow([number, *shown, *[""] * (4 - len(shown))])


def _write_thermo(thermo: Thermochemistry, path: Path) -> None:
    """One line for each temperature."""
    columns = {key: value for key, value in thermo.as_dict().items() if isinstance(value, list)}
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(columns)
        table.writerows(zip(*columns.values(), strict=True))


def _animate(vibrations: Vibrations, number: int, folder: Path) -> Path:
    """Write one period of a mode: the name of the file tells its wavenumber."""
    folder.mkdir(exist_ok=True)
    mode = vibrations.modes[number]  # (n, 3)
    amplitude = LARGEST / np.linalg.norm(mode, axis=1).max()
    wavenumber = float(vibrations.wavenumbers[number])
    frames = []
    for phase in 2 * np.pi * np.arange(FRAMES) / FRAMES:
        frame = vibrations.atoms.copy()
        frame.set_constraint()
        frame.positions += amplitude * np.sin(phase) * mode
        frame.info = {"wavenumber_cm-1": wavenumber}
        frames.append(frame)
    path = folder / f"{number:03d}_{wavenumber:.0f}cm-1.xyz"
    extxyz.write(path, frames)
    return path
