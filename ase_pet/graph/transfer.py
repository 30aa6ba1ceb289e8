"""Several tensors between host and device in one copy: each copy of its own costs a wait."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def moved(tensors: Sequence[torch.Tensor], device: torch.device | str | None) -> list[torch.Tensor]:
    """The tensors on another device, in the same order; derivatives do not follow.

    Parameters
    ----------
    tensors:
        Tensors of one device, of any shapes and types.
    device:
        Device to move them to, None to keep theirs.
    """
    kinds = {tensor.device.type for tensor in tensors}
    if device is None or kinds == {"cpu"} == {torch.device(device).type}:
        return list(tensors)
    result = list(tensors)
    # large numbers first: each tensor then starts at a multiple of the size of its numbers
    order = sorted(range(len(tensors)), key=lambda k: -tensors[k].element_size())
    parts = []
    for k in order:
        flat = tensors[k].detach().flatten()
        parts.append(flat.view(torch.uint8))
    buffer = torch.cat(parts).to(device)
    sizes = [len(part) for part in parts]
    for k, part in zip(order, buffer.split(sizes), strict=True):
        numbers = part.view(tensors[k].dtype)
        result[k] = numbers.view(tensors[k].shape)
    return result
