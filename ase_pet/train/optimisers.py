"""Optimisers of a model, and the schedule of their learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch

from .distributed import Ranks
from .schema import Optimiser

RATE = "rate"  # key of a group of parameters: factor on its learning rate


def check_method(method: str) -> None:
    """Raise ValueError where torch lacks an optimiser.

    Parameters
    ----------
    method:
        "muon" or "adam".
    """
    if method == "muon" and "Muon" not in vars(torch.optim):
        raise ValueError("`method` 'muon' needs torch 2.9 or later: update torch or choose 'adam'")


def optimisers(
    named: Iterable[tuple[str, torch.Tensor, float]],
    options: Optimiser,
    factors: Iterable[tuple[torch.Tensor, float]] = (),
) -> list[torch.optim.Optimizer]:
    """Optimisers of parameters: AdamW, and Muon for hidden matrices.

    Weight decay acts on matrices, not on vectors (biases, norms). Muon (K. Jordan, 2024) takes the
    matrices between two hidden layers; tables of species, maps from geometry and the last layers
    have no two hidden sides.

    Parameters
    ----------
    named:
        Name of each parameter in its model, the parameter, and the factor on its learning rate.
    options:
        The table [optimiser] of the recipe.
    factors:
        Factors of low-rank matrices, which have no two hidden sides either, and factors on their
        learning rates.

    Raises
    ------
    ValueError
        This torch has no Muon.
    """
    check_method(options.method)
    # {factor on the learning rate: parameters}
    hidden: dict[float, list[torch.Tensor]] = {}
    others: dict[float, tuple[list[torch.Tensor], list[torch.Tensor]]] = {}
    for name, parameter, rate in named:
        matrices, vectors = others.setdefault(rate, ([], []))
        outer = "embedder" in name or "last_layers" in name
        if options.method == "muon" and parameter.ndim == 2 and not outer:
            hidden.setdefault(rate, []).append(parameter)
        elif parameter.ndim >= 2:
            matrices.append(parameter)
        else:
            vectors.append(parameter)
    for factor, rate in factors:
        others.setdefault(rate, ([], []))[0].append(factor)
    groups = []
    for rate, (matrices, vectors) in others.items():
        decay = options.weight_decay
        groups.append({"params": matrices, "weight_decay": decay, RATE: rate})
        groups.append({"params": vectors, "weight_decay": 0.0, RATE: rate})
    chosen: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=options.learning_rate, betas=(0.9, 0.99), fused=True)
    ]
    if hidden:
        # match_rms_adamw: steps as long as those of Adam, so that one learning rate suits both
        muon = torch.optim.Muon(
            [{"params": each, RATE: rate} for rate, each in hidden.items()],
            lr=options.learning_rate,
            momentum=0.95,
            adjust_lr_fn="match_rms_adamw",
            weight_decay=options.weight_decay,
        )
        chosen.append(muon)
    return chosen


def set_rates(chosen: Iterable[torch.optim.Optimizer], rate: float) -> None:
    """Set the learning rates of all groups of parameters.

    Parameters
    ----------
    chosen:
        Result of `optimisers`.
    rate:
        Learning rate of groups without a factor.
    """
    for optimiser in chosen:
        for group in optimiser.param_groups:
            # states of earlier versions have no factors
            group["lr"] = rate * group.get(RATE, 1.0)


def rate_factor(step: int, steps_per_epoch: int, options: Optimiser) -> float:
    """Factor on the learning rate at a step: a linear rise, then half a cosine down.

    Parameters
    ----------
    step:
        Number of steps done.
    steps_per_epoch:
        Steps in an epoch.
    options:
        The table [optimiser] of the recipe.
    """
    warmup = options.warmup_epochs * steps_per_epoch
    total = options.epochs * steps_per_epoch
    if step < warmup:
        return (step + 1) / warmup  # the first step is not of length 0
    steps_of_decay = max(1, total - warmup)
    done = (step - warmup) / steps_of_decay
    cosine = 0.5 * (1 + math.cos(math.pi * done))
    return options.final_rate + (1 - options.final_rate) * cosine


def sum_gradients(model: torch.nn.Module, loss: torch.Tensor, ranks: Ranks) -> torch.Tensor:
    """Sum of a scalar over ranks, with the gradients of a model, in one message.

    A weight on which the loss depends on no rank keeps no gradient: optimisers then leave it alone.

    Parameters
    ----------
    model:
        Model whose gradients are replaced by their sums.
    loss:
        Scalar of this rank.
    ranks:
        Processes of the training.
    """
    if ranks.size == 1:
        return loss
    weights = [each for each in model.parameters() if each.requires_grad]
    has_gradient = [each.grad is not None for each in weights]
    gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in weights]
    # of all gradients, of their presence, and of the loss
    flat = torch.cat([each.flatten() for each in gradients])
    presence = flat.new_tensor(has_gradient)
    message = ranks.total(torch.cat([flat, presence, loss[None].to(flat.dtype)]))
    start = 0
    for index, weight in enumerate(weights):
        stop = start + weight.numel()
        if message[len(flat) + index] > 0:
            weight.grad = message[start:stop].view_as(weight).clone()
        start = stop
    return message[-1]
