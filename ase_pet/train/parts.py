"""Parts of a batch, each evaluated at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from .data import Sample, collate
from .loss import Part

if TYPE_CHECKING:
    from .loop import Trainer


def parts_of(trainer: Trainer, indices: Sequence[int], rotation: torch.Tensor | None) -> list[Part]:
    """Parts of a batch of B structures that this rank evaluates.

    Parameters
    ----------
    trainer:
        Trainer.
    indices:
        Indices of the structures among those of the training, then among replayed ones.
    rotation:
        Rotation of each structure, (B, 3, 3); None for none.
    """
    parts = []
    for head, group in _by_head(trainer, indices).items():
        # a rank may have fewer structures than parts, or none in the last batch of an epoch
        n_parts = max(1, min(trainer.recipe.optimiser.accumulate, len(group)))
        for places in np.array_split(group, n_parts):
            chosen = [_sample(trainer, indices[place]) for place in places]
            turned = None if rotation is None else rotation[places]
            batch = collate(chosen, trainer.dtype, trainer.device, rotation=turned)
            on_device = torch.from_numpy(places).to(trainer.device)
            parts.append(Part(batch, on_device, head))
    return parts


def _by_head(trainer: Trainer, indices: Sequence[int]) -> dict[str, list[int]]:
    """Places in a batch of the structures of this rank, by the head that is trained on them."""
    replay = trainer.replay
    n_new = len(trainer.splits["train"])
    places: dict[str, list[int]] = {}
    for place in range(len(indices))[trainer.ranks.mine]:
        head = trainer.head
        if replay is not None and indices[place] >= n_new:
            head = replay.head
        places.setdefault(head, []).append(place)
    return places


def _sample(trainer: Trainer, index: int) -> Sample:
    """Structure of the training, or, after these, a replayed one."""
    training = trainer.splits["train"]
    if trainer.replay is None or index < len(training):
        return training[index]
    return trainer.replay.train[index - len(training)]
