"""Outputs of many structures, evaluated together in bounded memory."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from . import evaluation, graph, memory, outputs
from .evaluation import Evaluation, local_models
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

    def chunks(self, structures: list[Structure]) -> list[tuple[int, list[Structure]]]:
        """Structures that are evaluated together, each list after the number of its first one.

        Parameters
        ----------
        structures:
            Structures that passed all checks.
        """
        slices = chunking.split([len(structure) for structure in structures], self.batch_atoms)
        return [(part.start, structures[part]) for part in slices]

    def evaluate(
        self, structures: list[Structure], properties: Sequence[str], first: int = 0
    ) -> list[dict[str, Any]]:
        """{property: value} for each of the structures of a chunk, in order.

        Parameters
        ----------
        structures:
            Structures that passed all checks.
        properties:
            Names of properties.
        first:
            Number of the first structure in the user's list.
        """
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
            *self.evaluate(structures[:half], properties, first),
            *self.evaluate(structures[half:], properties, first + half),
        ]

    def displaced_forces(
        self, structure: Structure, moved: list[int], shifts: np.ndarray
    ) -> list[np.ndarray] | None:
        """Forces (n, 3) in eV/A of m copies with one displaced atom, None if that saves no work.

        Parameters
        ----------
        structure:
            Structure of n atoms.
        moved:
            Index of the displaced atom of each copy.
        shifts:
            Displacements (m, 3) in A.
        """
        model = self.inputs.model
        largest = np.linalg.norm(shifts, axis=-1).max(initial=0.0)
        # pairs within the cutoff in any of the copies
        search = functools.partial(graph.half_list, cutoff=model.cutoff + largest)
        pairs = self.inputs.pairs(structure, search)
        n_pairs = len(pairs.centres)
        closest = pairs.distances().min(initial=np.inf) - largest
        is_cheap = local_models.saves_work(model, len(structure), n_pairs)
        if not moved or self.direct or closest < graph.CLOSEST or not is_cheap:
            return None
        device = self.inputs.device
        batch = self.inputs.graph([structure], [pairs])
        with memory.explained(device, len(structure), 2 * n_pairs, len(moved)):
            forces = local_models.displaced_forces(
                model,
                batch,
                torch.tensor(moved, device=device),
                torch.tensor(shifts, device=device),
                self.batch_atoms,
            )
        return list(forces.cpu().numpy())

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
