"""Means over fixed rotations of the whole structure: E = sum over g of a_g E(Q_g X), of any model.

Vectors and tensors of other heads are turned back, d = sum over g of a_g Q_g^T d(Q_g X). Linear in
what the model
gives: size-extensive, as smooth and conservative as the model itself, without special cases. The
result is symmetric under the rotations of the set; what remains for others falls with its size.
"""

from dataclasses import replace

import torch

from ..models.base import cost_summary
from . import _chunks, _readings
from ._wrapped import Wrapped


class Model(Wrapped):
    """Any model, averaged over rotations (n, 3, 3) with weights (n,) that add up to 1.

    chunk_edges: edges of rotated copies that the model sees at once, None for a default of the
    device; one copy of the graph is the least. It bounds memory and changes results by rounding
    only. Of rotations that the model itself is symmetric under, as a grid of orientations may be,
    one of each class is evaluated, with the weight of all.
    """

    def __init__(self, model, rotations, weights, chunk_edges=None):
        super().__init__(model)
        self.rotations, self.weights = _distinct(model, rotations, weights)
        self.chunk_edges = chunk_edges

    def mean(self, graph, reading):
        device = graph.pair_vectors.device
        rotations, weights = self.rotations.to(device), self.weights.to(device)

        def averaged(chunk, vectors):
            found = self._read(reading, graph.with_vectors(vectors), rotations[chunk])
            return torch.tensordot(weights[chunk], found, 1)

        parts = [_chunks.Part((slice(None),), slice(None), chunk) for chunk in self._pieces(graph)]
        owner = graph.structure[graph.pair_centre]
        terms = _chunks.Sum(averaged, parts, (owner,), graph.structure, reading.columns)
        return terms((graph.pair_vectors,), self.trainable)

    @torch.no_grad()
    def spread(self, graph):
        """(n_structures,) standard deviations in eV of the energy of the bare model over the
        rotations of the set.
        """
        rotations, weights = (
            self.rotations.to(graph.pair_vectors.device),
            self.weights.to(graph.pair_vectors.device),
        )
        reading = _readings.Reading()
        energies = torch.cat(
            [self._read(reading, graph, rotations[chunk])[:, :, 0] for chunk in self._pieces(graph)]
        )
        totals = energies.new_zeros(len(energies), graph.n_structures).index_add(
            1, graph.structure, energies
        )
        return (weights @ (totals - weights @ totals).square()).sqrt()

    def cost(self, graph):
        """What the evaluation of a graph takes, see `models.base.cost_summary`."""
        copies, largest = len(self.rotations), self._pieces(graph)[0]
        return cost_summary(
            graph,
            copies * graph.n_atoms,
            copies * graph.n_atoms,
            copies * len(graph.centre),
            min(copies, largest.stop) * len(graph.centre),
            self.model.cost(graph)["ratio"],
        )

    def _pieces(self, graph):
        """Slices of the rotations that are evaluated at once."""
        budget = self.chunk_edges or _chunks.EDGES[graph.pair_vectors.device.type]
        size = max(1, budget // max(1, len(graph.centre)))
        return [slice(start, start + size) for start in range(0, len(self.rotations), size)]

    def _read(self, reading, graph, rotations):
        """(n_rotations, n_atoms, columns) float64, turned back, of rotated copies in one call."""
        copies = len(rotations)

        def repeated(values, step):
            shift = step * torch.arange(copies, device=values.device)[:, None]
            return (values + shift).flatten()

        turned = graph.pair_vectors.double() @ rotations.mT  # (n_rotations, P, 3)
        found = reading(
            self.model,
            replace(
                graph,
                n_structures=copies * graph.n_structures,
                structure=repeated(graph.structure, graph.n_structures),
                pair_centre=repeated(graph.pair_centre, graph.n_atoms),
                volume=graph.volume.repeat(copies),
                periodic=graph.periodic.repeat(copies),
                pair_neighbour=repeated(graph.pair_neighbour, graph.n_atoms),
                numbers=graph.numbers.repeat(copies),
                charge=graph.charge.repeat(copies),
                spin=graph.spin.repeat(copies),
                pair_vectors=turned.to(graph.pair_vectors.dtype).flatten(0, 1),
            ),
        )
        back = rotations.mT.repeat_interleave(graph.n_atoms, 0)
        return reading.turned_back(found, back).view(copies, graph.n_atoms, reading.columns)


def _distinct(model, rotations, weights):
    """The first rotation of each class, in their order, and the sums of the weights of classes."""
    label = model.rotation_classes(rotations).to(rotations.device)
    count, place = int(label.max()) + 1, torch.arange(len(label), device=label.device)
    first = place.new_full((count,), len(label)).scatter_reduce(0, label, place, "amin")
    total, order = weights.new_zeros(count).index_add(0, label, weights), torch.argsort(first)
    return rotations[first[order]], total[order]
