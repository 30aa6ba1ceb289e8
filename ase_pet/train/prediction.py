"""Predictions of a model on samples: errors, parity plots, composition energies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..evaluation import Evaluation
from ..graph import chunking
from ..models.base import AtomisticModel
from .data import Batch, Sample, collate, fit_composition
from .loss import Diverged
from .metrics import error_metrics


def predict(
    model: AtomisticModel,
    samples: Sequence[Sample],
    dtype: torch.dtype,
    device: torch.device | str,
) -> dict[str, np.ndarray]:
    """Reference and predicted values over samples, {kind: (2, count)}, where labels are known.

    Energy in eV/atom (without composition energies), forces in eV/A, stress in eV/A^3 and dipole in
    e A, the last three by component.

    Parameters
    ----------
    model:
        Model with its compositions fitted.
    samples:
        Samples without composition energies.
    dtype:
        Precision of the model.
    device:
        Device of the model.
    """
    parts: dict[str, list[np.ndarray]] = {"energy": [], "forces": [], "stress": [], "dipole": []}
    for chunk in chunks(samples, device):
        batch = collate(chunk, dtype, device)
        results = evaluation(model, batch)
        volume = batch.graph.volume[:, None, None]
        # forces first: the same run of the model gives the energies
        values = {
            "forces": (batch.forces, results.forces),
            "energy": (batch.energy / batch.n_atoms, results.energy / batch.n_atoms),
            "stress": (batch.virial / volume, results.virial / volume),
        }
        if results.heads.wanted:
            values["dipole"] = (batch.dipole, results.heads.total("dipole"))
        for name, (reference, predicted) in values.items():
            pair = torch.stack([reference.detach().ravel(), predicted.detach().ravel()])
            parts[name].append(pair.cpu().numpy())

    table = {}
    for name, arrays in parts.items():
        both = np.concatenate([np.empty((2, 0)), *arrays], axis=1)
        # labels that are not known are NaN; a prediction that is NaN stays
        table[name] = both[:, np.isfinite(both[0])]
    return table


def evaluation(model: AtomisticModel, batch: Batch, training: bool = False) -> Evaluation:
    """Evaluation of a batch; dipoles, where there are labels, come from the run for the energies.

    Parameters
    ----------
    model:
        Model.
    batch:
        Batch.
    training:
        Whether derivatives keep their graph, so that a loss of forces reaches the weights.
    """
    heads = ("dipole",) if batch.dipole.isfinite().any() else ()
    return Evaluation(model, batch.graph, training=training, heads=heads)


def refit_composition(
    model: AtomisticModel,
    samples: Sequence[Sample],
    species: Sequence[int],
    dtype: torch.dtype,
    device: torch.device | str,
) -> dict[int, float]:
    """Composition energies, {Z: eV}: a robust fit to the errors of the energies of a model.

    Robust as the loss: a few structures with errors of an eV, very close nuclei, would shift all
    others.

    Parameters
    ----------
    model:
        Model, whose own compositions are left out.
    samples:
        Samples to fit to.
    species:
        Atomic numbers of the model.
    dtype:
        Precision of the model.
    device:
        Device of the model.

    Raises
    ------
    Diverged
        Energies of the model are not finite.
    """
    errors = []
    for chunk in chunks(samples, device):
        batch = collate(chunk, dtype, device)
        results = Evaluation(model, batch.graph)
        errors.append((batch.energy - results.interaction).cpu().numpy())
    if not np.isfinite(np.concatenate(errors)).all():
        raise Diverged(
            "energies of training structures are not finite: the training diverged. Lower"
            " `optimiser.learning_rate`"
        )
    numbers = [each.structure.numbers for each in samples]
    return fit_composition(numbers, np.concatenate(errors), species, robust=True)


def errors(pairs: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Errors by kind of label, {kind: {"rmse", "mae", "rms"}}, rms that of the reference.

    Parameters
    ----------
    pairs:
        Reference and predicted values, {kind: (2, count)}, as `predict` returns them.
    """
    return {
        name: error_metrics(reference, predicted)
        for name, (reference, predicted) in pairs.items()
        if len(reference)
    }


def chunks(samples: Sequence[Sample], device: torch.device | str) -> list[Sequence[Sample]]:
    """Samples in consecutive groups that are evaluated together, bounded by the memory of a device.

    Parameters
    ----------
    samples:
        Samples.
    device:
        Device of the evaluation.
    """
    sizes = [len(each.structure) for each in samples]
    limit = chunking.budget("validation_atoms", device)
    return [samples[part] for part in chunking.split(sizes, limit)]
