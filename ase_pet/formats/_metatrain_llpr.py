"""Uncertainties of metatrain's LLPR wrappers, versions 1 to 4.

A wrapper holds the covariance of last-layer features, a multiplier and an ensemble of last layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..layers.llpr import cholesky
from ._archive import Archive, StoredTensor
from ._state import stored_tensors

NEWEST = 4


def wrapped(content: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, StoredTensor]]:
    """Table of the wrapped model, and state dict of the wrapper.

    Parameters
    ----------
    content:
        Table of the wrapper.

    Raises
    ------
    ValueError
        The wrapper is damaged or of an unknown version.
    """
    version = content.get("model_ckpt_version", 1)
    if type(version) is not int or not 1 <= version <= NEWEST:
        raise ValueError(
            f"`model_ckpt_version` of the LLPR wrapper: versions 1 to {NEWEST} can be read"
        )
    model = content.get("wrapped_model_checkpoint")
    if type(model) is not dict:
        raise ValueError("`wrapped_model_checkpoint` of the LLPR wrapper is missing")
    # since version 3 there is a best and a last state; the best may be absent or None
    name = "state_dict" if version < 3 else "model_state_dict"
    state = content.get(name)
    if version >= 3:
        state = content.get("best_model_state_dict") or state
    if type(state) is not dict:
        raise ValueError(f"`{name}` of the LLPR wrapper is missing or not a table")
    return model, stored_tensors(state, "the state of the LLPR wrapper")


def read(
    archive: Archive,
    state: Mapping[str, StoredTensor],
    heads: Mapping[str, int],
    n_features: int,
) -> dict[str, dict[str, torch.Tensor]]:
    """Tensors of a `LastLayer` for each energy head with a covariance, {head: {name: tensor}}.

    The Cholesky factor is computed from the covariance in files before version 4. Heads whose
    covariance is 0 were excluded by the authors of the file.

    Parameters
    ----------
    archive:
        The open file.
    state:
        State dict of the wrapper.
    heads:
        {head: number of components} of the model.
    n_features:
        Number F of last-layer features.

    Raises
    ------
    ValueError
        The tensors of a head are incomplete or have no meaning.
    """
    uncertainties = {}
    for head in heads:
        if heads[head] != 1:
            continue
        factor_name, covariance_name, multiplier_name = _names(head)
        if not state.keys() & {factor_name, covariance_name, multiplier_name}:
            continue
        square = (n_features, n_features)
        covariance = _tensor(archive, state, covariance_name, square)
        factor = None
        if factor_name in state:
            factor = _tensor(archive, state, factor_name, square)
        multiplier = _tensor(archive, state, multiplier_name, (1,))
        # excluded heads are skipped only after their tensors have been checked
        if not covariance.any():
            continue
        if factor is None:
            factor = cholesky(covariance)
        if not (factor.diagonal() > 0).all() or not (multiplier >= 0).all():
            raise ValueError(f"the Cholesky factor or the multiplier of `{head}` is not positive")
        uncertainties[head] = {
            "factor": factor.tril(),  # (F, F)
            "multiplier": multiplier,  # (1,)
            "ensemble": _ensemble(archive, state, head, n_features),  # (members, F)
        }
    return uncertainties


def _names(head: str) -> tuple[str, str, str]:
    """Names of the Cholesky factor, the covariance and the multiplier of a head."""
    base = "energy_uncertainty" if head == "energy" else f"mtt::aux::{head}_uncertainty"
    return f"cholesky_{base}", f"covariance_{base}", f"multiplier_{base}"


def _ensemble(
    archive: Archive, state: Mapping[str, StoredTensor], head: str, n_features: int
) -> torch.Tensor:
    """(members, n_features) weights of the last layers, without members if there is no ensemble."""
    old_name = f"{head}_ensemble_weights"  # before version 3, transposed
    if old_name in state:
        return _tensor(archive, state, old_name, (n_features, None)).T.contiguous()
    name = f"llpr_ensemble_layers.{head}.weight"
    if name in state:
        return _tensor(archive, state, name, (None, n_features))
    return torch.zeros(0, n_features)


def _tensor(
    archive: Archive, state: Mapping[str, StoredTensor], name: str, shape: tuple[int | None, ...]
) -> torch.Tensor:
    """Finite tensor of a shape, in which None stands for any size."""
    if name not in state:
        raise ValueError(f"`{name}` of the LLPR wrapper is missing")
    stored = state[name]
    same_rank = len(stored.shape) == len(shape)
    fits = same_rank and all(
        expected in (None, size) for expected, size in zip(shape, stored.shape, strict=True)
    )
    # checked before the tensor is read, as a damaged file may claim any shape
    if not fits or not stored.dtype.is_floating_point:
        sizes = " x ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(
            f"`{name}` is {stored.dtype} of shape {stored.shape}, expected floating point, {sizes}"
        )
    tensor = archive.tensor(stored)
    if not torch.isfinite(tensor).all():
        raise ValueError(f"`{name}` is not finite")
    return tensor
