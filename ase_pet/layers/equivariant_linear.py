"""Linear maps of features of degrees l, the same for all components m of a degree.

Features are tables {l: (n, 2l + 1, C)}. All maps divide by the square root of their number of
inputs, so that random weights of variance 1 keep the variance.
"""

from __future__ import annotations

import functools
from typing import TypeAlias

import torch
from torch import nn

from .initial import initial
from .linear import derived, linear

Features: TypeAlias = dict[int, torch.Tensor]
Elements: TypeAlias = list[tuple[int, slice]]  # row of each element, and its atoms


def elements_of(rows: torch.Tensor) -> Elements:
    """Row of each element that occurs, and the slice of its atoms.

    Parameters
    ----------
    rows:
        Row (n_atoms,) of each atom in the tables of elements, sorted.
    """
    found, counts = torch.unique_consecutive(rows, return_counts=True)
    elements = []
    start = 0
    for row, count in torch.stack([found, counts], 1).tolist():
        elements.append((row, slice(start, start + count)))
        start += count
    return elements


class Map(nn.Module):
    """Linear map x W / sqrt(n_inputs) without bias.

    Parameters
    ----------
    n_inputs, n_outputs:
        Number of inputs and outputs.
    """

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(initial((n_inputs, n_outputs), torch.randn))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs (..., n_outputs) of `x` (..., n_inputs)."""
        scaled = derived(self, "scaled", [self.weight], self._scaled)
        return linear(x.reshape(-1, x.shape[-1]), scaled).view(*x.shape[:-1], -1)

    def _scaled(self) -> torch.Tensor:
        return self.weight.T.contiguous() / len(self.weight) ** 0.5


class Maps(nn.ModuleDict):
    """One linear map for each degree.

    Parameters
    ----------
    n_inputs:
        {degree: number of inputs}.
    n_outputs:
        Number of outputs of all degrees.
    """

    def __init__(self, n_inputs: dict[int, int], n_outputs: int) -> None:
        super().__init__({str(order): Map(n, n_outputs) for order, n in n_inputs.items()})

    def forward(self, x: Features) -> Features:
        """Outputs of features `x`, degree by degree."""
        return {int(order): of_degree(x[int(order)]) for order, of_degree in self.items()}


class SpeciesMaps(nn.Module):
    """Linear maps x S(Z) / sqrt(C n_species) of each degree and element.

    Parameters
    ----------
    degrees:
        Degrees of inputs and outputs.
    width:
        Number of channels C.
    n_species:
        Number of elements.
    """

    def __init__(self, degrees: tuple[int, ...], width: int, n_species: int) -> None:
        super().__init__()
        shape = (n_species, width, width)
        weights = {str(order): initial(shape, torch.randn) for order in degrees}
        self.weights = nn.ParameterDict(weights)

    def forward(self, x: Features, elements: Elements) -> Features:
        """Outputs of features `x` of atoms sorted by `elements`, degree by degree."""
        return {int(key): self._of_degree(key, x[int(key)], elements) for key in self.weights}

    def _of_degree(self, order: str, x: torch.Tensor, elements: Elements) -> torch.Tensor:
        weight = self.weights[order]
        outputs = []
        for row, atoms in elements:
            build = functools.partial(self._scaled, weight, row)
            scaled = derived(self, f"{order} {row}", [weight], build)
            outputs.append(linear(x[atoms].flatten(0, 1), scaled))
        return torch.cat(outputs).view_as(x)

    @staticmethod
    def _scaled(weight: torch.Tensor, row: int) -> torch.Tensor:
        n_species, width, _ = weight.shape
        return weight[row].T.contiguous() / (n_species * width) ** 0.5
