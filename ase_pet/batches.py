"""Outputs of many structures, evaluated together in bounded memory."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import evaluation, graph, memory, outputs
from .evaluation import Evaluation
from .graph import InvalidStructure, Structure, chunking
from .graph_inputs import GraphInputs


class BatchEvaluator:
    """Evaluates structures with one model on one device.

    Parameters
    ----------
    inputs:
        Maker of the graphs, which holds the model.
    direct:
        Heads that replace derivatives, {"forces": head, "stress": head}.
    batch_atoms:
        Number of atoms that are evaluated at once.
    """

    def __init__(self, inputs: GraphInputs, direct: dict[str, str], batch_atoms: int) -> None:
        self.inputs = inputs
        self.direct = direct
        self.batch_atoms = batch_atoms

    def evaluate(
        self, structures: list[Structure], properties: Sequence[str]
    ) -> list[dict[str, Any]]:
        """{property: value} for each structure, in order.

        Parameters
        ----------
        structures:
            Structures that passed all checks.
        properties:
            Names of properties.
        """
        chunks = chunking.split([len(structure) for structure in structures], self.batch_atoms)
        results: list[dict[str, Any]] = []
        # chunks are in order, so that results are too
        for chunk in chunks:
            results += self._chunk(structures[chunk], properties, chunk.start)
        return results

    def _chunk(
        self, structures: list[Structure], properties: Sequence[str], first: int
    ) -> list[dict[str, Any]]:
        """Outputs of structures, the first of which is number `first` of the user's list."""
        model = self.inputs.model
        search = functools.partial(graph.half_list, cutoff=model.cutoff)
        lists = [
            self.inputs.pairs(structure, search, f"structure {k}: ")
            for k, structure in enumerate(structures, first)
        ]
        try:
            batch = self.inputs.graph(structures, lists)
            results = outputs.evaluation_of(model, batch, properties, self.direct)
            return self.outputs(results, properties, first)
        except MemoryError:
            if len(structures) == 1:
                raise
        # too large for the memory: try each half of the chunk
        half = len(structures) // 2
        return [
            *self._chunk(structures[:half], properties, first),
            *self._chunk(structures[half:], properties, first + half),
        ]

    def outputs(
        self, results: Evaluation, names: Sequence[str], first: int | None = None
    ) -> list[dict[str, Any]]:
        """{name: value} for each structure of an evaluation.

        Parameters
        ----------
        results:
            The evaluation.
        names:
            Names of properties.
        first:
            Number of its first structure in the user's list, None where there is no list.

        Raises
        ------
        PropertyNotImplementedError
            A structure does not have the property.
        InvalidStructure
            A value is not finite.
        """
        size = results.graph
        n_edges = 2 * len(size.pair_vectors)
        try:
            with memory.explained(self.inputs.device, size.n_atoms, n_edges, size.n_structures):
                values = outputs.compute(results, names)
        except evaluation.Undefined as error:
            counted = f", counted from structure {first}" if first else ""
            raise evaluation.Undefined(f"{error}{counted}") from None
        for index, of_structure in enumerate(values):
            where = "" if first is None else f"structure {first + index}: "
            _check_finite(of_structure, where)
        return values


def _check_finite(values: dict[str, Any], where: str) -> None:
    """Raise InvalidStructure for a value that is not finite."""
    for name, value in values.items():
        if not np.isfinite(value).all():
            raise InvalidStructure(
                f"{where}`{name}` is not finite: the model has no value for this structure in this"
                " precision; look at its shortest distances, or use dtype='float64'"
            )
