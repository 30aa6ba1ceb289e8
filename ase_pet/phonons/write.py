"""The folder of a phonon calculation: files that phonopy reads, a report for programs, a plot."""

import json
from pathlib import Path

import ase.io
import numpy as np

from .spectrum import IMAGINARY, Spectrum

PARAMETERS, REPORT, PLOT, STRUCTURE = (
    "phonopy_params.yaml",
    "phonons.json",
    "phonons.png",
    "structure.extxyz",
)


def write(spectrum: Spectrum, folder):
    """List of the files written: phonopy_params.yaml (supercell, displacements, forces, force
    constants after the
    projection: `phonopy-load` continues from there), band.yaml, total_dos.dat,
    thermal_properties.yaml, phonons.json, phonons.png, and the relaxed structure.
    """
    folder, found = Path(folder), spectrum.phonopy
    folder.mkdir(parents=True, exist_ok=True)
    found.save(folder / PARAMETERS, settings={"force_constants": True})
    found.write_yaml_band_structure(filename=folder / "band.yaml")
    found.write_total_dos(filename=folder / "total_dos.dat")
    found.write_yaml_thermal_properties(filename=folder / "thermal_properties.yaml")
    (folder / REPORT).write_text(json.dumps(spectrum.as_dict(), indent=1) + "\n", encoding="utf-8")
    plot(spectrum, _title(spectrum)).savefig(folder / PLOT, dpi=150)
    if spectrum.relaxation is not None:
        ase.io.write(folder / STRUCTURE, spectrum.relaxation.atoms)
    return sorted(
        path
        for path in folder.iterdir()
        if path.name
        in {
            PARAMETERS,
            "band.yaml",
            "total_dos.dat",
            "thermal_properties.yaml",
            REPORT,
            PLOT,
            STRUCTURE,
        }
    )


def _title(spectrum):
    """What crystal this is of, and how it was computed."""
    facts = spectrum.facts
    how = (
        f"displacements of {facts['displacement']:g} A"
        if "displacement" in facts
        else "second derivatives"
    )
    return (
        f"{spectrum.crystal.supercell.get_chemical_formula(empirical=True)},"
        f" {facts['supercell_atoms']} atoms, {how}"
    )


def plot(spectrum: Spectrum, title=""):
    """Figure of bands beside the density of states.

    Imaginary modes lie below zero, in red, and come first in the title.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    bands, states = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
    _bands(bands, spectrum.phonopy.band_structure)
    density = spectrum.phonopy.total_dos
    states.plot(density.dos, density.frequency_points, "C0")
    states.set(xlabel="states per THz and cell", xlim=(0, None))
    low, high = min(0.0, spectrum.frequencies.min()), spectrum.frequencies.max()
    bands.set_ylim(
        low - 0.05 * (high - low) * (low < 0), high + 0.05 * (high - low)
    )  # phonopy's density goes far beyond
    modes = spectrum.imaginary()
    if modes:
        bands.axhspan(modes[0]["frequency"], 0, color="red", alpha=0.1)
        title = f"{len(modes)} IMAGINARY MODES, lowest {modes[0]['frequency']:.2f} THz. {title}"
    figure.suptitle(
        title if modes else f"{title}: no imaginary modes" if title else "no imaginary modes"
    )
    return figure


def _bands(axes, bands):
    labels, joined = iter(bands.labels or []), True
    places, names = [], []
    for k, (distances, frequencies) in enumerate(
        zip(bands.distances, bands.frequencies, strict=True)
    ):
        axes.plot(distances, frequencies, "C0", lw=1)
        axes.plot(distances, np.where(frequencies < IMAGINARY, frequencies, np.nan), "red", lw=2)
        if not places or not joined:
            _label(places, names, distances[0], next(labels, ""))
        _label(places, names, distances[-1], next(labels, ""))
        joined = bands.path_connections[k]
    axes.set_xticks(places, names)
    axes.axhline(0, color="black", lw=0.5)
    axes.set(ylabel="frequency (THz)", xlim=(places[0], places[-1]))
    for place in places:
        axes.axvline(place, color="grey", lw=0.5)


def _label(places, names, place, name):
    """Add a tick, or join its name to that of the tick at the same place, where the path jumps."""
    if places and abs(place - places[-1]) < 1e-9:
        names[-1] = f"{names[-1]}|{name}"
    else:
        places.append(place)
        names.append(name)
