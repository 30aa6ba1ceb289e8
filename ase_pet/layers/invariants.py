"""Edges as kernels on R^3 x S^2 see them: invariants of edge vector and axis, and the weight by
which an edge leaves.

With r the edge vector and o an axis of the grid:

    a = r . o,     b = |r - a o|, smooth on the axis where it is softened

Source: E. Bekkers et al., ICLR 2024, arXiv:2310.02970; the softening is not theirs.
"""

from dataclasses import dataclass, replace

import torch

from . import cutoff

WINDOWS = ("polynomial", "bump", "step", "none")


@dataclass(frozen=True)
class Edges:
    """Edges from neighbour j to centre i: centre, neighbour (E,), invariants (E, O, n_invariants),
    window (E,).

    opposite (O,): number of the opposite of each axis where each edge stands for its reverse as
    well, else None. The reverse of an edge has the same invariants along the opposite axis, so its
    basis is that of the edge, reordered.
    """

    centre: torch.Tensor
    neighbour: torch.Tensor
    invariants: torch.Tensor
    window: torch.Tensor
    opposite: torch.Tensor | None = None

    def part(self, piece):
        """Edges of a slice."""
        return replace(
            self,
            centre=self.centre[piece],
            neighbour=self.neighbour[piece],
            invariants=self.invariants[piece],
            window=self.window[piece],
        )


def invariants(vectors, axes, softening):
    """(E, O, 2) in A: vectors (E, 3) along each of axes (O, 3), and their distance from its line.

    The distance s has a cusp on the axis, where forces would jump; softened it is sqrt(s^2 + eps^2)
    - eps.
    """
    along = vectors @ axes.T
    across = (vectors[:, None] - along[..., None] * axes).square().sum(-1)
    if softening:
        across = across / ((across + softening**2).sqrt() + softening)
    else:
        on_axis = across == 0  # where the slope is set to 0
        across = across.masked_fill(on_axis, 1).sqrt().masked_fill(on_axis, 0)
    return torch.stack([along, across], -1)


def window(lengths, settings):
    """(E,) weights of edges of these lengths in A; settings.

    Cutoff_function, cutoff, cutoff_power, cutoff_width.
    """
    if settings.cutoff_function == "none":
        return (lengths <= settings.cutoff).to(lengths.dtype)
    if settings.cutoff_function == "polynomial":
        return cutoff.polynomial(lengths, settings.cutoff, settings.cutoff_power)
    return cutoff.FUNCTIONS[settings.cutoff_function](
        lengths, settings.cutoff, settings.cutoff_width
    )


def edges(vectors, ends, axes, opposite, settings, dtype):
    """Edges in a dtype, of vectors (E, 3) in A, made in theirs.

    ends: centre and neighbour (E,); axes (O, 3), none for invariants of R^3, which are the lengths;
    opposite: of Edges;
    settings: those of `window`, softening in A, scaled: whether invariants are over the cutoff, not
    in A.
    """
    lengths = vectors.square().sum(-1).sqrt()
    found = (
        invariants(vectors, axes.to(vectors.dtype), settings.softening)
        if len(axes)
        else lengths[:, None, None]
    )
    found = found / settings.cutoff if settings.scaled else found
    return Edges(*ends, found.to(dtype), window(lengths, settings).to(dtype), opposite)
