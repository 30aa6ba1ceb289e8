"""Three sizes of models, and what they cost with given data on this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..evaluation import Evaluation
from ..models import pet
from .data import Sample, collate

# settings of a PET, the large one has its defaults
PRESETS: dict[str, dict[str, Any]] = {
    "small": {
        "d_pet": 32,
        "d_node": 64,
        "d_head": 32,
        "d_feedforward": 64,
        "num_heads": 2,
        "num_attention_layers": 1,
        "num_gnn_layers": 1,
    },
    "medium": {
        "d_pet": 64,
        "d_node": 128,
        "d_head": 64,
        "d_feedforward": 128,
        "num_heads": 4,
        "num_attention_layers": 2,
        "num_gnn_layers": 2,
    },
    "large": {
        "d_pet": 128,
        "d_node": 256,
        "d_head": 128,
        "d_feedforward": 256,
        "num_heads": 8,
        "num_attention_layers": 2,
        "num_gnn_layers": 2,
    },
}
SMALL_DATA = 300  # structures, up to which the small model is proposed
MEDIUM_DATA = 5000
NEIGHBOURS = 30  # within the cutoff that is proposed
SHORTEST = 4.0  # A, of cutoffs that are proposed
LONGEST = 6.0
MOLECULES = 5.0  # A, for structures without periodic directions


@dataclass(frozen=True)
class Cost:
    """What a model of a preset costs.

    Attributes
    ----------
    parameters:
        Number of weights.
    evaluation:
        Time in ms per atom of energies and forces of a batch.
    update:
        Time in ms per atom of an update of the weights, without the optimiser.
    """

    parameters: int
    evaluation: float
    update: float

    def hours(self, atoms_of_updates: float, atoms_of_validations: float) -> float:
        """Time in h of a training.

        Parameters
        ----------
        atoms_of_updates:
            Atoms in all batches.
        atoms_of_validations:
            Atoms that are evaluated in all validations.
        """
        updates = self.update * atoms_of_updates
        validations = self.evaluation * atoms_of_validations
        return (updates + validations) / 3.6e6


def proposed(structures: int) -> str:
    """Name of the preset for a number of training structures.

    Parameters
    ----------
    structures:
        Number of structures.
    """
    if structures <= SMALL_DATA:
        return "small"
    return "medium" if structures <= MEDIUM_DATA else "large"


def cutoff(samples: Sequence[Sample]) -> float:
    """Cutoff radius in A within which a typical atom has some 30 neighbours.

    Parameters
    ----------
    samples:
        Samples with pairs up to 6 A.
    """
    periodic = [each for each in samples if each.structure.pbc.any()]
    if not periodic:
        return MOLECULES
    radii = []
    for each in periodic:
        distances = np.sort(each.pairs.distances())
        # each pair is a neighbour of two atoms
        wanted = NEIGHBOURS * len(each.structure) // 2
        radii.append(distances[wanted] if wanted < len(distances) else LONGEST)
    radius = float(np.median(radii))
    return min(max(math.ceil(10 * radius) / 10, SHORTEST), LONGEST)


def measured(settings: pet.Settings, samples: Sequence[Sample]) -> Cost:
    """Cost of a model with some structures in one batch, on the CPUs of this machine.

    Parameters
    ----------
    settings:
        Settings of the model.
    samples:
        Samples of the batch, with pairs within the cutoff of the model.
    """
    model = pet.Model(settings)
    batch = collate(samples, torch.float32, "cpu")
    n_atoms = float(batch.n_atoms.sum())
    times: dict[bool, list[float]] = {False: [], True: []}
    for training in (False, True):
        for _ in range(2):  # the first one allocates
            started = time.perf_counter()
            results = Evaluation(model, batch.graph, training=training)
            if training:
                loss = results.forces.square().mean()
                loss = loss + results.interaction.square().mean()
                loss.backward()
            else:
                results.forces.sum()
            times[training].append(time.perf_counter() - started)
    sizes = [parameter.numel() for parameter in model.parameters()]
    return Cost(
        parameters=sum(sizes),
        evaluation=1e3 * min(times[False]) / n_atoms,
        update=1e3 * min(times[True]) / n_atoms,
    )
