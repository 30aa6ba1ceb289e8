"""ECSE with one environment of each atom, drawn by weight, in place of the mean over all of them: for training.

What a symmetrised model is asked for, in inference, are environments in the frames of their own neighbours, never in
other orientations. A model that is trained in drawn frames need not learn rotations, at the cost of the plain model. Its
energies and forces scatter around those of ECSE, the less, the better it learns that all frames mean the same.
"""

from dataclasses import replace

import torch

from . import ecse, ecse_layers


class Sampled(ecse.Model):
    """A model seen in frames that a generator draws, other ones in each evaluation. The draw itself has no derivative.

    generator: torch.Generator on the CPU.
    """

    def __init__(self, model, options, generator):
        super().__init__(model, options)
        self.generator = generator

    def _environments(self, near, block, vectors):
        frames, auxiliary, rows = super()._environments(near, block, vectors)
        return frames, auxiliary, drawn(rows, self.generator)


class SampledLayers(ecse_layers.Model):
    """The same layer by layer: each layer sees each atom in a frame of its own draw, and sends on what it sees there."""

    def __init__(self, model, options, generator):
        super().__init__(model, options)
        self.generator = generator

    def _of_layer(self, rows):
        return drawn(rows, self.generator)


KINDS = {"ecse": Sampled, "ecse_layers": SampledLayers}  # name of the symmetriser -> class


def drawn(rows, generator):
    """One of the rows of each atom, drawn with the probability that its weight says."""
    chance = torch.rand(len(rows.atom), generator=generator, dtype=torch.float64).to(rows.weights.device)
    # The largest log w + g, g from a Gumbel distribution, is a draw by weight.
    key = rows.weights.detach().log() - (-chance.log()).log()
    best = key.new_full((len(rows.field.count),), -torch.inf).scatter_reduce(0, rows.atom, key, "amax")
    which = torch.nonzero(key == best[rows.atom])[:, 0]
    chosen = which.new_zeros(len(best)).index_copy(0, rows.atom[which], which)
    return replace(rows, start=rows.start[chosen], count=rows.count[chosen], axes=rows.axes[chosen],
                   back=rows.back[chosen], atom=rows.atom[chosen], weights=torch.ones_like(rows.weights[chosen]))
