"""Pictures of a training: learning curves, parity plots, and where the errors of forces are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from ..extras import how_to_install
from . import error_profile
from .error_metrics import UNITS
from .prediction import ATOMS

Pairs = Mapping[str, Mapping[str, np.ndarray]]  # reference and predicted, {split: {kind: (2, n)}}
COLOURS = {"train": "0.7", "val": "tab:blue", "test": "tab:red"}
MOST_ELEMENTS = 12  # panels of a picture
DPI = 120
UNIT, FACTOR = UNITS["forces"]


def figure_class() -> Any:
    """Class of a matplotlib figure without a window.

    Raises
    ------
    ValueError
        matplotlib is missing; says how to install it.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ValueError(
            "training needs matplotlib for its plots, of the extra `train`"
            f" ({how_to_install('train')}): {error}"
        ) from None
    return Figure


def learning_curve(history: Sequence[dict[str, Any]], path: Path) -> None:
    """Write a PNG of errors and the loss against the epoch, one panel for each kind of label.

    Errors on the training structures are those of an epoch, each before the update that it leads
    to; those of energies are not known during the training.

    Parameters
    ----------
    history:
        Records of the validations.
    path:
        Path of the picture.
    """
    last_errors = history[-1]["val"]
    names = [name for name in UNITS if name in last_errors]
    n_panels = len(names) + 1
    size = (4 * n_panels, 3.2)
    figure = figure_class()(figsize=size, layout="constrained")
    rows = figure.subplots(1, n_panels, squeeze=False)
    *panels, last = rows[0]
    for axes, name in zip(panels, names, strict=True):
        _curves(axes, history, name)
    _loss(last, history)
    figure.savefig(path, dpi=DPI)


def _loss(axes: Any, history: Sequence[dict[str, Any]]) -> None:
    """Draw the mean loss of the batches against the epoch."""
    epochs = [record["epoch"] for record in history]
    losses = [record["loss"] for record in history]
    axes.loglog(epochs, losses, color=COLOURS["train"])
    axes.set(xlabel="epoch", ylabel="mean loss of the batches", title="loss")


def _curves(axes: Any, history: Sequence[dict[str, Any]], name: str) -> None:
    """Draw the RMSE of a kind of label of both splits against the epoch."""
    unit, factor = UNITS[name]
    for split in ("train", "val"):
        # records of earlier versions have no errors of training structures
        known = [record for record in history if name in record.get(split, {})]
        if not known:
            continue
        epochs = []
        rmse = []
        for record in known:
            errors = record[split][name]
            epochs.append(record["epoch"])
            rmse.append(factor * errors["rmse"])
        colour = COLOURS[split]
        # power laws are straight lines; what is 0 has no logarithm
        if not any(rmse):
            continue
        axes.loglog(epochs, rmse, color=colour, label=split)
    axes.set_xlabel("epoch")
    axes.set_ylabel(f"RMSE ({unit})")
    axes.set_title(name)
    if axes.lines:
        axes.legend()


def parity(pairs: Pairs, path: Path) -> None:
    """Write a PNG of predicted against reference values of each split.

    Of forces, `parity_elements.png` and `force_errors.png` beside it show more.

    Parameters
    ----------
    pairs:
        Reference and predicted values, {split: {kind: (2, count)}}.
    path:
        Path of the picture.
    """
    names = []
    for name in UNITS:
        if any(values[name].shape[1] for values in pairs.values()):
            names.append(name)
    figure = figure_class()(figsize=(4 * len(names), 3.8), layout="constrained")
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for axes, name in zip(panels, names, strict=True):
        unit, factor = UNITS[name]
        for split, values in pairs.items():
            _points(axes, factor * values[name], split)
        _diagonal(axes, unit, name)
    panels[-1].legend()
    figure.savefig(path, dpi=DPI)
    with_forces = {split: values for split, values in pairs.items() if values["forces"].size}
    if with_forces:
        parity_by_element(with_forces, path.with_name("parity_elements.png"))
        force_errors(with_forces, path.with_name("force_errors.png"))


def parity_by_element(pairs: Pairs, path: Path) -> None:
    """Write a PNG of predicted against reference force components, one panel for each element.

    The elements with the most atoms, at most twelve.

    Parameters
    ----------
    pairs:
        Reference and predicted values of splits with forces, {split: {kind: (2, count)}}.
    path:
        Path of the picture.
    """
    common = _common_elements(pairs)
    columns = min(4, len(common))
    rows = -(-len(common) // columns)  # rounded up
    size = (4 * columns, 3.8 * rows)
    figure = figure_class()(figsize=size, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    panels = panels.ravel()
    for axes, z in zip(panels, common, strict=False):
        for split, values in pairs.items():
            own = values["forces"][:, values[ATOMS][0] == z]
            _points(axes, FACTOR * own, split)
        _diagonal(axes, UNIT, chemical_symbols[int(z)])
    for axes in panels[len(common) :]:
        axes.set_axis_off()
    panels[0].legend()
    figure.savefig(path, dpi=DPI)


def _common_elements(pairs: Pairs) -> np.ndarray:
    """Atomic numbers of the elements with the most atoms."""
    every = np.concatenate([values[ATOMS][0] for values in pairs.values()])
    numbers, counts = np.unique(every, return_counts=True)
    most_first = numbers[np.argsort(-counts)]
    common: np.ndarray = most_first[:MOST_ELEMENTS]
    return common


def force_errors(pairs: Pairs, path: Path) -> None:
    """Write a PNG of the RMSE of forces by element, and by size of the reference force.

    Parameters
    ----------
    pairs:
        Reference and predicted values of splits with forces, {split: {kind: (2, count)}}.
    path:
        Path of the picture.
    """
    figure = figure_class()(figsize=(9, 3.4), layout="constrained")
    of_elements, of_sizes = figure.subplots(1, 2)
    _bars_of_elements(of_elements, pairs)
    _errors_by_size(of_sizes, pairs)
    figure.savefig(path, dpi=DPI)


def _errors_by_size(axes: Any, pairs: Pairs) -> None:
    """Draw the RMSE of forces against the size of the reference force."""
    for split, values in pairs.items():
        forces = values["forces"]
        atoms = values[ATOMS]
        rows = error_profile.by_size(forces, atoms)
        # the RMS of the components of a range stands for its atoms
        sizes = [3**0.5 * row["rms"] for row in rows]
        rmse = [FACTOR * row["rmse"] for row in rows]
        colour = COLOURS[split]
        axes.plot(sizes, rmse, ".-", color=colour)
    axes.set(xscale="symlog", yscale="log")
    axes.set_title("by size of the force")
    axes.set_xlabel("reference force on the atom (eV/A)")
    axes.set_ylabel(f"RMSE of forces ({UNIT})")


def _bars_of_elements(axes: Any, pairs: Pairs) -> None:
    """Draw the RMSE of forces of each element, a bar for each split."""
    tables = {}
    found: set[str] = set()
    for split, values in pairs.items():
        forces = values["forces"]
        atoms = values[ATOMS]
        table = error_profile.by_element(forces, atoms)
        tables[split] = table
        found.update(table)
    symbols = sorted(found)
    width = 0.8 / len(tables)
    places = np.arange(len(symbols)) - 0.4 + width / 2
    no_bar = {"rmse": 0.0}  # of an element that the split has not
    for split, table in tables.items():
        rows = [table.get(symbol, no_bar) for symbol in symbols]
        rmse = [FACTOR * row["rmse"] for row in rows]
        colour = COLOURS[split]
        axes.bar(places, rmse, width, color=colour, label=split)
        places = places + width
    axes.set_xticks(range(len(symbols)), symbols)
    axes.set_ylabel(f"RMSE of forces ({UNIT})")
    axes.set_title("by element")
    axes.legend()


def _points(axes: Any, values: np.ndarray, split: str) -> None:
    """Draw predicted against reference values (2, count) of a split."""
    axes.plot(*values, ".", markersize=2, color=COLOURS[split], label=split)


def _diagonal(axes: Any, unit: str, title: str) -> None:
    """Draw the line of perfect predictions, and label the axes."""
    axes.axline((0, 0), slope=1, color="k", linewidth=0.5)
    axes.set(xlabel=f"reference ({unit})", ylabel=f"predicted ({unit})", title=title)
