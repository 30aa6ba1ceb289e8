"""Evaluations of the steps of a run, in which one structure moves.

On a CPU, the pairs of each step are selected on the host. On a GPU each wait of the host for the
device costs more than the selection: there, a step with a reused neighbour list takes nothing to
the device but positions, and nothing from it but results. All arrays have the lengths of a `Room`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch

from . import outputs
from .evaluation import Evaluation
from .evaluation.traced import NOT_COMPILED, TracedGradient
from .graph import Graph, HalfList, Room, Structure, VerletList, build
from .graph_inputs import GraphInputs


class ListOnDevice(NamedTuple):
    """A neighbour list with its skin, on the device.

    Attributes
    ----------
    graph:
        Graph of all P' pairs of the list, with lattice translations in A in place of vectors.
    closest:
        Squared distance (P',) in A^2 below which a pair is looked at on the host: it is refused, or
        a warning is given.
    state:
        Total charge and spin multiplicity of the structure.
    """

    graph: Graph
    closest: torch.Tensor
    state: tuple[int | None, int | None]


class Steps:
    """Evaluations of one structure after the other, which are alike as a rule.

    Parameters
    ----------
    inputs:
        Maker of the graphs, which holds the model.
    neighbours:
        Neighbour list, which is reused while atoms move little.
    direct:
        Heads that replace derivatives, {"forces": head, "stress": head}.
    compile:
        Whether steps with a reused neighbour list run compiled operators, if the model allows it.
    """

    def __init__(
        self,
        inputs: GraphInputs,
        neighbours: VerletList,
        direct: dict[str, str],
        compile: bool = False,
    ) -> None:
        self.inputs = inputs
        self.neighbours = neighbours
        self.direct = direct
        # arrays of fixed length have rows to spare, which cost time on a CPU
        is_on_gpu = inputs.device.type != "cpu"
        self.is_fixed = inputs.model.fixed_lengths and (is_on_gpu or compile)
        self.traced = TracedGradient(inputs.model) if compile else None
        if compile and not self.is_fixed:
            warnings.warn(f"`compile`: {NOT_COMPILED} (no PET or PONITA)", stacklevel=3)
        self._room = Room()
        self._list: ListOnDevice | None = None
        self._structure: Structure  # of the latest step

    def forget(self) -> None:
        """Let the next step depend on its structure alone, bit for bit."""
        self.neighbours.forget()
        self._list = None
        if self.traced is None:  # else nothing is compiled twice; lengths change rounding only
            self._room = Room()

    def evaluation(self, structure: Structure, names: Sequence[str]) -> Evaluation:
        """Evaluation of a structure that passed all checks, where possible with fixed lengths.

        `outputs.compute` raises Outgrown if they do not suffice.

        Parameters
        ----------
        structure:
            Structure of the step.
        names:
            Names of the outputs that will be asked for.
        """
        self._structure = structure
        moved = self._moved(structure) if self.is_fixed else None
        if moved is None:
            return self.measured(names)
        return outputs.evaluation_of(self.inputs.model, moved, names, self.direct, self.traced)

    def measured(self, names: Sequence[str]) -> Evaluation:
        """Evaluation of the latest structure, with arrays as long as its positions ask for.

        Parameters
        ----------
        names:
            Names of the outputs that will be asked for.
        """
        structure = self._structure
        pairs = self.inputs.pairs(structure, self.neighbours)
        batch = self.inputs.graph([structure], [pairs])
        if self.is_fixed:
            self._list = self._listed(structure)
            batch = replace(batch, room=self._room)
            n_pairs = len(pairs.centres)
            length = batch.lengths.measured("pairs", n_pairs)
            beyond = 2 * self.neighbours.cutoff
            batch = batch.padded(length - n_pairs, beyond)
        return outputs.evaluation_of(self.inputs.model, batch, names, self.direct)

    def _listed(self, structure: Structure) -> ListOnDevice:
        """The list of the latest search, on the device."""
        device = self.inputs.device
        i, j, translations = self.neighbours.pairs
        pairs = HalfList(i, j, translations)
        graph = build([structure], [pairs], device=device)
        closest = self.inputs.closest(structure, pairs)
        squared = torch.from_numpy(closest**2)
        state = (structure.charge, structure.spin)
        return ListOnDevice(graph, squared.to(device), state)

    def _moved(self, structure: Structure) -> Graph | None:
        """Graph of a structure with fixed lengths; None if its neighbours have to be searched."""
        positions = self.neighbours.unwrapped(structure)
        if positions is None or self._list is None:
            return None
        if self._list.state != (structure.charge, structure.spin):
            return None
        room = self._room.fixed()
        graph = replace(self._list.graph, room=room)
        on_device = torch.from_numpy(positions).to(self.inputs.device)  # the one transfer
        # r_j - r_i + the lattice translation of the pair
        vectors = on_device.index_select(0, graph.pair_neighbour)
        vectors = vectors - on_device.index_select(0, graph.pair_centre)
        vectors = vectors + graph.pair_vectors
        squared = vectors.square().sum(1)
        too_close = squared < self._list.closest
        cutoff = self.neighbours.cutoff
        is_within = squared <= cutoff**2
        moved = graph.with_vectors(vectors)
        moved = moved.select_where(is_within, "pairs", 2 * cutoff)
        room.excess.append(too_close.sum())
        return moved.with_vectors(moved.pair_vectors.to(self.inputs.dtype))
