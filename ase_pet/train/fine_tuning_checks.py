"""Keys of the table [fine_tuning] that belong together, and the heads that they train."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..models.base import AtomisticModel
from .fine_tuning_schema import USUAL_RANK

if TYPE_CHECKING:
    from .schema import Recipe

REPLAYED = {"replay_labels", "replay_share"}  # keys that need replayed structures


def trained_heads(model: AtomisticModel, recipe: Recipe) -> set[str]:
    """Heads that have labels.

    Parameters
    ----------
    model:
        Model of the recipe.
    recipe:
        Recipe.
    """
    heads = {model.energy_head}
    if recipe.loss.dipole > 0:
        heads.add("dipole")
    if is_replayed_beside(recipe):
        variant = recipe.fine_tuning.variant
        heads.add(f"energy/{variant}" if variant else "energy")
    return heads


def check(recipe: Recipe, path: Path) -> None:
    """Refuse keys of [fine_tuning] that mean nothing together.

    Parameters
    ----------
    recipe:
        Recipe.
    path:
        Path of the recipe, for the message.

    Raises
    ------
    ValueError
        A key needs another one, or excludes it.
    """
    options = recipe.fine_tuning
    stated = [name for name in recipe.stated if name.startswith("fine_tuning.")]
    where = f"`{path}`, [fine_tuning]"
    if stated and not recipe.start:
        raise ValueError(f"{where}: the recipe has no `start`: give one, or leave the table out")
    # a key that would have no effect is a mistake
    if options.weights != "lora" and options.rank != USUAL_RANK:
        raise ValueError(f"{where}: `rank` means nothing without `weights` 'lora'")
    if options.weights == "heads" and options.layer_rate != 1:
        raise ValueError(f"{where}: `layer_rate` means nothing with `weights` 'heads'")
    old = {name.removeprefix("fine_tuning.") for name in stated} & REPLAYED
    if old and not (options.replay or options.replay_generated):
        raise ValueError(
            f"{where}: {', '.join(sorted(old))} without `replay` or `replay_generated`"
        )
    if options.replay_labels == "start" and not options.replay:
        raise ValueError(f"{where}: `replay_labels` are of the files of `replay`: give some")
    if is_replayed_beside(recipe) and options.weights == "heads":
        raise ValueError(
            f"{where}: with a new head and `weights` 'heads' the old ones do not change: leave"
            " `replay` out, `old_data` shows it"
        )


def is_replayed_beside(recipe: Recipe) -> bool:
    """Whether old structures are trained on with a head of their own.

    Parameters
    ----------
    recipe:
        Recipe.
    """
    options = recipe.fine_tuning
    return options.new_head is not None and bool(options.replay or options.replay_generated)


@contextlib.contextmanager
def explained(recipe: Recipe) -> Iterator[None]:
    """Say how elements are added, in errors of data with elements that the start lacks.

    Parameters
    ----------
    recipe:
        Recipe.
    """
    try:
        yield
    except ValueError as error:
        if recipe.start and "unsupported element" in str(error):
            raise ValueError(
                f"{error}; `fine_tuning.new_species` adds elements to those of `start`"
            ) from None
        raise
