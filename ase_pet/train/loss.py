"""The loss of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..evaluation import Evaluation
from ..symmetrisers import FRAME_VARIANCE
from .data import Batch
from .distributed import Ranks
from .recipe import Loss


class Diverged(RuntimeError):
    """A training that leads nowhere: its loss or its errors have no meaning any more."""


@dataclass(frozen=True)
class WholeBatch:
    """What the loss of a part takes from the whole batch, whose other parts other ranks may hold.

    Attributes
    ----------
    energy_errors:
        Errors of the energy per atom of all B structures, (B,) in eV, without derivatives.
    weight:
        Weight of each structure, (B,).
    counts:
        Number of known labels by kind, {"energy", "forces", "stress", "dipole"}, and of "atoms".
    centred:
        Whether the median of the errors of the energies is subtracted.
    """

    energy_errors: torch.Tensor
    weight: torch.Tensor
    counts: dict[str, float]
    centred: bool = True


@dataclass(frozen=True)
class Part:
    """A part of a batch, evaluated at once.

    Attributes
    ----------
    batch:
        Its structures.
    places:
        Index of each of them in the batch of all ranks.
    head:
        Energy head that is trained on it.
    """

    batch: Batch
    places: torch.Tensor
    head: str = "energy"


COUNTED = ("energy", "forces", "stress", "dipole", "atoms")


def whole_batch(
    errors: torch.Tensor, parts: Sequence[Part], n_structures: int, ranks: Ranks
) -> WholeBatch:
    """What the loss takes from all B structures of a batch, the same on all ranks.

    Parameters
    ----------
    errors:
        Errors of the energy per atom (b,) of the structures of this rank, in eV, part by part.
    parts:
        Parts of the batch that this rank has, b structures in all.
    n_structures:
        Number B of structures of all ranks.
    ranks:
        Processes that share the batch.
    """
    counts = errors.new_zeros(len(COUNTED))
    most = -(-n_structures // ranks.size)
    structures = errors.new_zeros(2, most)  # errors and weights
    start = 0
    for part in parts:
        counts += counts.new_tensor(list(count_known(part.batch).values()))
        stop = start + len(part.places)
        own = part.places // ranks.size  # among the structures of this rank
        structures[0, own] = errors[start:stop]
        structures[1, own] = weights_of(part.batch)
        start = stop
    message = torch.cat([counts, structures.reshape(-1)])
    gathered = ranks.every(message)  # (size, kinds + 2 most)
    total = gathered[:, : len(COUNTED)].sum(0)
    known = dict(zip(COUNTED, total.tolist(), strict=True))
    # structure i of the batch is number i // size of rank i % size
    of_ranks = gathered[:, len(COUNTED) :].reshape(-1, 2, most)
    by_place = of_ranks.permute(1, 2, 0).reshape(2, -1)
    every, weight = by_place[:, :n_structures]
    return WholeBatch(every, weight, known)


def weighted_loss(
    results: Evaluation,
    batch: Batch,
    label_rms: dict[str, float],
    weights: Loss,
    whole: WholeBatch | None = None,
    places: torch.Tensor | None = None,
) -> torch.Tensor:
    """Scalar loss: sum over kinds of labels of w H(error / RMS of the labels) / delta.

    H is the Huber loss, the mean of x^2 / 2 up to delta and of delta (|x| - delta / 2) beyond.
    Labels that are NaN do not count. The terms of a structure are multiplied by its weight.

    The median error of the energy per atom over the batch is subtracted: it is a composition
    energy, which is fitted at each validation (unless those of `start` are kept). Otherwise this
    one stiff direction (each bias counts once per neighbour) hides the forces from the optimiser.
    It is not the mean, to which a few pairs of very close nuclei would contribute more than all
    other structures.

    With a weight `frame_variance` the mean over atoms of the variance of an atom's energy over its
    drawn frames is added, w variance / (2 delta RMS^2), in the same units as squared errors of
    energies per atom.

    The losses of the parts of a batch add up to the loss of the batch, and so do their gradients.

    Parameters
    ----------
    results:
        Evaluation of the model on the graph of the batch.
    batch:
        Batch with the labels, or a part of one.
    label_rms:
        Units of the errors: root mean squares of the labels by kind, see `data.label_rms`.
    weights:
        Weights w by kind, and delta, `huber`.
    whole:
        The whole batch, of which `batch` is a part; None if it is the whole.
    places:
        Index of each structure of the part in the whole batch.
    """
    forces = results.forces  # first: the same run of the model gives the energies
    energy = energy_errors(results, batch)
    if whole is None or places is None:
        whole = WholeBatch(energy.detach(), weights_of(batch), count_known(batch))
        places = torch.arange(len(energy), device=energy.device)
    n_atoms = batch.n_atoms[:, None, None]  # (B, 1, 1)
    # errors, and labels that say which of them are known: a prediction that is NaN counts
    errors = [
        ("forces", forces - batch.forces, batch.forces),
        ("stress", (results.virial - batch.virial) / n_atoms, batch.virial),
    ]
    if weights.dipole > 0 and batch.dipole.isfinite().any():
        dipole = results.heads.total("dipole")
        errors.append(("dipole", dipole - batch.dipole, batch.dipole))

    total = forces.new_zeros(())
    if weights.energy:
        unit = label_rms["energy"]
        total = _energy_loss(energy / unit, places, whole, unit, weights)
    for name, error, label in errors:
        weight = getattr(weights, name)
        known = torch.isfinite(label)
        if weight and known.any():
            scaled = error[known] / label_rms[name]
            huber = _huber(scaled, weights) * _of_labels(batch, name, label)[known]
            mean = huber.sum() / whole.counts[name]
            total = total + weight * mean / weights.huber
    if weights.frame_variance:
        variance = frame_variance(results) / label_rms["energy"] ** 2
        of_atoms = weights_of(batch)[batch.graph.structure]
        mean = (variance * of_atoms).sum() / whole.counts["atoms"]
        total = total + weights.frame_variance * mean / (2 * weights.huber)
    # without any label there is nothing to learn, which is no error
    return total if total.requires_grad else total + 0 * results.interaction.sum()


def heads_of(weights: Loss) -> tuple[str, ...]:
    """Heads that a loss needs besides those of its labels.

    Parameters
    ----------
    weights:
        Weights of the loss.
    """
    return (FRAME_VARIANCE,) if weights.frame_variance else ()


def frame_variance(results: Evaluation) -> torch.Tensor:
    """Variances (n_atoms,) in eV^2 of the energies of the drawn frames of each atom.

    Parameters
    ----------
    results:
        Evaluation of a model in drawn frames.
    """
    return results.heads.per_atom(FRAME_VARIANCE)[:, 0]


def energy_errors(results: Evaluation, batch: Batch) -> torch.Tensor:
    """Errors of the energies per atom (B,) in eV.

    Parameters
    ----------
    results:
        Evaluation of the model on the graph of the batch.
    batch:
        Batch with the labels.
    """
    errors: torch.Tensor = (results.interaction - batch.energy) / batch.n_atoms
    return errors


def count_known(batch: Batch) -> dict[str, float]:
    """Number of labels that are known, by kind, and of atoms.

    Parameters
    ----------
    batch:
        Batch with the labels.
    """
    labels = (batch.energy, batch.forces, batch.virial, batch.dipole)
    counts = [float(torch.isfinite(label).sum()) for label in labels]
    return dict(zip(COUNTED, [*counts, float(len(batch.forces))], strict=True))


def weights_of(batch: Batch) -> torch.Tensor:
    """Weights of the structures of a batch, (B,).

    Parameters
    ----------
    batch:
        Batch.
    """
    return torch.ones_like(batch.n_atoms) if batch.weight is None else batch.weight


def _of_labels(batch: Batch, kind: str, label: torch.Tensor) -> torch.Tensor:
    """Weight of the structure of each label, in the shape of the labels."""
    of_structures = weights_of(batch)
    weight = of_structures[batch.graph.structure] if kind == "forces" else of_structures
    trailing = [1] * (label.dim() - 1)
    return weight.reshape(-1, *trailing).expand_as(label)


def _energy_loss(
    errors: torch.Tensor, places: torch.Tensor, whole: WholeBatch, unit: float, weights: Loss
) -> torch.Tensor:
    """Loss of energies; errors (b,) of some of all B structures are in units of the RMS.

    The median may belong to a structure of this part. Then the errors of all parts depend on its
    energy, which their values do not show.
    """
    every = whole.energy_errors.to(errors.dtype) / unit
    values = every.index_put((places,), errors)  # (B,)
    if whole.centred and len(values) > 1:
        values = values - values.median()
    huber = _huber(values, weights) * whole.weight
    is_own = torch.zeros_like(huber).index_fill(0, places, 1.0)
    own = (huber * is_own).sum()
    others = (huber * (1 - is_own)).sum()
    loss = own + others - others.detach()
    mean = loss / len(values)
    return weights.energy * mean / weights.huber


def _huber(values: torch.Tensor, weights: Loss) -> torch.Tensor:
    """Huber loss of each value."""
    zero = torch.zeros_like(values)
    return torch.nn.functional.huber_loss(values, zero, delta=weights.huber, reduction="none")
