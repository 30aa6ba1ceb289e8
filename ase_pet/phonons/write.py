"""Files of a phonon calculation: input of phonopy, a report in JSON, a plot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import extxyz
from ..staging import staged
from ._folder import RELAXED, TRAJECTORY, require_own
from .spectrum import IMAGINARY, LARGE_FORCE, Spectrum

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARAMETERS = "phonopy_params.yaml"
BANDS = "band.yaml"
DENSITY = "total_dos.dat"
THERMAL = "thermal_properties.yaml"
REPORT = "phonons.json"
PLOT = "phonons.png"
STRUCTURE = "structure.extxyz"
ELEMENTS = "element_dos.dat"
FILES = (
    PARAMETERS,
    BANDS,
    DENSITY,
    ELEMENTS,
    THERMAL,
    REPORT,
    PLOT,
    STRUCTURE,
    RELAXED,
    TRAJECTORY,
)


def write(spectrum: Spectrum, folder: Path | str, overwrite: bool = False) -> list[Path]:
    """Paths of the files written.

    phonopy_params.yaml holds supercell, displacements, forces, and the force constants after the
    projection; `phonopy-load` continues from it. The others are band.yaml, total_dos.dat,
    thermal_properties.yaml, phonons.json, phonons.png, element_dos.dat if there are several
    elements and, after a relaxation, structure.extxyz.

    Parameters
    ----------
    spectrum:
        Spectrum after `compute`.
    folder:
        Folder to write to; it is created if needed.
    overwrite:
        Replace results of another structure.

    Raises
    ------
    ValueError
        The folder holds results of another structure.
    """
    folder = Path(folder)
    content = spectrum.as_dict()
    if "input" in content:
        require_own(folder / REPORT, content["input"], overwrite)
    phonopy = spectrum.phonopy
    with staged(folder) as stage:
        # phonopy does not save the force constants by default
        phonopy.save(stage / PARAMETERS, settings={"force_constants": True})
        phonopy.write_yaml_band_structure(filename=stage / BANDS)
        phonopy.write_total_dos(filename=stage / DENSITY)
        phonopy.write_yaml_thermal_properties(filename=stage / THERMAL)
        report = json.dumps(content, indent=1) + "\n"
        (stage / REPORT).write_text(report, encoding="utf-8")
        plot(spectrum, _title(spectrum)).savefig(stage / PLOT, dpi=150)
        if spectrum.relaxation is not None:
            extxyz.write(stage / STRUCTURE, [spectrum.relaxation.atoms])
        if spectrum.element_dos:
            _write_element_dos(spectrum.element_dos, stage / ELEMENTS)
    if not spectrum.element_dos:
        # of an earlier calculation
        (folder / ELEMENTS).unlink(missing_ok=True)
    return sorted(path for path in folder.iterdir() if path.name in FILES)


def _write_element_dos(density: dict[str, np.ndarray], path: Path) -> None:
    """Write the density of states of each element."""
    header = "frequency (THz), states per THz and primitive cell of " + ", ".join(list(density)[1:])
    np.savetxt(path, np.column_stack(list(density.values())), fmt="%.8f", header=header)


def plot(spectrum: Spectrum, title: str = "") -> Figure:
    """Figure of bands and density of states; imaginary modes are below zero, in red.

    Parameters
    ----------
    spectrum:
        Spectrum after `compute`.
    title:
        Title; a line about imaginary modes and large forces is added to it.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    bands, states = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
    _plot_bands(bands, spectrum.phonopy.band_structure)
    _plot_states(states, spectrum)
    # the frequency range of phonopy's density of states is much larger than that of the bands
    frequencies = spectrum.frequencies
    lowest = frequencies.min()
    low = lowest if lowest < IMAGINARY else 0.0
    high = frequencies.max()
    margin = 0.05 * (high - low)
    bands.set_ylim(low - margin if low < 0 else low, high + margin)
    modes = spectrum.imaginary()
    verdict = "no imaginary modes"
    if modes:
        lowest = modes[0]["frequency"]
        bands.axhspan(lowest, 0, color="red", alpha=0.1)
        verdict = f"{len(modes)} IMAGINARY MODES, lowest {lowest:.2f} THz"
        if all(map(spectrum.small_near_gamma, modes)):
            verdict += " (acoustic, near Gamma: supercell too small?)"
    force = spectrum.facts.get("largest_force", 0.0)
    if force > LARGE_FORCE:
        verdict = f"{verdict}; NOT RELAXED, largest force {force:.2g} eV/A"
    figure.suptitle(f"{title}\n{verdict}" if title else verdict, fontsize="medium")
    return figure


def _plot_states(axes: Any, spectrum: Spectrum) -> None:
    """Plot the density of states, and that of each element, with a legend above the axes."""
    density: Any = spectrum.phonopy.total_dos
    axes.plot(density.dos, density.frequency_points, "black", lw=1, label="total")
    elements = {name: dos for name, dos in spectrum.element_dos.items() if name != "frequency"}
    for index, (element, dos) in enumerate(elements.items()):
        frequencies = spectrum.element_dos["frequency"]
        axes.plot(dos, frequencies, f"C{index}", lw=1, label=element)
    axes.axhline(0, color="black", lw=0.5)
    axes.set(xlabel="states per THz and cell", xlim=(0, None))
    if elements:
        # outside of the axes, where no curve is
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)


def _title(spectrum: Spectrum) -> str:
    """Formula, calculator, supercell, and how the force constants were computed."""
    facts = spectrum.facts
    formula = spectrum.crystal.primitive.get_chemical_formula(empirical=True)
    method = "second derivatives"
    if "displacement" in facts:
        method = f"displacements of {facts['displacement']:g} A"
    matrix = np.array(facts["supercell"])
    repeats = " x ".join(str(number) for number in np.diag(matrix))
    if np.count_nonzero(matrix - np.diag(np.diag(matrix))):
        repeats = "with off-diagonal repeats"
    supercell = f"supercell {repeats}, {facts['supercell_atoms']} atoms"
    correction = ", with LO-TO splitting" if facts.get("nac") else ""
    return f"{formula}, {facts['calculator']}, {supercell}, {method}{correction}"


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
