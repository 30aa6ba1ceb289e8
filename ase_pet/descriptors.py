"""Features of atoms and structures: what the layers of a network know of an environment."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms

from . import graph, memory
from .batches import BatchEvaluator
from .choices import one_of
from .concurrency import OneAtATime, exclusive
from .graph import Graph, Structure
from .graph_inputs import GraphInputs
from .models.base import AtomisticModel

LAST = "last"
PARTS = ("atoms", "structure")


class Described(OneAtATime):
    """Part of `PETCalculator`: features of its model."""

    model: AtomisticModel
    _inputs: GraphInputs
    _batches: BatchEvaluator

    @exclusive
    def features(self, atoms: Atoms | Sequence[Atoms], layer: str = LAST, of: str = "atoms") -> Any:
        """Features (n, d) of the atoms of a structure, or (d,) of the structure: their mean.

        Without unit, float64. A list of structures gives a list of arrays. Nothing but the forward
        pass is computed, and the state of the calculator does not change.

        Parameters
        ----------
        atoms:
            Structure of n atoms, or a list of structures.
        layer:
            "last": what the energy of an atom is a linear function of; with a symmetriser its
            average over rotations. "1", "2", ...: after that message-passing layer, for models
            without a symmetriser: central tokens of a PET, means over the axes of a PONITA,
            scalars of a MACE.
        of:
            "atoms" or "structure".

        Raises
        ------
        ValueError
            The model has no such layer; the valid choices are listed.
        """
        one_of("of", of, PARTS)
        is_single = isinstance(atoms, Atoms)
        frames = [atoms] if isinstance(atoms, Atoms) else list(atoms)
        structures = [
            self._inputs.structure(each, "" if is_single else f"structure {k}: ")
            for k, each in enumerate(frames)
        ]
        rows = []
        # of bounded memory
        for first, chunk in self._batches.chunks(structures):
            rows += _of_chunk(self._inputs, chunk, str(layer), first)
        values = [row.mean(0) for row in rows] if of == "structure" else rows
        return values[0] if is_single else values


def _of_chunk(
    inputs: GraphInputs, structures: list[Structure], layer: str, first: int
) -> list[np.ndarray]:
    """Features (n, d) of the atoms of each structure, the first of which has this number."""
    search = functools.partial(graph.half_list, cutoff=inputs.model.cutoff)
    lists = [
        inputs.pairs(structure, search, f"structure {k}: ")
        for k, structure in enumerate(structures, first)
    ]
    n_atoms = [len(structure) for structure in structures]
    try:
        batch = inputs.graph(structures, lists)
        n_edges = 2 * len(batch.pair_vectors)
        with (
            torch.no_grad(),
            memory.explained(inputs.device, batch.n_atoms, n_edges, batch.n_structures),
        ):
            values = _of_layer(inputs.model, batch, layer).double().cpu()
    except MemoryError:
        if len(structures) == 1:
            raise
        # too large for the memory: each half of the chunk
        half = len(structures) // 2
        return [
            *_of_chunk(inputs, structures[:half], layer, first),
            *_of_chunk(inputs, structures[half:], layer, first + half),
        ]
    return [part.numpy() for part in values.split(n_atoms)]


def _of_layer(model: AtomisticModel, batch: Graph, layer: str) -> torch.Tensor:
    """Features (n_atoms, d) of a layer."""
    if layer == LAST:
        return model.last_layer(batch)[1]
    if model.is_symmetrised:
        raise ValueError(
            f"`layer` is {layer!r}, but features of inner layers depend on the orientation and are"
            " not averaged: use 'last', or a calculator with symmetrise='none'"
        )
    layers = model.layer_features(batch)
    valid = [*layers, *([LAST] if model.n_features else [])]
    one_of("layer", layer, valid)
    return layers[layer]
