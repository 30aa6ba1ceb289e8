"""Running out of memory, reported as one error that says what did not fit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

# parts of the texts of RuntimeErrors of torch that mean that memory ran out
OUT_OF_MEMORY = ("allocate", "out of memory", "not enough memory", "ALLOC_FAILED")


@contextlib.contextmanager
def explained(
    device: torch.device, n_atoms: int, n_edges: int, n_structures: int
) -> Iterator[None]:
    """Turn the many ways in which memory runs out into one MemoryError that says for what.

    Parameters
    ----------
    device:
        Device of the computation inside.
    n_atoms:
        Number of atoms that it treats.
    n_edges:
        Number of directed edges.
    n_structures:
        Number of structures.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        is_memory = any(text in str(error) for text in OUT_OF_MEMORY)
        if isinstance(error, RuntimeError) and not is_memory:
            raise
        raise MemoryError(
            f"out of memory on {device} with {n_atoms} atoms and {n_edges} edges in {n_structures}"
            " structures: use a smaller `batch_atoms`, dtype='float32' or a device with more memory"
        ) from None
