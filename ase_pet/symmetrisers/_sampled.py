"""ECSE with a few environments of each atom, drawn by weight, in place of the mean over all of
them: for training.

What a symmetrised model is asked for, in inference, are environments in the frames of their own
neighbours, never in other orientations. A model that is trained in drawn frames need not learn
rotations, at the cost of the plain model. Its energies and forces scatter around those of ECSE, the
less, the better it learns that all frames mean the same.

With one draw nothing says what happens between frames: where weights change, the force of ECSE has
a part that is their derivative times the differences of energies between frames. With two or more
draws it is learned that this part vanishes.
"""

from dataclasses import replace

import torch

from . import ecse, ecse_layers


class Sampled(ecse.Model):
    """A model seen in frames that a generator draws, other ones in each evaluation. The draw itself
    has no derivative.

    generator: torch.Generator on the CPU; draws: frames of each atom, as far as it has so many.
    """

    def __init__(self, model, options, generator, draws=1):
        super().__init__(model, options)
        self.generator, self.draws = generator, draws

    def _environments(self, near, block, vectors):
        frames, auxiliary, rows = super()._environments(near, block, vectors)
        return frames, auxiliary, drawn(rows, self.generator, self.draws)


class SampledLayers(ecse_layers.Model):
    """The same layer by layer.

    Each layer sees each atom in frames of its own draw, and sends on what it sees there.
    """

    def __init__(self, model, options, generator, draws=1):
        super().__init__(model, options)
        self.generator, self.draws = generator, draws

    def _of_layer(self, rows):
        return drawn(rows, self.generator, self.draws)


KINDS = {"ecse": Sampled, "ecse_layers": SampledLayers}  # name of the symmetriser -> class


def drawn(rows, generator, draws):
    """At most so many of the rows of each atom, without replacement, each with the probability that
    its weight says.

    They keep the ratios of their weights, with derivatives.
    """
    chance = torch.rand(len(rows.atom), generator=generator, dtype=torch.float64).to(
        rows.weights.device
    )
    # The largest log w + g, g from a Gumbel distribution, is a draw by weight, the next largest the
    # next draw.
    key = rows.weights.detach().log() - (-chance.log()).log()
    order = torch.argsort(key, descending=True)
    order = order[torch.argsort(rows.atom[order], stable=True)]
    count = torch.bincount(rows.atom, minlength=len(rows.field.count))
    rank = (
        torch.arange(len(order), device=order.device) - (count.cumsum(0) - count)[rows.atom[order]]
    )
    chosen = order[rank < draws]
    atom, weights = rows.atom[chosen], rows.weights[chosen]
    total = weights.new_zeros(len(count)).index_add(0, atom, weights)
    return replace(
        rows,
        start=rows.start[chosen],
        count=rows.count[chosen],
        axes=rows.axes[chosen],
        back=rows.back[chosen],
        atom=atom,
        weights=weights / total[atom],
    )
