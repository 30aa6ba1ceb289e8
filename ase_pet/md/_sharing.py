"""Calculators that belong to a run while it goes on."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from ase.calculators.mixing import LinearCombinationCalculator

_lock = threading.Lock()
_users: dict[int, int] = {}  # id of a calculator -> thread whose run uses it


@contextlib.contextmanager
def owned(*calculators: Any) -> Iterator[None]:
    """Keep runs of other threads from calculators, which remember one structure.

    Parameters
    ----------
    calculators:
        ASE calculators of a run, None for none.

    Raises
    ------
    ValueError
        A run in another thread uses one of them.
    """
    thread = threading.get_ident()
    every = {id(each) for whole in calculators for each in _parts(whole)}
    with _lock:
        # a run inside of a run, such as from its `on_step`, is of the same thread
        taken = [each for each in every if _users.get(each, thread) != thread]
        if taken:
            raise ValueError(
                "the calculator is used by a run in another thread: give each run a calculator of"
                " its own, such as copy.deepcopy(calculator), or use processes"
            )
        mine = [each for each in every if each not in _users]
        _users.update(dict.fromkeys(mine, thread))
    try:
        yield
    finally:
        with _lock:
            for each in mine:
                del _users[each]


def _parts(calculator: Any) -> list[Any]:
    """A calculator and those that it sums, [] for None."""
    if calculator is None:
        return []
    parts = [calculator]
    if isinstance(calculator, LinearCombinationCalculator):
        for each in calculator.mixer.calcs:
            parts += _parts(each)
    return parts
