"""The loss of a batch."""

from __future__ import annotations

import torch

from ..evaluation import Evaluation
from .data import Batch
from .recipe import Loss


class Diverged(RuntimeError):
    """A training that leads nowhere: its loss or its errors have no meaning any more."""


def weighted_loss(
    results: Evaluation, batch: Batch, label_rms: dict[str, float], weights: Loss
) -> torch.Tensor:
    """Scalar loss: sum over kinds of labels of w H(error / RMS of the labels) / delta.

    H is the Huber loss, the mean of x^2 / 2 up to delta and of delta (|x| - delta / 2) beyond.
    Labels that are NaN do not count. The terms of a structure are multiplied by its weight.

    The median error of the energy per atom over the batch is subtracted: it is a composition
    energy, which is fitted at each validation. Otherwise this one stiff direction (each bias counts
    once per neighbour) hides the forces from the optimiser. It is not the mean, to which a few
    pairs of very close nuclei would contribute more than all other structures.

    Parameters
    ----------
    results:
        Evaluation of the model on the graph of the batch.
    batch:
        Batch with the labels.
    label_rms:
        Units of the errors: root mean squares of the labels by kind, see `data.label_rms`.
    weights:
        Weights w by kind, and delta, `huber`.
    """
    forces = results.forces  # first: the same run of the model gives the energies
    per_atom = (results.interaction - batch.energy) / batch.n_atoms
    if len(per_atom) > 1:
        per_atom = per_atom - per_atom.median()
    n_atoms = batch.n_atoms[:, None, None]  # (B, 1, 1)
    # errors, and labels that say which of them are known: a prediction that is NaN counts
    errors = [
        ("forces", weights.forces, forces - batch.forces, batch.forces),
        ("energy", weights.energy, per_atom, batch.energy),
        ("stress", weights.stress, (results.virial - batch.virial) / n_atoms, batch.virial),
    ]
    if weights.dipole > 0 and batch.dipole.isfinite().any():
        dipole = results.heads.total("dipole")
        errors.append(("dipole", weights.dipole, dipole - batch.dipole, batch.dipole))

    total: torch.Tensor = forces.new_zeros(())
    for name, weight, error, label in errors:
        known = torch.isfinite(label)
        if weight and known.any():
            scaled = error[known] / label_rms[name]
            zero = torch.zeros_like(scaled)
            huber = torch.nn.functional.huber_loss(
                scaled, zero, delta=weights.huber, reduction="none"
            )
            if batch.weight is not None:
                huber = huber * _of_labels(batch, name, label)[known]
            huber = huber.mean()
            total = total + weight * huber / weights.huber
    # without any label there is nothing to learn, which is no error
    return total if total.requires_grad else total + 0 * results.interaction.sum()


def _of_labels(batch: Batch, kind: str, label: torch.Tensor) -> torch.Tensor:
    """Weight of the structure of each label, in the shape of the labels."""
    assert batch.weight is not None
    weight = batch.weight[batch.graph.structure] if kind == "forces" else batch.weight
    trailing = [1] * (label.dim() - 1)
    return weight.reshape(-1, *trailing).expand_as(label)
