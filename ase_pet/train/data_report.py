"""Pictures and a page of a set of labelled structures."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import units

from .data import Sample
from .report import figure_class

BINS = 40
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body {{font-family: sans-serif; max-width: 70em; margin: 2em auto}}
td, th {{padding: 0.2em 0.8em; text-align: left; border-bottom: 1px solid #ccc}}</style></head>
<body><h1>{title}</h1>
<table>{table}</table>
<h2>To look at</h2>
{notes}
<h2>Distributions</h2>
<img alt="distributions" style="max-width: 100%" src="data:image/png;base64,{picture}">
</body></html>
"""


def figure(groups: Mapping[str, Sequence[Sample]]) -> Any:
    """Figure with the distributions of energies, forces, pressures and shortest distances.

    Parameters
    ----------
    groups:
        Samples with their total energies by file or split.

    Raises
    ------
    ValueError
        matplotlib is missing.
    """
    drawn = figure_class()(figsize=(10, 7), layout="constrained")
    panels = drawn.subplots(2, 2).ravel()
    titles = ("energy (eV/atom)", "force on an atom (eV/A)", "pressure (GPa)", "nearest atom (A)")
    for axes, title in zip(panels, titles, strict=True):
        axes.set(xlabel=title, ylabel="count")
    for name, samples in groups.items():
        quantities = _values(samples)
        for axes, values in zip(panels, quantities, strict=True):
            known = values[np.isfinite(values)]
            if len(known):
                axes.hist(known, BINS, histtype="step", label=name)
    # few structures of interest beside many usual ones
    for axes in panels[:2]:
        axes.set_yscale("log")
    if panels[0].has_data():
        panels[0].legend()
    return drawn


def page(
    groups: Mapping[str, Sequence[Sample]],
    table: Mapping[str, Mapping[str, str]],
    notes: Sequence[str],
    path: Path,
) -> None:
    """Write a page in HTML that needs no other file.

    Parameters
    ----------
    groups:
        Samples with their total energies by file or split.
    table:
        {row: {group: text}} of the numbers.
    notes:
        Lines on structures to look at.
    path:
        Path of the page.
    """
    # inside of the page, so that it can be sent as one file
    picture = io.BytesIO()
    figure(groups).savefig(picture, dpi=110)
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ("", *groups))
    rows = [f"<tr>{head}</tr>"]
    for row, cells in table.items():
        texts = "".join(f"<td>{html.escape(text)}</td>" for text in (row, *cells.values()))
        rows.append(f"<tr>{texts}</tr>")
    items = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    text = PAGE.format(
        title="Labelled structures",
        table="".join(rows),
        notes=f"<ul>{items}</ul>" if notes else "<p>Nothing.</p>",
        picture=base64.b64encode(picture.getvalue()).decode(),
    )
    path.write_text(text, encoding="utf-8")


def _values(samples: Sequence[Sample]) -> list[np.ndarray]:
    """Energies per atom, forces, pressures and shortest distances of samples."""
    energies = [each.energy / len(each.structure) for each in samples]
    forces = np.concatenate([np.linalg.norm(each.forces, axis=1) for each in samples])
    pressures = [-np.trace(each.virial) / 3 / max(each.structure.volume, 1) for each in samples]
    distances = [each.pairs.distances().min(initial=np.inf) for each in samples]
    return [
        np.array(energies),
        forces,
        np.array(pressures) / units.GPa,
        np.array(distances),
    ]
