"""Freed memory that is kept for the next step, and running out of memory as one error."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator

import torch

# parts of the texts of RuntimeErrors of torch that mean that memory ran out
OUT_OF_MEMORY = ("allocate", "out of memory", "not enough memory", "ALLOC_FAILED")

LARGEST_ADAPTED = 32 * 2**20  # bytes, of glibc (DEFAULT_MMAP_THRESHOLD_MAX)


@functools.cache
def keep_freed() -> None:
    """Let the C library keep up to 64 MB of freed memory from step to step.

    Each step frees all of its arrays. glibc returns what is free beyond twice the size of the
    largest block that the process has freed so far, up to this limit, and the next step waits for
    as many new pages: 5 to 12 % of the time. So one block of that size is freed, whose pages are
    never used. Other C libraries are not affected.
    """
    below = LARGEST_ADAPTED - 2**16  # with the header and the alignment of the block
    torch.empty(below, dtype=torch.uint8, device="cpu")


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
