"""Arguments of the reader of PONITA: what its checkpoints do not hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Arguments:
    """What the file does not hold: the arguments of `formats.ponita.read`.

    Attributes
    ----------
    grid:
        Unit vectors (O, 3), the name of a grid, or None.
    species:
        Atomic numbers in the order of the one-hot inputs, {Z: inputs}, or None.
    scale:
        Factor on the output in eV.
    shift:
        Energy in eV that is added per structure.
    multiple_readouts:
        Whether a file with several readouts is accepted.
    vector_inputs:
        Number of inputs that are vectors.
    vector_outputs:
        Number of outputs that are vectors.
    """

    grid: Any
    species: Any
    scale: float
    shift: float
    multiple_readouts: bool
    vector_inputs: int
    vector_outputs: int

    def inputs(self) -> dict[int, list[float]]:
        """Inputs of each element, {Z: list of numbers}."""
        if isinstance(self.species, Mapping):
            return {
                int(z): [float(value) for value in values] for z, values in self.species.items()
            }
        one_hot = torch.eye(len(self.species), dtype=torch.float64).tolist()
        inputs = dict(zip(map(int, self.species), one_hot, strict=True))
        # equal atomic numbers have overwritten each other
        if len(inputs) < len(self.species):
            raise ValueError(
                f"`species` is {list(self.species)}: expected different atomic numbers"
            )
        return inputs

    def heads(self, n_outputs: int) -> dict[str, int]:
        """{name of a head: components} of a number of outputs."""
        n_scalars = n_outputs - self.vector_outputs
        if n_scalars not in (0, 1) or not n_outputs:
            raise ValueError(
                f"it has {n_outputs} outputs, {self.vector_outputs} of them vectors"
                " (`vector_outputs`): expected one number, or none, and any vectors"
            )
        # the order is that of the outputs
        heads = {"energy": 1} if n_scalars else {}
        for k in range(self.vector_outputs):
            heads[f"vector/{k}" if self.vector_outputs > 1 else "vector"] = 3
        return heads

    def check(self, oriented: bool) -> None:
        """Raise ValueError for missing arguments; oriented: whether the file is not a PNITA."""
        missing = []
        if oriented and self.grid is None:
            missing.append("`grid`")
        if self.species is None:
            missing.append("`species`")
        if missing:
            # this reaches users who gave the path to a calculator, which has no such arguments
            pronoun = "it" if len(missing) == 1 else "them"
            raise ValueError(
                f"{' and '.join(missing)} must be given, as these files do not hold"
                f" {pronoun}, nor scale and shift of the energy: model ="
                " ase_pet.formats.ponita.read(path, grid=(O, 3) array or name, species=[Z, ...],"
                " scale=eV, shift=eV), then PETCalculator(model)"
            )
        if not oriented and self.grid is not None:
            raise ValueError("it is a PNITA, which has no orientations: leave out `grid`")
        if not math.isfinite(self.scale) or not math.isfinite(self.shift):
            raise ValueError(
                f"`scale` is {self.scale}, `shift` {self.shift}: expected finite numbers"
            )
