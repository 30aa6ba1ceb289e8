"""Files of a phonon calculation: input of phonopy, a report in JSON, a plot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase.io
import numpy as np

from .spectrum import IMAGINARY, Spectrum

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARAMETERS = "phonopy_params.yaml"
BANDS = "band.yaml"
DENSITY = "total_dos.dat"
THERMAL = "thermal_properties.yaml"
REPORT = "phonons.json"
PLOT = "phonons.png"
STRUCTURE = "structure.extxyz"
FILES = (PARAMETERS, BANDS, DENSITY, THERMAL, REPORT, PLOT, STRUCTURE)


def write(spectrum: Spectrum, folder: Path | str) -> list[Path]:
    """Paths of the files written.

    phonopy_params.yaml holds supercell, displacements, forces, and the force constants after the
    projection; `phonopy-load` continues from it. The others are band.yaml, total_dos.dat,
    thermal_properties.yaml, phonons.json, phonons.png and, after a relaxation, structure.extxyz.

    Parameters
    ----------
    spectrum:
        Spectrum after `compute`.
    folder:
        Folder to write to; it is created if needed.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    phonopy = spectrum.phonopy
    # phonopy does not save the force constants by default
    phonopy.save(folder / PARAMETERS, settings={"force_constants": True})
    phonopy.write_yaml_band_structure(filename=folder / BANDS)
    phonopy.write_total_dos(filename=folder / DENSITY)
    phonopy.write_yaml_thermal_properties(filename=folder / THERMAL)
    report = json.dumps(spectrum.as_dict(), indent=1) + "\n"
    (folder / REPORT).write_text(report, encoding="utf-8")
    plot(spectrum, _title(spectrum)).savefig(folder / PLOT, dpi=150)
    if spectrum.relaxation is not None:
        ase.io.write(folder / STRUCTURE, spectrum.relaxation.atoms)
    return sorted(path for path in folder.iterdir() if path.name in FILES)


def plot(spectrum: Spectrum, title: str = "") -> Figure:
    """Figure of bands and density of states; imaginary modes are below zero, in red.

    Parameters
    ----------
    spectrum:
        Spectrum after `compute`.
    title:
        Title; the number of imaginary modes is added to it.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    bands, states = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
    _plot_bands(bands, spectrum.phonopy.band_structure)
    density: Any = spectrum.phonopy.total_dos
    states.plot(density.dos, density.frequency_points, "C0")
    states.set(xlabel="states per THz and cell", xlim=(0, None))
    # the frequency range of phonopy's density of states is much larger than that of the bands
    frequencies = spectrum.frequencies
    low = min(0.0, frequencies.min())
    high = frequencies.max()
    margin = 0.05 * (high - low)
    bands.set_ylim(low - margin if low < 0 else low, high + margin)
    modes = spectrum.imaginary()
    if modes:
        lowest = modes[0]["frequency"]
        bands.axhspan(lowest, 0, color="red", alpha=0.1)
        title = f"{len(modes)} IMAGINARY MODES, lowest {lowest:.2f} THz. {title}"
    elif title:
        title = f"{title}: no imaginary modes"
    else:
        title = "no imaginary modes"
    figure.suptitle(title)
    return figure


def _title(spectrum: Spectrum) -> str:
    """Formula, size of the supercell, and how the force constants were computed."""
    facts = spectrum.facts
    formula = spectrum.crystal.supercell.get_chemical_formula(empirical=True)
    method = "second derivatives"
    if "displacement" in facts:
        method = f"displacements of {facts['displacement']:g} A"
    return f"{formula}, {facts['supercell_atoms']} atoms, {method}"


def _plot_bands(axes: Any, bands: Any) -> None:
    """Plot phonopy's bands, and label the special points of their path."""
    labels = iter(bands.labels or [])
    ticks: list[float] = []
    names: list[str] = []
    joined = True  # whether a line begins at the point where the previous one ends
    lines = zip(bands.distances, bands.frequencies, bands.path_connections, strict=True)
    for distances, frequencies, next_is_joined in lines:
        imaginary = np.where(frequencies < IMAGINARY, frequencies, np.nan)
        axes.plot(distances, frequencies, "C0", lw=1)
        axes.plot(distances, imaginary, "red", lw=2)
        if not ticks or not joined:
            _add_tick(ticks, names, distances[0], next(labels, ""))
        _add_tick(ticks, names, distances[-1], next(labels, ""))
        joined = next_is_joined
    axes.set_xticks(ticks, names)
    axes.axhline(0, color="black", lw=0.5)
    axes.set(ylabel="frequency (THz)", xlim=(ticks[0], ticks[-1]))
    for tick in ticks:
        axes.axvline(tick, color="grey", lw=0.5)


def _add_tick(ticks: list[float], names: list[str], position: float, name: str) -> None:
    """Add a tick; where the path jumps, two points share a position, and their names are joined."""
    if ticks and abs(position - ticks[-1]) < 1e-9:
        names[-1] = f"{names[-1]}|{name}"
    else:
        ticks.append(position)
        names.append(name)
