"""Uncertainties of metatrain's LLPR wrappers, versions 1 to 4.

Covariance of the last layer, multiplier, ensemble.
"""

import torch

from ..layers.llpr import cholesky
from ._archive import Stored

NEWEST = 4


def wrapped(content):
    """(table of the wrapped model, {name: Stored} of the wrapper) of a wrapper's table."""
    version = content.get("model_ckpt_version", 1)
    if type(version) is not int or not 1 <= version <= NEWEST:
        raise ValueError(
            f"`model_ckpt_version` of the LLPR wrapper: versions 1 to {NEWEST} can be read"
        )
    model = content.get("wrapped_model_checkpoint")
    if type(model) is not dict:
        raise ValueError("`wrapped_model_checkpoint` of the LLPR wrapper is missing")
    names = ("state_dict",) if version < 3 else ("best_model_state_dict", "model_state_dict")
    state = next((content[name] for name in names if content.get(name)), content.get(names[-1]))
    if type(state) is not dict:
        raise ValueError(f"`{names[-1]}` of the LLPR wrapper is missing or not a table")
    odd = [
        name for name, value in state.items() if type(name) is not str or type(value) is not Stored
    ]
    if odd:
        raise ValueError(f"the state of the LLPR wrapper holds `{odd[0]}`, which is not a tensor")
    return model, state


def read(archive, state, heads, n_features):
    """{head: {name: tensor}} of the energy heads whose covariance was computed: what a `LastLayer`
    holds.

    Before version 4 the Cholesky factor is made from the covariance. A head whose covariance is 0
    was left out by whoever made the file; what is there in part only is refused.
    """
    found = {}
    for head in (head for head, components in heads.items() if components == 1):
        factor, covariance, multiplier = names = _names(head)
        if not state.keys() & set(names):
            continue
        square = _tensor(archive, state, covariance, (n_features, n_features))
        lower = (
            _tensor(archive, state, factor, (n_features, n_features)) if factor in state else None
        )
        scale = _tensor(archive, state, multiplier, (1,))
        if not square.any():
            continue
        lower = cholesky(square) if lower is None else lower
        if not (lower.diagonal() > 0).all() or not (scale >= 0).all():
            raise ValueError(f"the Cholesky factor or the multiplier of `{head}` is not positive")
        found[head] = {
            "factor": lower.tril(),
            "multiplier": scale,
            "ensemble": _ensemble(archive, state, head, n_features),
        }
    return found


def _names(head):
    """Names of the Cholesky factor, the covariance and the multiplier of a head."""
    base = "energy_uncertainty" if head == "energy" else f"mtt::aux::{head}_uncertainty"
    return f"cholesky_{base}", f"covariance_{base}", f"multiplier_{base}"


def _ensemble(archive, state, head, n_features):
    """(members, n_features), transposed before version 3.

    No members where the file has no ensemble.
    """
    name, old = f"llpr_ensemble_layers.{head}.weight", f"{head}_ensemble_weights"
    if old in state:
        return _tensor(archive, state, old, (n_features, None)).T.contiguous()
    return (
        _tensor(archive, state, name, (None, n_features))
        if name in state
        else torch.zeros(0, n_features)
    )


def _tensor(archive, state, name, shape):
    """Finite tensor of this shape, None standing for any size."""
    if name not in state:
        raise ValueError(f"`{name}` of the LLPR wrapper is missing")
    stored = state[name]
    fits = len(stored.shape) == len(shape) and all(
        want in (None, have) for want, have in zip(shape, stored.shape, strict=True)
    )
    if not fits or not stored.dtype.is_floating_point:
        expected = " x ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(
            f"`{name}` is {stored.dtype} of shape {stored.shape}, expected floating point,"
            f" {expected}"
        )
    tensor = archive.tensor(stored)
    if not torch.isfinite(tensor).all():
        raise ValueError(f"`{name}` is not finite")
    return tensor
