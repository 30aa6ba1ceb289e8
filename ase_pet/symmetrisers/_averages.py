"""Averages of any model over fixed rotations Q_g of the structure, with weights a_g.

    E(X) = sum over g of a_g E(Q_g X)
    d(X) = sum over g of a_g Q_g^T d(Q_g X)        for vectors; tensors alike

Averages are linear in the outputs of the model: they are as smooth, size-extensive and conservative
as the model itself, without special cases. They are symmetric under the rotations of a group; the
error for other rotations falls with the number of rotations.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from ..graph import Graph, chunking
from ..models.base import AtomisticModel, cost_summary
from ._chunked_sum import ChunkedSum, Part
from ._equivariance import OutputSpec
from .base import SymmetrisedModel


class AveragedModel(SymmetrisedModel):
    """Any model, averaged over rotations of the structure.

    Of rotations that the model itself is invariant under, as a grid of orientations may be, one of
    each class is evaluated, with the weight of the class.

    Parameters
    ----------
    model:
        Model that is averaged.
    rotations:
        Orthogonal matrices (n, 3, 3).
    weights:
        Weights (n,) that add up to 1.
    chunk_edges:
        Largest number of directed edges of rotated copies that are evaluated at once, but one copy
        at least; None for the default of the device. It bounds memory, and changes results by
        rounding only.
    """

    def __init__(
        self,
        model: AtomisticModel,
        rotations: torch.Tensor,
        weights: torch.Tensor,
        chunk_edges: int | None = None,
    ) -> None:
        super().__init__(model)
        self.rotations, self.weights = _distinct(model, rotations, weights)
        self.chunk_edges = chunk_edges

    def _on(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Rotations (n, 3, 3) and weights (n,) on a device, where they stay: float64 on any."""
        self.rotations = self.rotations.to(device)
        self.weights = self.weights.to(device)
        return self.rotations, self.weights

    def averaged(self, graph: Graph, outputs: OutputSpec) -> torch.Tensor:
        """Averages (n_atoms, columns), float64, of outputs of the inner model.

        Parameters
        ----------
        graph:
            Structures, with all pairs within `cutoff`.
        outputs:
            Outputs that are averaged.
        """
        device = graph.pair_vectors.device
        rotations, weights = self._on(device)

        def weighted(chunk: slice, vectors: torch.Tensor) -> torch.Tensor:
            # (rotations of the chunk, n_atoms, columns)
            values = self._rotated(outputs, graph.with_vectors(vectors), rotations[chunk])
            average: torch.Tensor = torch.tensordot(weights[chunk], values, 1)
            return average

        everything = slice(None)
        parts = [Part((everything,), everything, chunk) for chunk in self._chunks(graph)]
        terms = ChunkedSum(
            function=weighted,
            parts=parts,
            input_groups=(graph.structure[graph.pair_centre],),
            groups=graph.structure,
            columns=outputs.columns,
        )
        return terms((graph.pair_vectors,), self.trainable)

    @torch.no_grad()
    def standard_deviation(self, graph: Graph) -> torch.Tensor:
        """Standard deviations (n_structures,) in eV of the inner model over the rotations.

        Parameters
        ----------
        graph:
            Structures, with all pairs within `cutoff`.
        """
        device = graph.pair_vectors.device
        rotations, weights = self._on(device)
        chunks = self._chunks(graph)
        parts = []
        for chunk in chunks:
            values = self._rotated(OutputSpec(), graph, rotations[chunk])
            parts.append(values[:, :, 0])
        energies = torch.cat(parts)  # (n_rotations, n_atoms)
        totals = energies.new_zeros(len(energies), graph.n_structures)
        totals = totals.index_add(1, graph.structure, energies)
        mean = weights @ totals  # (n_structures,)
        variance = weights @ (totals - mean).square()
        return variance.sqrt()

    def cost(self, graph: Graph) -> dict[str, float]:
        """Predicted cost of an evaluation, see `models.base.cost_summary`.

        Parameters
        ----------
        graph:
            Structures, with all pairs within `cutoff`.
        """
        copies = len(self.rotations)
        n_edges = len(graph.centre)
        largest = self._chunks(graph)[0]
        return cost_summary(
            graph,
            environments=copies * graph.n_atoms,
            tokens=copies * graph.n_atoms,
            edges=copies * n_edges,
            peak_edges=largest.stop * n_edges,
            inner=self.model.cost(graph)["ratio"],
        )

    def _chunks(self, graph: Graph) -> list[slice]:
        """Slices of the rotations that are evaluated at once."""
        limit = self.chunk_edges or chunking.budget("edges", graph.pair_vectors.device)
        # ranks that share a structure exchange messages, and evaluate the same rotations together
        n_edges = len(graph.centre) if graph.route is None else graph.route.most_edges
        return chunking.split([max(1, n_edges)] * len(self.rotations), limit)

    def _rotated(self, outputs: OutputSpec, graph: Graph, rotations: torch.Tensor) -> torch.Tensor:
        """Outputs (n_rotations, n_atoms, columns) of rotated copies, rotated back."""
        copies = len(rotations)
        route = graph.route
        if route is not None:
            route = route.repeated(copies)

        def shifted(indices: torch.Tensor, step: int) -> torch.Tensor:
            copy = torch.arange(copies, device=indices.device)
            shift = step * copy[:, None]  # (n_rotations, 1)
            return (indices + shift).flatten()

        # rotated in float64, then rounded once
        vectors = graph.pair_vectors.double() @ rotations.mT  # (n_rotations, P, 3)
        vectors = vectors.to(graph.pair_vectors.dtype)
        rotated = replace(
            graph,
            route=route,
            n_structures=copies * graph.n_structures,
            structure=shifted(graph.structure, graph.n_structures),
            pair_centre=shifted(graph.pair_centre, graph.n_atoms),
            pair_neighbour=shifted(graph.pair_neighbour, graph.n_atoms),
            pair_vectors=vectors.flatten(0, 1),
            numbers=graph.numbers.repeat(copies),
            volume=graph.volume.repeat(copies),
            periodic=graph.periodic.repeat(copies),
            charge=graph.charge.repeat(copies),
            spin=graph.spin.repeat(copies),
        )
        values = outputs.evaluate(self.model, rotated)
        inverse = rotations.mT.repeat_interleave(graph.n_atoms, 0)
        values = outputs.rotated_back(values, inverse)
        return values.view(copies, graph.n_atoms, outputs.columns)


def _distinct(
    model: AtomisticModel, rotations: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """First rotation of each class, in the order of the rotations, and total weights of classes."""
    label = model.rotation_classes(rotations).to(rotations.device)
    n = len(label)
    n_classes = int(label.max()) + 1
    index = torch.arange(n, device=label.device)
    # (n_classes,) first rotation of each class, and the total weight of the class
    first = index.new_full((n_classes,), n)
    first = first.scatter_reduce(0, label, index, "amin")
    total = weights.new_zeros(n_classes)
    total = total.index_add(0, label, weights)
    order = torch.argsort(first)
    return rotations[first[order]], total[order]
