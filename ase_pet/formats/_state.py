"""Consistency checks of the state dicts in checkpoints, shared by all formats."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch

from ._archive import Archive, StoredTensor

MOST_NAMES = 4  # that a message shows


def stored_tensors(table: Mapping[Any, Any], what: str) -> dict[str, StoredTensor]:
    """The table, once each of its entries is known to be a tensor with a name.

    Parameters
    ----------
    table:
        State dict of the file.
    what:
        Description of the state dict for messages.

    Raises
    ------
    ValueError
        An entry is not a tensor.
    """
    for name, value in table.items():
        if type(name) is not str or type(value) is not StoredTensor:
            raise ValueError(f"{what} holds `{str(name)[:60]}`, which is not a tensor")
    return dict(table)


def without_prefix(state: Mapping[str, StoredTensor], prefix: str) -> dict[str, StoredTensor]:
    """The tensors of `state` by their names without `prefix`, which each must have."""
    for name in state:
        if not name.startswith(prefix):
            raise ValueError(f"the state dict holds the unknown `{name[:80]}`")
    return {name.removeprefix(prefix): value for name, value in state.items()}


def check_state(
    state: Mapping[str, StoredTensor],
    needed: Collection[str],
    is_known: Callable[[str], Any],
    what: str,
) -> None:
    """Raise ValueError unless a state dict is complete, free of unknown tensors, and of one dtype.

    Parameters
    ----------
    state:
        State dict of the file.
    needed:
        Names of the weights of the model, all in float32 or all in float64.
    is_known:
        Whether a tensor that the model does not need may be in the file.
    what:
        Description of the state dict for messages.
    """
    missing = sorted(set(needed) - state.keys())
    others = sorted(state.keys() - set(needed))
    unknown = [name for name in others if not is_known(name)]
    if missing:
        raise ValueError(f"{what} lacks {_shown(missing)}")
    if unknown:
        raise ValueError(f"{what} holds the unknown {_shown(unknown)}")
    # a model has one dtype
    dtypes = {state[name].dtype for name in needed}
    if dtypes not in ({torch.float32}, {torch.float64}):
        names = sorted(str(dtype).removeprefix("torch.") for dtype in dtypes)
        shown = ", ".join(names)
        raise ValueError(f"its weights are {shown}: expected all in float32 or all in float64")


def _shown(names: Sequence[str]) -> str:
    """The first of some names: a damaged file may have very many, and very long ones."""
    shown = ", ".join(f"`{name[:80]}`" for name in names[:MOST_NAMES])
    others = len(names) - MOST_NAMES
    return f"{shown} and {others} others" if others > 0 else shown


def weight_of(
    archive: Archive, state: Mapping[str, StoredTensor], name: str, shape: Sequence[int]
) -> torch.Tensor:
    """A weight of the file.

    Parameters
    ----------
    archive:
        The open file.
    state:
        State dict of the file.
    name:
        Name of the weight.
    shape:
        Shape that the settings of the model imply.

    Raises
    ------
    ValueError
        The weight has another shape, or is not finite.
    """
    if state[name].shape != tuple(shape):
        raise ValueError(f"`{name}` has shape {state[name].shape}: expected {tuple(shape)}")
    weight = archive.tensor(state[name])
    if not torch.isfinite(weight).all():
        raise ValueError(f"`{name}` is not finite")
    return weight


def renamed(name: str, patterns: Mapping[str, str]) -> str:
    """Name of a weight in another program.

    Parameters
    ----------
    name:
        Name of the weight.
    patterns:
        {regular expression: replacement}, applied one after the other.
    """
    for pattern, replacement in patterns.items():
        name = re.sub(pattern, replacement, name)
    return name
