"""Mean of a structure and of its mirror image.

    E = [E(X) + E(M X)] / 2,    v = [v(X) + M v(M X)] / 2

with the reflection M of one axis. `symmetrise="toy"` reflects z, "toy:x" reflects x.
"""

from __future__ import annotations

import torch

from ..graph import Graph
from ..models.base import AtomisticModel
from ._equivariance import OutputSpec
from .base import SymmetrisedModel

AXES = ("x", "y", "z")


class Model(SymmetrisedModel):
    """A model, averaged over a structure and its mirror image.

    Parameters
    ----------
    model:
        Model that is averaged.
    axis:
        Index of the axis that is reflected.

    """

    def __init__(self, model: AtomisticModel, axis: int) -> None:
        super().__init__(model)
        self.axis = axis

    def averaged(self, graph: Graph, outputs: OutputSpec) -> torch.Tensor:
        """Averages (n_atoms, columns), float64, of outputs of the inner model.

        Parameters
        ----------
        graph:
            Structures, with all pairs within `cutoff`.
        outputs:
            Outputs that are averaged.

        """
        signs = graph.pair_vectors.new_ones(3)
        signs[self.axis] = -1
        mirrored = graph.with_vectors(graph.pair_vectors * signs)
        original = outputs.evaluate(self.model, graph)
        image = outputs.evaluate(self.model, mirrored)
        # a reflection is its own inverse
        reflections = torch.diag(signs.double()).expand(graph.n_atoms, 3, 3)
        return (original + outputs.rotated_back(image, reflections)) / 2


def parse(argument: str = "") -> int:
    """Index of the axis that is reflected.

    Parameters
    ----------
    argument:
        Text after the colon in `symmetrise="toy:AXIS"`, "" for z.

    Raises
    ------
    ValueError
        There is no such axis; the valid choices are listed.

    """
    axis = argument or "z"
    if axis not in AXES:
        choices = ", ".join(f"toy:{name}" for name in AXES)
        raise ValueError(f"`symmetrise` is {'toy:' + argument!r}: valid choices are toy, {choices}")
    return AXES.index(axis)


def wrap(model: AtomisticModel, argument: str = "") -> AtomisticModel:
    """The model, averaged over a structure and its mirror image.

    Parameters
    ----------
    model:
        Model that is averaged.
    argument:
        Text after the colon in `symmetrise="toy:AXIS"`.

    """
    return Model(model, parse(argument))
