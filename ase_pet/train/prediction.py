"""Predictions of a model on samples: errors, parity plots, composition energies."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import torch

from ..evaluation import Evaluation
from ..graph import chunking
from ..models.base import AtomisticModel
from .data import Batch, Sample, collate, count_atoms, fit_counts
from .distributed import ALONE, Ranks
from .loss import Diverged
from .metrics import ErrorSums
from .streaming import sizes

KINDS = ("energy", "forces", "stress", "dipole")
ATOMS = "atoms"  # of force components: atomic number, and size of the reference force
ANY_SIZE = 1e3  # weight of energies of which nothing is known, where a fit has several solutions
MOST_FITTED = 20_000  # structures to which composition energies are fitted again


def predict(
    model: AtomisticModel,
    samples: Sequence[Sample],
    dtype: torch.dtype,
    device: torch.device | str,
) -> dict[str, np.ndarray]:
    """Reference and predicted values over samples, {kind: (2, count)}, where labels are known.

    Energy in eV/atom (without composition energies), forces in eV/A, stress in eV/A^3 and dipole in
    e A, the last three by component. "atoms" holds the atomic number, and the size of the reference
    force in eV/A, of the atom of each force component.

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
    every = list(_predicted(model, samples, dtype, device))
    return _joined(every)


def compare(
    model: AtomisticModel,
    samples: Sequence[Sample],
    dtype: torch.dtype,
    device: torch.device | str,
    ranks: Ranks = ALONE,
    plotted: int = 0,
) -> tuple[dict[str, dict[str, float]], dict[str, np.ndarray]]:
    """Errors by kind, {kind: {"rmse", "mae", "rms"}}, and values as those of `predict`, for a plot.

    Parameters
    ----------
    model:
        Model with its compositions fitted.
    samples:
        Samples without composition energies, the same on all ranks.
    dtype:
        Precision of the model.
    device:
        Device of the model.
    ranks:
        Processes that share the work; all of them return the errors, rank 0 the values as well.
    plotted:
        About how many structures the values are of, evenly distributed; all if there are fewer.
    """
    own = samples[ranks.mine]
    every = max(1, math.ceil(len(samples) / max(plotted, 1)))
    sums = {kind: ErrorSums() for kind in KINDS}
    kept = []
    for number, values in enumerate(_predicted(model, own, dtype, device)):
        for name in KINDS:
            if name in values:
                sums[name].add(*values[name])
        # groups of samples are of about the same size
        if plotted and number % every == 0:
            kept.append(values)

    first, *others = ranks.objects(sums)
    for name, total in first.items():
        for other in others:
            total.merge(other[name])
    errors = {name: total.metrics() for name, total in first.items() if len(total)}
    pairs = _joined(kept)
    return errors, _joined(ranks.objects(pairs)) if plotted else pairs


def _joined(parts: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Values of several groups of samples, {kind: (2, count)}."""
    joined = {}
    for kind in (*KINDS, ATOMS):
        arrays = [part[kind] for part in parts if kind in part]
        joined[kind] = np.concatenate([np.empty((2, 0)), *arrays], axis=1)
    return joined


def _predicted(
    model: AtomisticModel,
    samples: Sequence[Sample],
    dtype: torch.dtype,
    device: torch.device | str,
) -> Iterator[dict[str, np.ndarray]]:
    """Known reference values and predictions of one group of samples after the other."""
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
        pairs = {}
        for name, (reference, predicted) in values.items():
            both = torch.stack([reference.detach().ravel(), predicted.detach().ravel()])
            pair = both.cpu().numpy()
            # labels that are not known are NaN; a prediction that is NaN stays
            pairs[name] = pair[:, np.isfinite(pair[0])]
        pairs[ATOMS] = _atoms_of_components(chunk)
        yield pairs


def _atoms_of_components(samples: Sequence[Sample]) -> np.ndarray:
    """Atomic number and size of the reference force of each known component, (2, count)."""
    forces = np.concatenate([each.forces for each in samples])  # (n, 3)
    numbers = np.concatenate([each.structure.numbers for each in samples])
    of_atoms = np.stack([numbers, np.linalg.norm(np.nan_to_num(forces), axis=1)])  # (2, n)
    of_components = of_atoms.repeat(3, axis=1)
    return of_components[:, np.isfinite(forces.ravel())]


def evaluation(
    model: AtomisticModel, batch: Batch, training: bool = False, heads: Sequence[str] = ()
) -> Evaluation:
    """Evaluation of a batch; dipoles, where there are labels, come from the run for the energies.

    Parameters
    ----------
    model:
        Model.
    batch:
        Batch.
    training:
        Whether derivatives keep their graph, so that a loss of forces reaches the weights.
    heads:
        Other heads that come from this run.
    """
    dipole = ("dipole",) if batch.dipole.isfinite().any() else ()
    return Evaluation(model, batch.graph, training=training, heads=(*dipole, *heads))


def refit_composition(
    model: AtomisticModel,
    samples: Sequence[Sample],
    species: Sequence[int],
    dtype: torch.dtype,
    device: torch.device | str,
    ranks: Ranks = ALONE,
    new: Collection[int] = (),
) -> dict[int, float]:
    """Composition energies, {Z: eV}: a robust fit to the errors of the energies of a model.

    Of several solutions, as of elements in a fixed ratio, it is the smallest one. Robust as the
    loss: a few structures with errors of an eV, very close nuclei, would shift all others. At most
    20 000 structures are used, evenly distributed over the samples.

    Parameters
    ----------
    model:
        Model, whose own compositions are left out.
    samples:
        Samples to fit to, the same on all ranks.
    species:
        Atomic numbers of the model.
    dtype:
        Precision of the model.
    device:
        Device of the model.
    ranks:
        Processes that share the work.
    new:
        Elements whose energies may be of any size: nothing is known of them.

    Raises
    ------
    Diverged
        Energies of the model are not finite.
    """
    used = samples[:: math.ceil(len(samples) / MOST_FITTED)]
    rows = [torch.empty(0, 1 + len(species), dtype=torch.float64)]
    for chunk in chunks(used[ranks.mine], device):
        batch = collate(chunk, dtype, device)
        results = Evaluation(model, batch.graph)
        error = (batch.energy - results.interaction).detach().cpu().double()
        counts = count_atoms([each.structure.numbers for each in chunk], species)
        rows.append(torch.cat([error[:, None], torch.from_numpy(counts).double()], 1))
    # (n, 1 + number of species): error and numbers of atoms of each structure
    table = ranks.interleaved(torch.cat(rows), len(used)).numpy()
    if not np.isfinite(table).all():
        raise Diverged(
            "energies of training structures are not finite: the training diverged. Lower"
            " `optimiser.learning_rate`"
        )
    # x = w y: the size of y counts, that of x as little as 1 / w
    weights = np.array([ANY_SIZE if z in new else 1.0 for z in species])
    fitted = fit_counts(weights * table[:, 1:], table[:, 0], species, robust=True)
    energies = {z: weight * fitted[z] for z, weight in zip(species, weights.tolist(), strict=True)}
    # of rank 0: least squares on another processor may differ in the last digits
    return ranks.shared(energies)


def chunks(samples: Sequence[Sample], device: torch.device | str) -> Iterator[Sequence[Sample]]:
    """Samples in consecutive groups that are evaluated together, bounded by the memory of a device.

    Parameters
    ----------
    samples:
        Samples.
    device:
        Device of the evaluation.
    """
    limit = chunking.budget("validation_atoms", device)
    for part in chunking.split(sizes(samples), limit):
        yield list(samples[part])
