"""Outputs of a model for rotated copies of a structure, and how they are rotated back.

A head of one component is a scalar, of three a polar vector v, of nine a tensor T of rank 2, row by
row. Where the model evaluates a copy with coordinates x', x = B x' with B an orthogonal matrix,
proper or improper, its outputs are rotated back before means are taken:

    v = B v'
    T = B T' B^T

A copy may stand for more than one orientation (`ecse.collinear`). B then has a lower rank: u e_x^T
for neighbours on an axis along u, zero without neighbours. The output is the mean over the
rotations and reflections that leave the copy as it is, with t the mean of T' across the axis:

    v = B v'
    T = B T' B^T + t (1 - B B^T)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from ..graph import Graph
from ..models.base import AtomisticModel


@dataclass(frozen=True)
class OutputSpec:
    """Outputs of a model that are averaged, as float64 columns of each atom.

    Without heads these are the energy, and after it the features of the last layer if there are
    any.

    Attributes
    ----------
    heads:
        Heads and their components, {name: components}, that of the energy first.
    features:
        Number of features of the last layer.
    """

    heads: dict[str, int] = field(default_factory=dict)
    features: int = 0

    @property
    def columns(self) -> int:
        """Number of columns."""
        if self.heads:
            return sum(self.heads.values())
        return 1 + self.features

    def evaluate(self, model: AtomisticModel, graph: Graph) -> torch.Tensor:
        """Outputs (n_atoms, columns) of the model in the axes of the graph, in eV for energies.

        Parameters
        ----------
        model:
            Model that is evaluated.
        graph:
            Structures that it is evaluated on.
        """
        if self.heads:
            # float64, so that sums over many rotations do not lose digits
            values = model.predict(graph, tuple(self.heads))
            columns = [values[name].double() for name in self.heads]
        elif self.features:
            energies, features = model.last_layer(graph)
            columns = [energies.double()[:, None], features.double()]
        else:
            columns = [model(graph).double()[:, None]]
        return torch.cat(columns, 1)

    def rotated_back(self, values: torch.Tensor, rotations: torch.Tensor) -> torch.Tensor:
        """Outputs (n, columns) in the axes of the structure.

        Parameters
        ----------
        values:
            Outputs (n, columns) of rotated copies.
        rotations:
            Matrices B (n, 3, 3) with x = B x' for coordinates x' of the copies.
        """
        components = list(self.heads.values())
        if max(components, default=1) == 1:
            return values
        parts = values.split(components, 1)
        return torch.cat([ROTATED_BACK[part.shape[1]](part, rotations) for part in parts], 1)

    def by_head(self, values: torch.Tensor) -> dict[str, torch.Tensor]:
        """{head: values (n_atoms, components)} of columns.

        Parameters
        ----------
        values:
            Outputs (n_atoms, columns).
        """
        parts = values.split(list(self.heads.values()), 1)
        return dict(zip(self.heads, parts, strict=True))


def _scalar(values: torch.Tensor, rotations: torch.Tensor) -> torch.Tensor:
    return values


def _vector(values: torch.Tensor, rotations: torch.Tensor) -> torch.Tensor:
    return (rotations @ values[:, :, None])[:, :, 0]


def _tensor(values: torch.Tensor, rotations: torch.Tensor) -> torch.Tensor:
    tensors = values.view(-1, 3, 3)
    inverse = rotations.mT
    one = torch.eye(3, dtype=values.dtype, device=values.device)
    # rank of B: 3 in a frame, 1 on an axis, 0 without neighbours
    squared_norm = rotations.detach().square().sum((1, 2))
    n_across = 3 - squared_norm.round()
    across_axis = one - inverse @ rotations  # projector, (n, 3, 3), zero in a frame
    trace = (across_axis * tensors).sum((1, 2))
    mean = trace / n_across.clamp_min(1)  # t, (n,)
    along = rotations @ tensors @ inverse
    across = mean[:, None, None] * (one - rotations @ inverse)
    return (along + across).flatten(1)


# number of components -> function of outputs (n, components) and matrices B (n, 3, 3)
ROTATED_BACK: dict[int, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    1: _scalar,
    3: _vector,
    9: _tensor,
}


def output_spec(model: AtomisticModel, names: Sequence[str]) -> OutputSpec:
    """OutputSpec of named heads of a model, the energy first.

    Parameters
    ----------
    model:
        Model that has these heads.
    names:
        Names of heads.

    Raises
    ------
    ValueError
        The model has no such head, or its components are not a scalar, a vector or a tensor.
    """
    known = model.head_sizes
    for name in names:
        if name not in known:
            raise ValueError(
                f"`{name}` is not a head of this model: valid choices are {', '.join(known)}"
            )
        if known[name] not in ROTATED_BACK:
            raise ValueError(
                f"head `{name}` has {known[name]} components: expected 1 (a number), 3 (a vector)"
                " or 9 (a tensor), as nothing says how they transform under rotation; use"
                " symmetrise='none'"
            )
    # ChunkedSum computes the gradient of the first column together with its value
    energy_first = sorted(names, key=lambda name: name != model.energy_head)
    return OutputSpec({name: known[name] for name in energy_first})
