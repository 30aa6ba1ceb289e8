"""Files of a nudged elastic band: images, report and plot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from ase.utils.forcecurve import fit_images

from .. import extxyz
from ..staging import staged
from .run import Band

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IMAGES = "band.extxyz"
REPORT = "neb.json"
PLOT = "neb.png"


def write(band: Band, folder: Path | str) -> list[Path]:
    """Paths of the files written: band.extxyz (the images), neb.json and neb.png.

    Parameters
    ----------
    band:
        Result of `run`.
    folder:
        Folder to write to; it is created if needed.
    """
    with staged(Path(folder)) as stage:
        extxyz.write(stage / IMAGES, band.images)
        # images are written with energies and forces
        report = json.dumps(band.as_dict(), indent=1) + "\n"
        (stage / REPORT).write_text(report, encoding="utf-8")
        plot(band).savefig(stage / PLOT, dpi=150)
    return [Path(folder) / name for name in (IMAGES, REPORT, PLOT)]


def plot(band: Band) -> Figure:
    """Figure of the energy along the path, with the slopes of the forces and the barrier.

    Parameters
    ----------
    band:
        Result of `run`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    fit = fit_images(band.images)
    # the barrier is that of the fit
    axes.plot(fit.fit_path, fit.fit_energies, "C0", label="cubic fit to energies and forces")
    axes.plot(fit.path, fit.energies, "ko", label="images")
    axes.axhline(band.barrier, color="grey", ls="--", lw=0.8)
    axes.set(xlabel="path length (A)", ylabel="energy (eV)")
    axes.margins(y=0.15)
    formula = band.images[0].get_chemical_formula()
    barriers = f"barrier {band.barrier:.3f} eV, reverse {band.reverse_barrier:.3f} eV"
    title = f"{formula}, {band.calculator}: {barriers}"
    if not band.converged:
        title = f"NOT CONVERGED ({band.largest_force:.2g} eV/A). {title}"
    figure.suptitle(title, fontsize="medium")
    figure.legend(loc="outside lower center", ncols=2)
    return figure
