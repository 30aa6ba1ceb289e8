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
    samples = trainer.splits["train"]
    replay = trainer.replay
    own = np.arange(len(indices))[trainer.ranks.mine]
    # {head: places of its structures}: a part has one head
    places_of: dict[str, list[int]] = {}
    for place in own.tolist():
        head = trainer.head
        if replay is not None and indices[place] >= len(samples):
            head = replay.head
        places_of.setdefault(head, []).append(place)
    parts = []
    for head, group in places_of.items():
        # a rank may have fewer structures than parts, or none in the last batch of an epoch
        n_parts = max(1, min(trainer.recipe.optimiser.accumulate, len(group)))
        for places in np.array_split(group, n_parts):
            chosen = [_sample(trainer, indices[place]) for place in places]
            turned = None if rotation is None else rotation[places]
            batch = collate(chosen, trainer.dtype, trainer.device, rotation=turned)
            on_device = torch.from_numpy(places).to(trainer.device)
            parts.append(Part(batch, on_device, head))
    return parts


def _sample(trainer: Trainer, index: int) -> Sample:
    """Structure of the training, or, after these, a replayed one."""
    training = trainer.splits["train"]
    if trainer.replay is None or index < len(training):
        return training[index]
    return trainer.replay.train[index - len(training)]
