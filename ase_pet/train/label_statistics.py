"""What a training takes from all its data: composition energies, units of the loss, distances."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .data import Sample, count_atoms, fit_counts
from .distributed import ALONE, Ranks

SMALLEST_RMS = 1e-6  # eV, A and e, below which labels are 0 but for rounding
KINDS = ("energy", "forces", "stress", "dipole")


@dataclass(frozen=True)
class LabelStatistics:
    """Sums over training structures, of all ranks.

    Attributes
    ----------
    counts:
        Number of atoms of each species in each structure, (B, number of species).
    energies:
        Energies, (B,) in eV.
    sums:
        Number of known values and sum of their squares by kind, {"forces": (2,) in (eV/A)^2,
        "stress": of virials per atom, (2,) in eV^2, "dipole": (2,) in (e A)^2}.
    known:
        Number of structures with labels by kind, {"forces", "stress"}.
    pairs:
        Number of pairs of atoms within the cutoff.
    """

    counts: np.ndarray
    energies: np.ndarray
    sums: dict[str, np.ndarray]
    known: dict[str, int]
    pairs: int

    def absent(self, species: Sequence[int]) -> list[int]:
        """Atomic numbers that no structure has.

        Parameters
        ----------
        species:
            Atomic numbers of the model.
        """
        present = self.counts.sum(axis=0)
        return [z for z, found in zip(species, present.tolist(), strict=True) if found == 0]

    def composition(
        self, species: Sequence[int], known: Mapping[int, float] | None = None
    ) -> dict[int, float]:
        """Energy of each species, {Z: eV}, by least squares.

        Parameters
        ----------
        species:
            Atomic numbers of the model.
        known:
            Energies of some of them in eV, which are not fitted.
        """
        if not known:
            return fit_counts(self.counts, self.energies, species)
        energies = self.energies
        columns = []
        for column, z in enumerate(species):
            if z in known:
                energies = energies - known[z] * self.counts[:, column]
            else:
                columns.append(column)
        if not columns:
            return {}
        free = [species[column] for column in columns]
        return fit_counts(self.counts[:, columns], energies, free)

    def label_rms(self, composition: dict[int, float]) -> dict[str, float]:
        """Root mean squares of labels, the units of the loss, 1 for those that are absent or 0.

        {"energy": eV per atom, "forces": eV/A, "stress": virial in eV per atom, "dipole": e A}; of
        forces and dipoles the components.

        Parameters
        ----------
        composition:
            Composition energies to subtract, {Z: eV}, of all species.
        """
        of_elements = np.array(list(composition.values()))
        rest = self.energies - self.counts @ of_elements
        per_atom = rest / self.counts.sum(axis=1)
        sums = dict(self.sums)
        sums["energy"] = np.array([len(per_atom), np.square(per_atom).sum()])
        table = {}
        for name in KINDS:
            count, total = sums[name]
            rms = float(np.sqrt(total / max(count, 1)))
            # forces of symmetric crystals are rounding, which is no unit
            table[name] = rms if rms > SMALLEST_RMS else 1.0
        return table


def label_statistics(
    samples: Iterable[Sample], n_samples: int, species: Sequence[int], ranks: Ranks = ALONE
) -> LabelStatistics:
    """Statistics of the labels of samples.

    Parameters
    ----------
    samples:
        Samples of this rank, which are passed through once.
    n_samples:
        Number of samples of all ranks.
    species:
        Atomic numbers of the model.
    ranks:
        Processes that share the samples.
    """
    rows = [np.empty((0, 1 + len(species)))]
    # of forces, virials per atom and dipoles: number of known components, their squares, and number
    # of structures that have any
    sums = np.zeros((4, 3))  # and in the last row the number of pairs
    for sample in samples:
        counts = count_atoms([sample.structure.numbers], species)
        energy = np.array([[sample.energy]])
        rows.append(np.concatenate([energy, counts], axis=1))
        virial = sample.virial / len(sample.structure)
        labels = (sample.forces, virial, sample.dipole)
        for row, values in zip(sums[:3], labels, strict=True):
            known = values[np.isfinite(values)]
            squares = np.square(known).sum()
            row += [len(known), squares, len(known) > 0]
        sums[3, 0] += len(sample.pairs.centres)

    table = torch.from_numpy(np.concatenate(rows))
    every = ranks.interleaved(table, n_samples).numpy()
    total = ranks.total(torch.from_numpy(sums)).numpy()
    return LabelStatistics(
        counts=every[:, 1:],
        energies=every[:, 0],
        sums=dict(zip(("forces", "stress", "dipole"), total[:3, :2], strict=True)),
        known={"forces": int(total[0, 2]), "stress": int(total[1, 2])},
        pairs=int(total[3, 0]),
    )


def shortest_distances(
    samples: Iterable[Sample], ranks: Ranks = ALONE
) -> dict[tuple[int, int], float]:
    """Shortest distance of each pair of species, {(Z, Z'): A} with Z <= Z'.

    Parameters
    ----------
    samples:
        Samples of this rank, whose pairs within the cutoff are compared.
    ranks:
        Processes that share the samples.
    """
    shortest: dict[tuple[int, int], float] = {}
    for each in samples:
        numbers = each.structure.numbers
        distances = each.pairs.distances()
        # (2, P): atomic numbers of both ends of each pair, the smaller one first
        centres = numbers[each.pairs.centres]
        neighbours = numbers[each.pairs.neighbours]
        ends = np.stack([centres, neighbours])
        ends.sort(axis=0)
        for kind in np.unique(ends, axis=1).T:
            of_kind = (ends == kind[:, None]).all(0)
            key = (int(kind[0]), int(kind[1]))
            distance = float(distances[of_kind].min())
            known = shortest.get(key, np.inf)
            shortest[key] = min(distance, known)

    merged: dict[tuple[int, int], float] = {}
    for table in ranks.objects(shortest):
        for key, distance in table.items():
            merged[key] = min(distance, merged.get(key, np.inf))
    return merged


def shortest_of_both(
    before: Mapping[tuple[int, int], float], now: Mapping[tuple[int, int], float]
) -> dict[tuple[int, int], float]:
    """Shortest distance in A of each pair of elements, over the data of both trainings.

    Parameters
    ----------
    before:
        Of the start, {(Z, Z'): A}.
    now:
        Of the training, {(Z, Z'): A}.
    """
    both = dict(before)
    for pair, distance in now.items():
        both[pair] = min(distance, both.get(pair, distance))
    return dict(sorted(both.items()))
