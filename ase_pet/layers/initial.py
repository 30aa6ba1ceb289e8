"""Initial values of weights, and their shapes alone where weights are read from a file."""

from __future__ import annotations

from collections.abc import Callable

import torch

Shape = tuple[int, ...]


def initial(
    shape: Shape,
    make: Callable[[Shape], torch.Tensor],
    dtype: torch.dtype | None = None,
) -> torch.Tensor:
    """Tensor of initial values; without values if the default device is "meta".

    On "meta" even a product imports the compiler of torch, which takes 1 to 2 s.

    Parameters
    ----------
    shape:
        Shape of the tensor.
    make:
        Function of the shape that returns the values.
    dtype:
        Precision of the values; default: that of torch.
    """
    empty = torch.empty(shape, dtype=dtype)
    return empty if empty.is_meta else make(shape)
