"""Tables of errors and the README of a calculator that has been trained."""

from __future__ import annotations

from typing import Any

from ase import units
from ase.data import chemical_symbols

from ..calculator_info import CalculatorInfo
from ..models.base import AtomisticModel
from ..orientations import DRAWN
from . import forgetting
from .error_metrics import UNITS as UNITS
from .label_statistics import SMALLEST_RMS
from .plots import figure_class as figure_class
from .plots import learning_curve as learning_curve
from .plots import parity as parity
from .recipe import Recipe

AUGMENTATION = {
    "rotations": "random rotations and reflections",
    "frames": "frames drawn by weight; without its symmetriser the network gives wrong energies",
}
AXES = f"- Grids in training, which `orientations` may name: {', '.join(DRAWN)}\n"
README = """\
# {name}

{system}

- Level of theory: {level_of_theory}
- Species: {species}; shortest distances in training: {shortest}
- Model: `{model}`, {parameters} parameters, cutoff {cutoff} A, {reach};\
 symmetriser `{symmetrise}`, dtype {dtype}
- Augmentation: {augmentation}
{axes}{start}- Trained {date} on {device} for {epochs} epochs in {seconds} s since the last start\
 or resume, torch {torch}, seed {seed}
- Data licence: {licence}

## Errors

{errors}

Errors are of the weights that are shipped, chosen by the validation split; energies per atom.

## Limits

{limits}

## Reproduce

```
ase-pet train recipe.toml --output runs/{name}
```
"""


def errors_table(metrics: dict[str, Any]) -> str:
    """Markdown table of errors by split; dipoles, where there are any, in e A and in Debye.

    Parameters
    ----------
    metrics:
        Errors by split, as `train` returns them.
    """
    columns = [
        "split",
        "structures",
        "energy RMSE / MAE (meV/atom)",
        "forces RMSE / MAE (meV/A)",
        "of rms force",
        "stress RMSE / MAE (GPa)",
    ]
    dipoles = any("dipole" in values for values in metrics.values())
    if dipoles:
        columns += ["dipole components RMSE / MAE (e A)", "(D)"]
    rows = [_markdown_row(columns), "|" + "---|" * len(columns)]
    for split, values in metrics.items():
        cells = [
            split,
            str(values["structures"]),
            _rmse_and_mae(values.get("energy"), UNITS["energy"][1]),
            _rmse_and_mae(values.get("forces"), UNITS["forces"][1]),
            _relative(values.get("forces")),
            _rmse_and_mae(values.get("stress"), UNITS["stress"][1]),
        ]
        # Debye is the unit of most experiments and quantum chemistry programs
        if dipoles:
            cells.append(_rmse_and_mae(values.get("dipole"), 1.0))
            cells.append(_rmse_and_mae(values.get("dipole"), 1 / units.Debye))
        rows.append(_markdown_row(cells))
    return "\n".join(rows)


def readme(
    recipe: Recipe, model: AtomisticModel, config: CalculatorInfo, metrics: dict[str, Any]
) -> str:
    """README of a calculator in Markdown: what it is, its errors and its limits.

    Parameters
    ----------
    recipe:
        Recipe, whose [card] holds free text.
    model:
        Model with the weights that are shipped.
    config:
        What calculator.toml holds.
    metrics:
        Errors by split, as `train` returns them.
    """
    text = recipe.card
    provenance = config.provenance
    distances = []
    for pair, distance in config.shortest_distances.items():
        symbols = "-".join(chemical_symbols[z] for z in pair)
        distances.append(f"{symbols} {distance:.2f} A")
    # what a recipe does not say is said to be missing, so that nobody assumes it
    return README.format(
        name=recipe.name,
        system=text.get("system", ""),
        level_of_theory=text.get("level_of_theory", "not stated"),
        species=", ".join(chemical_symbols[z] for z in model.species),
        shortest=", ".join(distances),
        model=recipe.model,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        cutoff=model.cutoff,
        reach="local (one message-passing layer)" if model.is_local else "message passing",
        symmetrise=config.symmetrise,
        dtype=config.dtype,
        axes=AXES if recipe.settings.get("orientations_drawn") else "",
        start=_origin(provenance),
        augmentation=AUGMENTATION[recipe.augmentation],
        date=provenance["date"],
        device=provenance["device"],
        epochs=provenance["epochs"],
        seconds=provenance["seconds"],
        torch=provenance["torch"],
        seed=recipe.seed,
        licence=text.get("licence", "not stated"),
        errors=errors_table(metrics),
        limits=text.get("limits", "not stated"),
    )


def _origin(provenance: dict[str, Any]) -> str:
    """Lines on the calculator that the training started from, none without one."""
    start = provenance.get("start")
    if start is None:
        return ""
    changes = "".join(f"  - {line}\n" for line in start["changes"])
    origin = f"- Fine-tuned from `{start['name']}` (`start = {start['path']!r}`): {start['method']}"
    errors = provenance.get("errors", {})
    forgotten = "what it has forgotten was not measured (`fine_tuning.old_data`)"
    if forgetting.AFTER in errors:
        forgotten = forgetting.line(errors[forgetting.BEFORE], errors[forgetting.AFTER])
    return f"{origin}\n{changes}  - {forgotten}\n"


def _markdown_row(cells: list[str]) -> str:
    """Row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def _rmse_and_mae(errors: dict[str, float] | None, factor: float) -> str:
    """Cell of a kind of label, "-" without one."""
    return f"{factor * errors['rmse']:.3g} / {factor * errors['mae']:.3g}" if errors else "-"


def _relative(errors: dict[str, float] | None) -> str:
    """RMSE as a percentage of the RMS of the reference, "-" without labels."""
    # labels that are 0 have no size to compare with
    if not errors or errors["rms"] < SMALLEST_RMS:
        return "-"
    return f"{100 * errors['rmse'] / errors['rms']:.2g} %"
