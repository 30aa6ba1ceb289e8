"""Labels without the short-range repulsion of a model, which has no weights to train."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ..evaluation import Evaluation
from ..graph import Graph
from ..models.base import AtomisticModel
from .data import Sample, collate
from .prediction import chunks


class Repulsion(AtomisticModel):
    """The short-range repulsion of a model with `zbl`, which has no weights.

    Parameters
    ----------
    model:
        Model.
    """

    def __init__(self, model: Any) -> None:
        super().__init__(model.settings, model.cutoff, model.species)
        self.model = model

    def forward(self, graph: Graph) -> torch.Tensor:
        """Energies (n_atoms,) in eV.

        Parameters
        ----------
        graph:
            Graph of the structures.
        """
        energies: torch.Tensor = self.model.repulsion(self.model.energy_head, graph)
        return energies[:, 0]


def without_repulsion(model: Any, samples: Sequence[Sample]) -> Iterator[Sample]:
    """Samples whose labels lack the model's short-range repulsion; the samples if it has none.

    Parameters
    ----------
    model:
        Model.
    samples:
        Samples with their total energies.
    """
    if not model.covalent_radii:
        yield from samples
        return
    for chunk in chunks(samples, "cpu"):
        batch = collate(chunk, torch.float64, "cpu")
        repulsion = Evaluation(Repulsion(model), batch.graph)
        ends = batch.n_atoms.long().cumsum(0).tolist()
        forces = np.split(repulsion.forces.numpy(), ends[:-1])  # (n, 3) of each structure
        for index, sample in enumerate(chunk):
            yield replace(
                sample,
                energy=sample.energy - float(repulsion.energy[index]),
                forces=sample.forces - forces[index],
                virial=sample.virial - repulsion.virial[index].numpy(),
            )
