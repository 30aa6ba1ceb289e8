"""Result of an analysis: a table, numbers and a picture, written as CSV, JSON and PNG."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from .. import statistics
from ..md import plots


@dataclasses.dataclass(frozen=True)
class Curve:
    """One panel of a picture."""

    x: str  # column of the table
    ys: tuple[str, ...]  # columns of the table
    xlabel: str
    ylabel: str
    lines: tuple[tuple[float, str], ...] = ()  # horizontal lines with their labels
    marks: tuple[tuple[float, str], ...] = ()  # vertical lines with their labels
    xlim: tuple[float, float] | None = None
    style: str = "-"
    top: tuple[float, str] | None = None  # factor of x and label, of a second axis above


@dataclasses.dataclass(frozen=True)
class Analysis:
    """Result of an analysis.

    Attributes
    ----------
    name:
        Name of its files.
    title:
        Title of its picture.
    values:
        Results, as {name with unit: number, or what `number` returns}.
    table:
        {column: (m,) array}; names of columns end with their unit.
    curves:
        Panels of the picture.
    notes:
        What a reader should know.
    """

    name: str
    title: str
    values: dict[str, Any]
    table: dict[str, np.ndarray]
    curves: tuple[Curve, ...]
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Content for JSON: title, values and notes."""
        return {"title": self.title, "values": self.values, "notes": list(self.notes)}

    def without_errors(self, note: str) -> Analysis:
        """The same analysis, whose values have a note in place of error bars.

        Parameters
        ----------
        note:
            Why there are no error bars.
        """
        values = {}
        for name, value in self.values.items():
            values[name] = value
            if isinstance(value, dict) and value["error"] is not None:
                values[name] = {"value": value["value"], "error": None, "note": note}
        return dataclasses.replace(self, values=values)

    def write(self, folder: Path, heading: str = "") -> list[Path]:
        """Paths of NAME.json and, of an analysis with a table, NAME.csv and NAME.png.

        Parameters
        ----------
        folder:
            Folder to write to.
        heading:
            Title of the picture above that of the analysis, such as the system.

        Raises
        ------
        ValueError
            Matplotlib is not installed.
        """
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.json"
        text = json.dumps(self.as_dict(), indent=1)
        path.write_text(text + "\n", encoding="utf-8")
        paths = [path]
        if self.table:
            columns = np.column_stack(list(self.table.values()))
            header = ",".join(self.table)
            path = folder / f"{self.name}.csv"
            np.savetxt(path, columns, "%.8g", ",", header=header, comments="")
            paths.append(path)
        if self.curves:
            path = folder / f"{self.name}.png"
            figure = self.draw(heading)
            figure.savefig(path, dpi=130)
            paths.append(path)
        return paths

    def draw(self, heading: str = "") -> Any:
        """Figure with one panel for each curve.

        Parameters
        ----------
        heading:
            Title above that of the analysis, such as the system.
        """
        count = len(self.curves)
        figure_class = plots.figure_class()
        figure = figure_class(figsize=(7, 3 * count + 0.6), layout="constrained")
        title = f"{heading}\n{self.title}" if heading else self.title
        # a $ in a name begins no formula
        figure.suptitle(title, fontsize="medium", parse_math=False, wrap=True)
        panels = figure.subplots(count, 1, squeeze=False)
        for axes, curve in zip(panels[:, 0], self.curves, strict=True):
            self._draw(axes, curve)
            axes.set(xlabel=curve.xlabel, ylabel=curve.ylabel, xlim=curve.xlim)
            axes.ticklabel_format(useOffset=False)
            if curve.top is not None:
                _axis_above(axes, *curve.top)
        return figure

    def _draw(self, axes: Any, curve: Curve) -> None:
        """Plot the columns and lines of a panel."""
        x = self.table[curve.x]
        for name in curve.ys:
            label = name.split("_", 1)[0]  # the unit may hold underscores
            axes.plot(x, self.table[name], curve.style, label=label, linewidth=1)
        # lines come after the curves, which have the first colours
        for height, text in curve.lines:
            axes.axhline(height, color="black", linestyle="--", linewidth=0.8, label=text)
        for position, text in curve.marks:
            axes.axvline(position, color="grey", linestyle=":", linewidth=1, label=text)
        if len(curve.ys) > 1 or curve.lines or curve.marks:
            plots.legend(axes)


def _axis_above(axes: Any, factor: float, label: str) -> None:
    """Add an axis of x times a factor above a panel."""
    axis = axes.secondary_xaxis("top", functions=(lambda x: factor * x, lambda x: x / factor))
    axis.set_xlabel(label)


def number(mean: statistics.Mean, digits: int = 8) -> dict[str, Any]:
    """Mean for JSON: value and standard error (None if there is none), samples and note.

    Parameters
    ----------
    mean:
        Mean of a series.
    digits:
        Smallest number of significant digits of the value.
    """
    if mean.note in statistics.NO_MEAN:
        return {"value": None, "error": None, "note": mean.note}
    # those that the error allows
    if mean.error:
        digits = max(digits, math.ceil(math.log10(max(abs(mean.value) / mean.error, 1))) + 2)
    content: dict[str, Any] = {"value": float(f"{mean.value:.{digits}g}"), "error": None}
    if mean.error is not None:
        content["error"] = float(f"{mean.error:.3g}")
        content["samples"] = round(mean.samples, 1)
    if mean.note:
        content["note"] = mean.note
    return content
