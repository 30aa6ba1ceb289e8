"""Bounded memory: how much is evaluated at once, and how a long list is split accordingly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

BUDGETS: dict[str, dict[str, int]] = {
    # atoms of structures that a calculator evaluates together; more cost time on a CPU, which pages
    # in larger arrays
    "atoms": {"cpu": 128, "cuda": 4096},
    # atoms of structures that training evaluates together when it validates
    "validation_atoms": {"cpu": 128, "cuda": 128},
    # directed edges that a network evaluates at once inside a symmetriser; twice as many take up to
    # a tenth longer on a CPU, which maps the larger arrays into memory anew in each step
    "edges": {"cpu": 4096, "cuda": 262144},
    # ordered pairs of neighbours, or cluster entries, whose frames a symmetriser constructs at once
    "pairs": {"cpu": 2**18, "cuda": 2**18},
    # values of convolution kernels that PONITA keeps at once in inference
    "kernel_values": {"cpu": 2**24, "cuda": 2**27},
    # edges of atoms whose messages MACE adds up at once
    "convolution_cells": {"cpu": 2**12, "cuda": 2**17},
}


def budget(kind: str, device: torch.device | str) -> int:
    """Number of items of a kind that are evaluated at once on a device.

    Parameters
    ----------
    kind:
        Key of `BUDGETS`.
    device:
        Torch device or its name; devices without an entry use that of the CPU.
    """
    per_device = BUDGETS[kind]
    return per_device.get(torch.device(device).type, per_device["cpu"])


def split(sizes: Sequence[int] | np.ndarray | torch.Tensor, limit: int) -> list[slice]:
    """Slices of consecutive items whose sizes add up to at most `limit`, in order.

    The splitter is greedy: a slice ends before the first item that would exceed the limit. An item
    larger than the limit has a slice of its own. An empty list has no slices.

    Parameters
    ----------
    sizes:
        Size (n,) of each item, 0 or more.
    limit:
        Largest total size of a slice, 1 or more.
    """
    if isinstance(sizes, torch.Tensor):
        sizes = sizes.cpu().numpy()
    sizes = np.asarray(sizes, dtype=np.int64)
    ends = np.cumsum(sizes)  # (n,) total size up to and with each item
    slices = []
    start = 0
    while start < len(ends):
        before = ends[start - 1] if start > 0 else 0
        fitting = int(np.searchsorted(ends, before + limit, side="right"))
        stop = max(start + 1, fitting)  # one item at least, however large
        slices.append(slice(start, stop))
        start = stop
    return slices
