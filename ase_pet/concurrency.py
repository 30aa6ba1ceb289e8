"""Objects that threads may share, and that survive a fork of the process."""

from __future__ import annotations

import functools
import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, cast

import torch

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound="OneAtATime")

# all that exist in this process, for the child of a fork
_existing: weakref.WeakSet[OneAtATime] = weakref.WeakSet()


class OneAtATime:
    """An object whose methods marked as `exclusive` run one after the other, whoever calls them.

    The lock is no part of the state: copies and pickles have one of their own.
    """

    _lock: threading.RLock

    def __new__(cls, *_: Any, **__: Any) -> Self:
        made = super().__new__(cls)
        made._lock = threading.RLock()
        _existing.add(made)
        return made

    def forget(self) -> None:
        """Drop what an interrupted method may have left half done."""


def exclusive(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """The method, which waits until no other exclusive method of the object runs.

    A thread that is inside one may call others.

    Parameters
    ----------
    method:
        Method of a class that is derived from `OneAtATime`.
    """

    @functools.wraps(method)
    def locked(self: S, *arguments: P.args, **options: P.kwargs) -> T:
        with self._lock:
            return method(self, *arguments, **options)

    return cast(Callable[Concatenate[S, P], T], locked)


def _renew() -> None:
    """Make the objects usable in the child of a fork, which has the forking thread only.

    A lock that another thread held would never be released. The worker threads of OpenMP do not
    exist in the child either, which would wait for them forever: it computes with one thread.
    """
    objects = list(_existing)
    if not objects:
        return
    torch.set_num_threads(1)
    for each in objects:
        interrupted = not each._lock.acquire(blocking=False)
        each._lock = threading.RLock()
        if interrupted:
            each.forget()


# Windows has no fork
if sys.platform != "win32":
    os.register_at_fork(after_in_child=_renew)
