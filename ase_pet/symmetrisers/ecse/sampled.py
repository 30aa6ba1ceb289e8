"""ECSE with a few environments of each atom, drawn by weight: for training.

In inference a symmetrised model evaluates environments in the frames of their own neighbours only,
never in other orientations. A model that is trained in drawn frames need not learn rotations, at
the cost of the plain model. Its energies and forces scatter around those of ECSE. The scatter
decreases as the model learns that all frames are equivalent.

With one draw the loss does not depend on the differences between frames: where weights change, the
force of ECSE has a part that is their derivative times the differences of energies between frames.
With two or more draws the model learns to make this part vanish.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from ...models.base import AtomisticModel
from .edges import Block, GraphEdges
from .framed import FramedEnvironments
from .layers import EcseLayersModel
from .model import BlockEnvironments, EcseModel
from .settings import Settings


class SampledModel(EcseModel):
    """A model in frames that a generator draws, other ones in each evaluation.

    The draw itself has no derivative.

    Parameters
    ----------
    model:
        Model that is trained.
    options:
        Settings of the weights.
    generator:
        Generator of the draws, on the CPU.
    draws:
        Number of frames of each atom, or all if it has fewer.
    """

    def __init__(
        self,
        model: AtomisticModel,
        options: Settings | None,
        generator: torch.Generator,
        draws: int = 1,
    ) -> None:
        super().__init__(model, options)
        self.generator = generator
        self.draws = draws

    def _block_environments(
        self, graph_edges: GraphEdges, block: Block, vectors: torch.Tensor
    ) -> BlockEnvironments:
        every = super()._block_environments(graph_edges, block, vectors)
        environments = drawn(every.environments, self.generator, self.draws)
        return every._replace(environments=environments)


class SampledLayers(EcseLayersModel):
    """The same layer by layer: each layer evaluates each atom in frames of a draw of its own.

    Parameters
    ----------
    model:
        PET that is trained.
    options:
        Settings of the weights.
    generator:
        Generator of the draws, on the CPU.
    draws:
        Number of frames of each atom in each layer, or all if it has fewer.
    """

    def __init__(
        self,
        model: AtomisticModel,
        options: Settings | None,
        generator: torch.Generator,
        draws: int = 1,
    ) -> None:
        super().__init__(model, options)
        self.generator = generator
        self.draws = draws

    def _layer_environments(self, environments: FramedEnvironments) -> FramedEnvironments:
        return drawn(environments, self.generator, self.draws)


# name of the symmetriser -> class
DRAWN: dict[str, type[SampledModel] | type[SampledLayers]] = {
    "ecse": SampledModel,
    "ecse_layers": SampledLayers,
}


def drawn(
    environments: FramedEnvironments, generator: torch.Generator, draws: int
) -> FramedEnvironments:
    """Environments that are drawn by weight, without replacement.

    Each atom keeps the ratios of the weights of its environments, with derivatives.

    Parameters
    ----------
    environments:
        All environments of n atoms.
    generator:
        Generator of the draws, on the CPU.
    draws:
        Number of environments of each atom, or all if it has fewer.
    """
    n_atoms = len(environments.field.count)
    chance = torch.rand(len(environments.atom), generator=generator, dtype=torch.float64)
    chance = chance.to(environments.weights.device)
    # The largest log w + g, g from a Gumbel distribution, is a draw by weight, the next largest the
    # next draw.
    log_weights = environments.weights.detach().log()
    gumbel = -(-chance.log()).log()
    key = log_weights + gumbel
    order = torch.argsort(key, descending=True)
    by_atom = torch.argsort(environments.atom[order], stable=True)
    order = order[by_atom]
    count = torch.bincount(environments.atom, minlength=n_atoms)
    start = count.cumsum(0) - count
    # position of each environment among the sorted ones of its atom
    index = torch.arange(len(order), device=order.device)
    rank = index - start[environments.atom[order]]
    chosen = order[rank < draws]

    atom = environments.atom[chosen]
    weights = environments.weights[chosen]
    total = weights.new_zeros(n_atoms).index_add(0, atom, weights)
    return replace(
        environments,
        start=environments.start[chosen],
        count=environments.count[chosen],
        axes=environments.axes[chosen],
        back=environments.back[chosen],
        atom=atom,
        weights=weights / total[atom],
    )
