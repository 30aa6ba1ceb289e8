"""Length of a training: batches by atoms, epochs by updates, and when it ends before."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .recipe import Optimiser, Recipe
from .streaming import sizes

if TYPE_CHECKING:
    from .data import Sample
    from .loop import Trainer

# keys of [optimiser] that may change when a run is resumed
LENGTHS = ("epochs", "updates", "patience", "time_limit")
SECONDS = 3600  # of an hour
# keys of a recipe that have no part in the weights
FREE = ("card", "device", "stated", "folder")


def resolved(recipe: Recipe, samples: Sequence[Sample], n_others: int = 0) -> Recipe:
    """Recipe with `batch_size` and `epochs` in place of `batch_atoms` and `updates`.

    Parameters
    ----------
    recipe:
        Recipe.
    samples:
        Training samples.
    n_others:
        Number of other structures in an epoch.
    """
    options = recipe.optimiser
    batch_size = options.batch_size
    if options.batch_atoms is not None and samples:
        atoms = sum(sizes(samples))
        per_structure = atoms / len(samples)
        wanted = round(options.batch_atoms / per_structure)
        batch_size = min(max(1, wanted), len(samples))
    epochs = options.epochs
    # the last batch of an epoch may be smaller, and counts as an update
    if options.updates is not None:
        updates_per_epoch = math.ceil((len(samples) + n_others) / batch_size)
        epochs = max(1, math.ceil(options.updates / updates_per_epoch))
    changed = dataclasses.replace(options, batch_size=batch_size, epochs=epochs)
    return dataclasses.replace(recipe, optimiser=changed)


def end(history: Sequence[Mapping[str, Any]], options: Optimiser, seconds: float) -> str:
    """Why a training ends now, empty if it goes on.

    Parameters
    ----------
    history:
        Records of the validations.
    options:
        Optimiser of the recipe.
    seconds:
        Time in s since the start, or since the run was resumed.
    """
    scores = [record["score"] for record in history]
    # of a run that was resumed, too: its records are in the history
    since_best = len(scores) - 1 - scores.index(min(scores)) if scores else 0
    if options.patience is not None and since_best >= options.patience:
        return (
            f"ended after {since_best} validations without a better one, as `optimiser.patience`"
            " says"
        )
    if options.time_limit is not None and seconds > options.time_limit * SECONDS:
        return (
            f"ended after {seconds / SECONDS:.3g} h, as `optimiser.time_limit` says: --resume goes"
            " on"
        )
    return ""


def differences(before: Recipe, after: Recipe) -> list[str]:
    """Keys in which two recipes differ, but for those of the length of the training.

    Parameters
    ----------
    before:
        Recipe of a run that was begun.
    after:
        Recipe with which it is to be continued.
    """
    found = []
    for field in dataclasses.fields(Recipe):
        old = getattr(before, field.name)
        new = getattr(after, field.name)
        if old == new or field.name in FREE:
            continue
        # tables are compared key by key
        if not dataclasses.is_dataclass(old):
            found.append(field.name)
            continue
        lengths = LENGTHS if field.name == "optimiser" else ()
        for entry in dataclasses.fields(old):
            name = entry.name
            same = getattr(old, name) == getattr(new, name)
            if not same and name not in lengths:
                found.append(f"{field.name}.{name}")
    return found


def check_length(recipe: Recipe, trainer: Trainer) -> None:
    """Raise ValueError for a recipe that ends before the epoch that a run has reached.

    Parameters
    ----------
    recipe:
        Recipe.
    trainer:
        Trainer at the state of the run.
    """
    epochs = trainer.recipe.optimiser.epochs
    if trainer.epoch > epochs:
        raise ValueError(
            f"recipe `{recipe.name}`: `epochs` is {epochs}, but the run has done {trainer.epoch}:"
            " expected that many or more"
        )
