"""Samples of a recipe, in memory or in a store on disk."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from . import continuation, data, streaming
from .data import Sample
from .distributed import ALONE, Ranks
from .recipe import Recipe
from .streaming import StoredSamples

MOST_INSPECTED = 20_000  # structures of a split that are looked through for mistakes


def read_samples(
    recipe: Recipe, species: Sequence[int], cutoff: float, ranks: Ranks = ALONE
) -> dict[str, Sequence[Sample]]:
    """Samples of the recipe's files, {split: sequence of Sample}, the same on all ranks.

    Parameters
    ----------
    recipe:
        Recipe.
    species:
        Atomic numbers that the model supports.
    cutoff:
        Cutoff radius of the model in A.
    ranks:
        Processes that train together; with `data.cache`, rank 0 reads the files.

    Raises
    ------
    ValueError
        A structure is bad or lacks its energy, a split is empty, or ranks have different data.
    """
    splits: dict[str, Sequence[Sample]] = {}
    if recipe.data.cache is None:
        splits.update(data.read(recipe, species, cutoff))
    else:
        splits.update(_stored(recipe, species, cutoff, ranks))
        data.check_splits(recipe, splits)
        training = splits["train"]
        if recipe.data.limit is not None and isinstance(training, StoredSamples):
            chosen = data.drawn(recipe, len(training))
            splits["train"] = StoredSamples(training.store, training.indices[chosen])
    _check_same(splits, ranks)
    return splits


def inspected(splits: Mapping[str, Sequence[Sample]]) -> dict[str, Sequence[Sample]]:
    """Structures that are looked through for mistakes: all, or some of each split of a large set.

    Parameters
    ----------
    splits:
        Samples of each split.
    """
    chosen: dict[str, Sequence[Sample]] = {}
    for split, samples in splits.items():
        every = max(1, math.ceil(len(samples) / MOST_INSPECTED))
        chosen[split] = list(samples[::every])
        if every > 1:
            warnings.warn(
                f"{len(chosen[split])} of the {len(samples)} structures of the split {split!r} are"
                " looked through for duplicates, short distances and energies far off",
                stacklevel=3,
            )
    return chosen


def remove_composition(
    samples: Sequence[Sample],
    composition: dict[int, float],
    removed: Mapping[int, float] | None = None,
) -> None:
    """Subtract composition energies from the energies of samples.

    Parameters
    ----------
    samples:
        Samples of one split; those in memory are changed in place.
    composition:
        Energy of each species, {Z: eV}.
    removed:
        What has been subtracted before; None: nothing.
    """
    if isinstance(samples, StoredSamples):
        samples.store.composition = composition
        return
    if removed:
        composition = {z: energy - removed[z] for z, energy in composition.items()}
    data.remove_composition(samples, composition)


def _stored(
    recipe: Recipe, species: Sequence[int], cutoff: float, ranks: Ranks
) -> dict[str, StoredSamples]:
    """Samples in the store of a recipe, which rank 0 writes if it is not there."""
    # all that the content of the store depends on
    key = ranks.shared(
        {
            "files": continuation.of_data(recipe) if ranks.leads else {},
            "data": asdict(recipe.data) | {"limit": None, "cache": None},
            "keys": asdict(recipe.keys),
            "units": asdict(recipe.units),
            "seed": recipe.seed,
            "species": list(species),
            "cutoff": cutoff,
            "dipole": recipe.loss.dipole > 0,
        }
    )
    folder = recipe.folder / str(recipe.data.cache)

    def opened() -> dict[str, StoredSamples]:
        return streaming.samples(
            folder, key, lambda: data.labelled_samples(recipe, species, cutoff)
        )

    splits = opened() if ranks.leads else None
    ranks.shared(None)  # waits for rank 0
    # a rank on a machine without this folder writes a store of its own
    return opened() if splits is None else splits


def _check_same(splits: Mapping[str, Sequence[Sample]], ranks: Ranks) -> None:
    """Refuse processes that read different data, as copies of files on several machines may be."""
    ends = [each[index] for each in splits.values() if each for index in (0, -1)]
    digest = [len(each) for each in splits.values()], [each.energy for each in ends]
    for rank, other in enumerate(ranks.objects(digest)):
        if other != digest:
            raise ValueError(
                f"the processes read different data: {digest[0]} structures in rank {ranks.rank},"
                f" {other[0]} in rank {rank}, or others. Give them the same files"
            )
