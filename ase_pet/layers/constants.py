"""Tables of numbers as tensors, made once for each device: making one means a transfer to it."""

from __future__ import annotations

import functools

import torch


def constant(values: tuple[float, ...], like: torch.Tensor) -> torch.Tensor:
    """Values (k,) on the device and in the dtype of another tensor; do not change it in place.

    Parameters
    ----------
    values:
        The k numbers.
    like:
        Tensor of that device and dtype.
    """
    return _made(values, like.dtype, like.device)


@functools.lru_cache(maxsize=256)
def _made(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)
