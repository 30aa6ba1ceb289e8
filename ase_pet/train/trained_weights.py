"""Which weights of a model are trained, and how a step changes them.

Low-rank training (LoRA, E. J. Hu et al., arXiv:2106.09685) adds U V to a weight W0 (m, n), with U
(m, r) and V (r, n) for a small rank r. With the gradient G of the loss with respect to the weight
W = W0 + U V, those of the factors are

    dL/dU = G V^T,    dL/dV = U^T G

so the model itself holds W at all times: an ordinary model, which needs no code for factors. The
time of a step is that of full training; what is limited is how far the weights can move.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..layers.equivariant_linear import Map, SpeciesMaps
from ..models.base import AtomisticModel
from . import growth, optimisers
from .schema import FineTuning, Optimiser

MAPS = (nn.Linear, Map, SpeciesMaps)


@dataclass
class LowRank:
    """A weight W = W0 + U V, with W0 (..., m, n), U (..., m, r) and V (..., r, n).

    Attributes
    ----------
    weight, averaged:
        W of the model, and of the averaged model.
    base:
        W0.
    factors:
        U and V.
    means:
        Averages of U and V over the steps.
    """

    weight: Tensor
    averaged: Tensor
    base: Tensor
    factors: list[nn.Parameter]
    means: list[Tensor]

    @classmethod
    def of(cls, weight: Tensor, averaged: Tensor, rank: int, generator: torch.Generator) -> LowRank:
        """W0 itself at first, as U is 0.

        Parameters
        ----------
        weight, averaged:
            W (..., m, n) of the model, and of the averaged model.
        rank:
            Rank r.
        generator:
            Generator of V, on the CPU.
        """
        *batch, m, n = weight.shape
        # V of the size of usual initial weights, and U = 0: the model is the start at first
        drawn = torch.randn(*batch, rank, n, generator=generator, dtype=torch.float64)
        drawn = drawn / math.sqrt(n)
        base = weight.detach().clone()
        values = [base.new_zeros(*batch, m, rank), drawn.to(base)]
        factors = [nn.Parameter(value) for value in values]
        means = [value.clone() for value in values]
        return cls(weight, averaged, base, factors, means)

    def gradients(self) -> None:
        """Move the gradient of W to U and V."""
        left, right = self.factors
        gradient = self.weight.grad
        if gradient is None:
            left.grad = None
            right.grad = None
            return
        left.grad = gradient @ right.detach().mT
        right.grad = left.detach().mT @ gradient
        self.weight.grad = None

    def merge(self, decay: float) -> None:
        """Set W and its average after a step.

        Parameters
        ----------
        decay:
            Decay of the averages of U and V.
        """
        left, right = self.factors
        self.weight.copy_(self.base + left @ right)
        # the average of the factors, not of W: its addition has the same rank
        for mean, factor in zip(self.means, self.factors, strict=True):
            mean.lerp_(factor, 1 - decay)
        mean_left, mean_right = self.means
        self.averaged.copy_(self.base + mean_left @ mean_right)


class TrainedWeights:
    """The weights that are trained, with their averages over the steps.

    Parameters
    ----------
    model:
        Model, of which weights that are not trained need no gradient from now on.
    average:
        Copy of the model for the averaged weights.
    options:
        The table [fine_tuning] of the recipe.
    heads:
        Heads that are trained; None for all weights of a model without a start.
    new_rows:
        Rows of elements that the start lacks.
    seed:
        Seed of the factors of low-rank weights.

    Raises
    ------
    ValueError
        The model does not say which weights are its readouts, or the rank is too high.
    """

    def __init__(
        self,
        model: AtomisticModel,
        average: AtomisticModel,
        options: FineTuning,
        heads: Collection[str] | None = None,
        new_rows: Sequence[int] = (),
        seed: int = 0,
    ) -> None:
        self.model = model
        self.average = average
        self.options = options
        self.low_rank: dict[str, LowRank] = {}
        self.masks: dict[str, Tensor] = {}  # entries that are trained, where some are not
        self.kept: dict[str, Tensor] = {}  # values of the others
        if heads is not None:
            self._check_parts()
            self._choose(heads, new_rows)
            self._add_factors(seed)

    def optimisers(self, options: Optimiser) -> list[torch.optim.Optimizer]:
        """Optimisers of the weights that are trained.

        Parameters
        ----------
        options:
            The table [optimiser] of the recipe.
        """
        factors = []
        for name, each in self.low_rank.items():
            rate = self._rate(name)
            factors += [(factor, rate) for factor in each.factors]
        return optimisers.optimisers(self._itself(), options, factors)

    def _itself(self) -> Iterator[tuple[str, Tensor, float]]:
        """Weights that are trained themselves: their names, and factors on the learning rate."""
        for name, weight in self.model.named_parameters():
            if weight.requires_grad and name not in self.low_rank:
                yield name, weight, self._rate(name)

    @torch.no_grad()
    def update(self, steppers: Sequence[torch.optim.Optimizer], clip: float, decay: float) -> None:
        """Make a step with the gradients of the model, and average the weights.

        Parameters
        ----------
        steppers:
            Result of `optimisers`.
        clip:
            Largest norm of the gradient.
        decay:
            Decay of the averages.
        """
        parameters = dict(self.model.named_parameters())
        clipped: list[Tensor] = list(parameters.values())
        for each in self.low_rank.values():
            each.gradients()
            clipped += each.factors
        self._mask_gradients(parameters)
        nn.utils.clip_grad_norm_(clipped, clip)
        for stepper in steppers:
            stepper.step()

        self._restore(parameters)
        weights: list[Tensor] = list(parameters.values())
        averaged: list[Tensor] = list(self.average.parameters())
        torch._foreach_lerp_(averaged, weights, 1 - decay)
        for each in self.low_rank.values():
            each.merge(decay)

    def _restore(self, parameters: Mapping[str, Tensor]) -> None:
        """Reset entries that are not trained: decay and Muon do not stop at a mask."""
        for name, values in self.kept.items():
            weight = parameters[name]
            weight.copy_(torch.where(self.masks[name], weight, values))

    def _mask_gradients(self, parameters: Mapping[str, Tensor]) -> None:
        """Clear gradients of entries that are not trained, so that they do not count in norms."""
        for name, mask in self.masks.items():
            gradient = parameters[name].grad
            if gradient is not None:
                gradient.mul_(mask)

    def state(self) -> dict[str, list[Tensor]]:
        """Factors of low-rank weights and their averages, {name: [U, V, mean U, mean V]}."""
        return {
            name: [*(factor.detach() for factor in each.factors), *each.means]
            for name, each in self.low_rank.items()
        }

    @torch.no_grad()
    def load(self, state: Mapping[str, Sequence[Tensor]]) -> None:
        """Continue from a `state`, that of the method with this name."""
        for name, each in self.low_rank.items():
            for own, saved in zip([*each.factors, *each.means], state[name], strict=True):
                own.copy_(saved)

    def counts(self) -> tuple[int, int]:
        """Number of trained weights (of factors where they are low-rank), and of all weights."""
        # a low-rank weight counts by its factors, a masked one by its free entries
        trained = 0
        total = 0
        for name, weight in self.model.named_parameters():
            total += weight.numel()
            if name in self.low_rank:
                trained += sum(factor.numel() for factor in self.low_rank[name].factors)
            elif name in self.masks:
                trained += int(self.masks[name].sum())
            elif weight.requires_grad:
                trained += weight.numel()
        return trained, total

    def described(self) -> str:
        """Which weights are trained, in words."""
        options = self.options
        trained, total = self.counts()
        method = {
            "full": "all weights",
            "heads": "readouts only",
            "lora": f"additions of rank {options.rank} to the linear maps, and the readouts",
        }[options.weights]
        rate = ""
        if options.layer_rate != 1:
            rate = f"; learning rate times {options.layer_rate} from layer to layer below readouts"
        return f"{method}, {trained} of {total} numbers{rate}"

    def _check_parts(self) -> None:
        """Refuse to train parts of a model that does not say what they are."""
        asked = self.options.weights == "heads" or self.options.layer_rate != 1
        if asked and not self.model.parts.readouts:
            raise ValueError(
                f"`fine_tuning`: the model {type(self.model).__module__!r} does not say which"
                " weights are its readouts (`parts`): expected `weights` 'full' or 'lora', and no"
                " `layer_rate`"
            )

    def _choose(self, heads: Collection[str], new_rows: Sequence[int]) -> None:
        """Switch gradients of weights that are not trained off, and set the masks."""
        sizes = self.model.head_sizes
        shared = growth.axes_of_heads(self.model) if len(sizes) > 1 else {}
        rows = growth.axes_of_species(self.model) if new_rows else {}
        own = [number for number, name in enumerate(sizes) if name in heads]
        for name, weight in self.model.named_parameters():
            module, _, rest = name.partition(".")
            head = rest.partition(".")[0]
            is_trained = self.options.weights == "full"
            # a readout is that of one head, or of all heads together
            if module in self.model.parts.readouts:
                is_trained = head not in sizes or head in heads
            if name in shared and len(own) < len(sizes):
                self._mask(name, weight, shared[name], own, len(sizes))
            if name in rows and not is_trained:
                is_trained = True
                n_species = len(self.model.species)
                self._mask(name, weight, rows[name], new_rows, n_species)
            weight.requires_grad_(is_trained)

    def _mask(
        self, name: str, weight: Tensor, axes: Sequence[int], blocks: Sequence[int], n_blocks: int
    ) -> None:
        """Train some blocks of a weight only: those that are in the list along all these axes."""
        # blocks along one axis: (n_blocks,) -> (n_blocks * size,), broadcast to the weight
        mask = torch.ones_like(weight, dtype=torch.bool)
        for axis in axes:
            along = torch.zeros(n_blocks, dtype=torch.bool, device=weight.device)
            along[list(blocks)] = True
            along = along.repeat_interleave(weight.shape[axis] // n_blocks)
            shape = [1] * weight.ndim
            shape[axis] = -1
            mask &= along.view(shape)
        self.masks[name] = mask
        self.kept[name] = weight.detach().clone()

    def _add_factors(self, seed: int) -> None:
        """Make the linear maps before the readouts low-rank."""
        rank = self.options.rank
        if self.options.weights != "lora":
            return
        generator = torch.Generator().manual_seed(seed)
        averaged = dict(self.average.named_parameters())
        widest = 0
        for name, weight in self._linear_maps():
            width = min(weight.shape[-2:])
            widest = max(widest, width)
            self.masks.pop(name, None)
            self.kept.pop(name, None)
            weight.requires_grad_(True)
            # a map that is narrower is trained itself: factors would have more numbers
            if width > rank:
                self.low_rank[name] = LowRank.of(weight, averaged[name], rank, generator)
        if not self.low_rank:
            raise ValueError(
                f"`fine_tuning.rank` is {rank}: expected less than {widest}, the width of the"
                " widest linear map of this model, or `weights` 'full'"
            )

    def _linear_maps(self) -> Iterator[tuple[str, Tensor]]:
        """Weights of linear maps before the readouts, with their names."""
        for path, module in self.model.named_modules():
            if not isinstance(module, MAPS) or path.split(".")[0] in self.model.parts.readouts:
                continue
            for name, weight in module.named_parameters():
                if weight.ndim >= 2:
                    yield f"{path}.{name}", weight

    def _rate(self, name: str) -> float:
        """Factor on the learning rate of a weight."""
        if self.options.layer_rate == 1:
            return 1.0
        return float(self.options.layer_rate ** self._depth(name))

    def _depth(self, name: str) -> int:
        """Number of layers between a weight and the readouts: 0 for these."""
        parts = self.model.parts
        module, _, rest = name.partition(".")
        if module in parts.readouts:
            return 0
        layers: Any = self.model.get_submodule(parts.layers[0]) if parts.layers else ()
        if module in parts.layers:
            return len(layers) - int(rest.partition(".")[0])
        # embeddings and all that comes before the layers
        return len(layers) + 1
