"""Training on several processes, the ranks of `torchrun`, with the result of one process.

Rank r of R evaluates structures r, r + R, r + 2R, ... of each batch and of each data set. What is
not a sum over structures, such as a median or a mean over known labels, is computed from the values
of all ranks. Gradients are added. So the number of ranks changes the rounding, and nothing else.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import distributed as dist

T = TypeVar("T")
VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # that torchrun sets
# Ranks wait for rank 0, which may read files for hours. That a process ended is noticed at once.
PATIENCE = datetime.timedelta(days=1)
FAREWELL = 5.0  # s, in which processes that fail ask rank 0 whether another one failed first
STOPPED = 1  # exit status of a rank that stops because of another one


class RankLost(RuntimeError):
    """Another process of the training has ended, or cannot be reached."""


@dataclass(frozen=True)
class Ranks:
    """The processes of a training, of which this one is number `rank` of `size`.

    Without torchrun there is one, for which each method returns what it is given.

    Attributes
    ----------
    rank:
        Number of this process, from 0.
    size:
        Number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    @property
    def mine(self) -> slice:
        """Slice of the items of this rank in a sequence that all ranks share."""
        return slice(self.rank, None, self.size)

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """Sum of a tensor over ranks, the same bits on each of them.

        Parameters
        ----------
        values:
            Values of this rank, of the same shape on all; overwritten.
        """
        if self.size > 1:
            _together(lambda: dist.all_reduce(values))
        return values

    def every(self, values: torch.Tensor) -> torch.Tensor:
        """Tensors of all ranks, (size, ...).

        Parameters
        ----------
        values:
            Values of this rank, of the same shape on all.
        """
        if self.size == 1:
            return values[None]
        gathered = [torch.empty_like(values) for _ in range(self.size)]
        _together(lambda: dist.all_gather(gathered, values.contiguous()))
        return torch.stack(gathered)

    def objects(self, value: T) -> list[T]:
        """Objects of all ranks.

        Parameters
        ----------
        value:
            Object of this rank, which can be pickled.
        """
        if self.size == 1:
            return [value]
        gathered: list[Any] = [None] * self.size
        _together(lambda: dist.all_gather_object(gathered, value))
        return gathered

    def shared(self, value: T) -> T:
        """Object of rank 0, on all ranks.

        Parameters
        ----------
        value:
            Object of this rank, which counts on rank 0 only and can be pickled.
        """
        if self.size == 1:
            return value
        held: list[Any] = [value]
        cpu = torch.device("cpu")
        _together(lambda: dist.broadcast_object_list(held, src=0, device=cpu))
        received: T = held[0]
        return received

    def interleaved(self, values: torch.Tensor, count: int) -> torch.Tensor:
        """Values (count, ...) of all items, of which each rank gives those of `mine`.

        Parameters
        ----------
        values:
            Values of the items of this rank, (k, ...).
        count:
            Number of items of all ranks.
        """
        most = -(-count // self.size)
        padded = values.new_zeros(most, *values.shape[1:])
        padded[: len(values)] = values
        # (size, most, ...): item i is number i // size of rank i % size
        gathered = self.every(padded).transpose(0, 1)
        return gathered.reshape(-1, *values.shape[1:])[:count]


ALONE = Ranks()


def launched() -> bool:
    """Whether torchrun, or another launcher with its variables, started several processes."""
    return all(name in os.environ for name in VARIABLES) and int(os.environ["WORLD_SIZE"]) > 1


def rank() -> int:
    """Number of this process, from 0."""
    return int(os.environ["RANK"]) if launched() else 0


def local_device(device: torch.device) -> torch.device:
    """Device of this process: each process of a machine has a GPU of its own.

    Parameters
    ----------
    device:
        Device of the training.

    Raises
    ------
    ValueError
        There are more processes than GPUs, or all of them are to use one.
    """
    if device.type != "cuda" or not launched():
        return device
    index = int(os.environ.get("LOCAL_RANK", "0"))
    available = torch.cuda.device_count()
    if device.index is not None or index >= available:
        raise ValueError(
            f"`device` is '{device}' for several processes on a machine with {available} GPUs:"
            " expected 'cuda', or 'auto', and at most one process for each GPU"
        )
    place = torch.device("cuda", index)
    torch.cuda.set_device(place)
    return place


@contextlib.contextmanager
def connected() -> Iterator[Ranks]:
    """Connect the processes that torchrun started, until the training ends or one of them fails.

    The first process that fails raises its error. All others, which then cannot go on, end without
    a word.

    Raises
    ------
    RankLost
        A process was killed, and none has said why.
    """
    if not launched():
        yield ALONE
        return
    if not dist.is_available():
        raise ValueError("several processes need a torch that was built with `torch.distributed`")
    # which a torch without `distributed` lacks
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    store, number, size = next(rendezvous("env://", timeout=PATIENCE))
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
        timeout=PATIENCE,
        store=PrefixStore("training", store),
        rank=number,
        world_size=size,
    )
    try:
        yield Ranks(number, size)
    except BaseException:
        is_first = _is_first(store)
        dist.destroy_process_group()  # which those that wait for this process notice
        if number == 0:
            _wait_for_others(store, size)  # the store ends with this process
        if is_first:
            raise
        raise SystemExit(STOPPED) from None
    dist.destroy_process_group()


def check_same_weights(model: torch.nn.Module, ranks: Ranks) -> None:
    """Raise RuntimeError if ranks have diverged, which would spoil the result in silence.

    Parameters
    ----------
    model:
        Model of this rank.
    ranks:
        Processes of the training.
    """
    if ranks.size == 1:
        return
    weights = torch.cat([each.detach().flatten().double() for each in model.parameters()])
    place = torch.arange(1, len(weights) + 1, device=weights.device, dtype=weights.dtype)
    # a sum that a change of any weight, or an exchange of two, changes
    digests = ranks.every((weights * place.sqrt()).sum())
    if not bool((digests == digests[0]).all()):
        raise RuntimeError(
            "the processes of the training have different weights: are they on machines with other"
            " processors or other versions of torch?"
        )


def _is_first(store: Any) -> bool:
    """Whether this process is the first one that fails."""
    try:
        return int(store.add("failed", 1)) == 1
    except RuntimeError:  # the process that holds the store is gone, and with it what it knew
        return True


def _wait_for_others(store: Any, size: int) -> None:
    """Wait until all processes have failed, but not for long."""
    end = time.monotonic() + FAREWELL
    with contextlib.suppress(RuntimeError):
        while store.add("failed", 0) < size and time.monotonic() < end:
            time.sleep(0.05)


def _together(operation: Callable[[], Any]) -> None:
    """Run an operation of all ranks."""
    try:
        operation()
    except RuntimeError as error:
        # without the place in the source of torch
        reason = str(error).strip().partition("\n")[0].rpartition("] ")[2]
        raise RankLost(
            "another process of this training was killed, or its machine cannot be reached: all"
            f" stop. The same command with --resume continues from the last epoch ({reason})"
        ) from None
