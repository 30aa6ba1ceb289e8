"""From ASE's atoms to the graph of a model: checks, neighbour lists, device and dtype."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch

from . import graph, memory
from .calculator_info import CalculatorInfo
from .choices import shown
from .graph import Graph, HalfList, Structure
from .models.base import AtomisticModel

if TYPE_CHECKING:
    from ase import Atoms


@runtime_checkable
class HasPositions(Protocol):
    """What is asked of an `ase.Atoms` object."""

    numbers: Any
    positions: Any
    cell: Any
    pbc: Any
    info: Any


class GraphInputs:
    """Structures, pairs and graphs for one model on one device.

    Parameters
    ----------
    model:
        Model that evaluates the graphs.
    device:
        Device of the graphs.
    dtype:
        Type of the weights, and of pair vectors unless the model has `exact_geometry`.
    card:
        What the training data had: a warning is given below their shortest distances, and
        species that they lacked are refused.
    """

    def __init__(
        self,
        model: AtomisticModel,
        device: torch.device,
        dtype: torch.dtype,
        card: CalculatorInfo,
    ) -> None:
        self.model = model
        self.device = device
        self.dtype = torch.float64 if model.exact_geometry else dtype
        memory.keep_freed()
        self.shortest_distances = card.shortest_distances
        self.untrained_species = card.untrained_species
        # atomic numbers of the system that the last warning was about
        self._warned: np.ndarray | None = None

    def structure(self, atoms: Atoms, where: str = "") -> Structure:
        """Structure that passed all checks.

        Parameters
        ----------
        atoms:
            Structure of ASE.
        where:
            Beginning of the text of errors.

        Raises
        ------
        InvalidStructure
            The structure has no valid energy.
        """
        try:
            if not isinstance(atoms, HasPositions):
                raise graph.InvalidStructure(f"{shown(atoms)}: expected an `ase.Atoms` object")
            structure = graph.from_atoms(atoms, self.model.conditioned)
            graph.check(structure, tuple(self.model.species))
            self._check_trained(structure)
        except graph.InvalidStructure as error:
            raise graph.InvalidStructure(where + str(error)) from None
        return structure

    def _check_trained(self, structure: Structure) -> None:
        """Refuse elements on which the weights of the model were never trained."""
        untrained = sorted(set(self.untrained_species) & set(structure.numbers.tolist()))
        if untrained:
            symbols = ", ".join(map(graph.structure.symbol, untrained))
            raise graph.InvalidStructure(
                f"no training structure of this calculator has {symbols}: its energies with"
                f" {symbols} mean nothing"
            )

    def pairs(
        self, structure: Structure, search: Callable[[Structure], HalfList], where: str = ""
    ) -> HalfList:
        """Pairs of a structure; warns of distances below those of training.

        Parameters
        ----------
        structure:
            Structure to search.
        search:
            Function that searches it.
        where:
            Beginning of the text of errors and warnings.

        Raises
        ------
        InvalidStructure
            Two atoms are too close.
        """
        try:
            pairs = search(structure)
            close = graph.check_distances(structure, pairs, self.shortest_distances)
        except graph.InvalidStructure as error:
            raise graph.InvalidStructure(where + str(error)) from None
        # one warning for each system, not for each step of a run
        if close and not self._has_warned(structure):
            self._warned = structure.numbers
            warnings.warn(
                f"{where}atoms closer than in training: {'; '.join(close)}. Results are an"
                " extrapolation.",
                stacklevel=3,
            )
        return pairs

    def closest(self, structure: Structure, pairs: HalfList) -> np.ndarray:
        """Distance (P,) in A below which `pairs` refuses each pair, or would warn of it.

        Parameters
        ----------
        structure:
            Structure of the pairs.
        pairs:
            Its pairs; their vectors are not used.
        """
        limits = np.full(len(pairs.centres), graph.CLOSEST)
        if self._has_warned(structure):
            return limits
        i = structure.numbers[pairs.centres]
        j = structure.numbers[pairs.neighbours]
        low = np.minimum(i, j)
        high = np.maximum(i, j)
        shortest = self.shortest_distances or {}
        for (first, second), limit in shortest.items():
            of_elements = (low == first) & (high == second)
            limits[of_elements] = max(limit, graph.CLOSEST)
        return limits

    def _has_warned(self, structure: Structure) -> bool:
        """Whether a warning of short distances was given for these atoms."""
        return self._warned is not None and np.array_equal(self._warned, structure.numbers)

    def graph(self, structures: list[Structure], lists: list[HalfList]) -> Graph:
        """Graph of structures on the device.

        Parameters
        ----------
        structures:
            Structures of the batch.
        lists:
            Pairs of each of them.

        Raises
        ------
        MemoryError
            The graph does not fit.
        """
        n_atoms = sum(map(len, structures))
        n_edges = 2 * sum(len(pairs.centres) for pairs in lists)
        with memory.explained(self.device, n_atoms, n_edges, len(structures)):
            return graph.build(structures, lists, dtype=self.dtype, device=self.device)
