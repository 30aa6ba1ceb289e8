"""Labels that the loss needs, and weights of structures and labels in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .. import graph
from . import recipe_files
from .label_notes import Notes
from .recipe import Recipe

if TYPE_CHECKING:
    from .data import Sample


def weight(row: recipe_files.Row, key: str, notes: Notes) -> float:
    """Weight of a structure in the loss.

    Parameters
    ----------
    row:
        Structure.
    key:
        Key of its `info` that holds the weight, or "".
    notes:
        Notes, to which those on this structure are added.

    Raises
    ------
    ValueError
        The weight is no number, or below 0.
    """
    value = row.atoms.info.get(key, 1.0) if key else 1.0
    # True is no weight
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not number or not 0 <= float(value) < np.inf:
        given = value.item() if isinstance(value, np.generic) else value
        raise ValueError(
            f"{row.where}: `{key}`, the weight of the structure, is {given!r}: expected a number, 0"
            " or more; `data.weight_key` names another key, or none"
        )
    if value != 1:
        notes.add(f"`{key}` is the weight of the structure in the loss", row.where)
    return float(value)


def check_weights(recipe: Recipe, samples: Sequence[Sample]) -> None:
    """Raise ValueError for a weight of the loss for labels that no training structure has.

    Parameters
    ----------
    recipe:
        Recipe, of which `loss` is used.
    samples:
        Training samples.
    """
    known = {
        "energy": any(np.isfinite(each.energy) for each in samples),
        "forces": any(np.isfinite(each.forces).any() for each in samples),
        "stress": any(np.isfinite(each.virial).any() for each in samples),
    }
    weights = {
        "energy": recipe.loss.energy,
        "forces": recipe.loss.forces,
        "stress": recipe.loss.stress,
    }
    for kind, weight in weights.items():
        # molecules have no stress, and its weight in recipes that do not name it no meaning
        meant = kind != "stress" or "loss.stress" in recipe.stated
        if weight > 0 and meant and not known[kind]:
            raise ValueError(
                f"recipe `{recipe.name}`: `loss.{kind}` is {weight}, but no training structure has"
                f" {kind}: set it to 0, or name the label in [keys]"
            )


def check_splits(recipe: Recipe, splits: Mapping[str, Sequence[Sample]]) -> None:
    """Raise ValueError for data without training or validation structures, or without labels.

    Parameters
    ----------
    recipe:
        Recipe, of which `name` and `loss` are used.
    splits:
        Samples of each split.
    """
    purposes = {"train": "train on", "val": "choose by"}
    # an empty test split is allowed: then nothing is reported for it
    for split, purpose in purposes.items():
        if not splits[split]:
            raise ValueError(
                f"recipe `{recipe.name}`: no structures to {purpose} (split {split!r})"
            )
        if not recipe.loss.dipole > 0:
            continue
        if not any(np.isfinite(each.dipole).all() for each in splits[split]):
            raise ValueError(
                f"recipe `{recipe.name}`: `loss.dipole` is {recipe.loss.dipole}, but no structure"
                f" of the split {split!r} has a `dipole`"
            )

    check_weights(recipe, splits["train"])


def check_dipole(structure: graph.Structure, dipole: np.ndarray, where: str) -> None:
    """Raise ValueError for the dipole of a structure where it depends on cell or origin.

    Parameters
    ----------
    structure:
        Structure.
    dipole:
        Its dipole (3,), NaN if it is not known.
    where:
        What messages call the structure.
    """
    # only a known dipole is refused: without it, such a structure has other labels to train on
    periodic = structure.pbc.any()
    if np.isfinite(dipole).any() and (periodic or structure.charge):
        kind = "periodic" if periodic else "charged"
        raise ValueError(
            f"{where}: `dipole` of a {kind} structure: expected neutral molecules only"
        )
