"""Lengths of arrays that depend on positions, found in one step of a run and kept in the next ones.

Which pairs are within a cutoff, and how many neighbours an atom has, changes at each step. On a GPU
the host would have to wait for these numbers before it can go on, and a compiled step is one for
arrays of fixed lengths. A `Room` has lengths with some space to spare. Where they do not suffice is
noticed when the results of the step arrive: these are then discarded, and computed again with the
lengths of their positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch


class Outgrown(Exception):
    """Arrays of a step were too short, or atoms are too close: its results are not to be used."""


def with_space(count: int) -> int:
    """A round number, 1/16 to 1/8 above a count, and a few: it changes rarely during a run.

    Parameters
    ----------
    count:
        Number of rows that are needed.
    """
    wanted = count + count // 16 + 3
    multiple = 1 << max(2, wanted.bit_length() - 5)
    return wanted + -wanted % multiple


class _Array(NamedTuple):
    """Which array: its name, and the number of atoms of its graph, rotated copies included."""

    name: str
    n_atoms: int


class Room:
    """Lengths of the arrays of the steps of a run.

    Attributes
    ----------
    is_fixed:
        Whether arrays have the lengths that are known. Else they are as long as their positions ask
        for, which is noted.
    excess:
        Numbers, without dimensions and on the device, one of which is above 0 if the results of the
        step are wrong: rows that arrays of fixed length lack.
    """

    def __init__(self) -> None:
        self.is_fixed = False
        self.excess: list[torch.Tensor] = []
        self._lengths: dict[_Array, int] = {}

    def fixed(self) -> Room:
        """The room for one more step, with these lengths."""
        room = Room()
        room.is_fixed = True
        room._lengths = self._lengths
        return room

    def known(self, n_atoms: int) -> tuple[int, ...]:
        """Lengths that are known, in the order in which they were found.

        Parameters
        ----------
        n_atoms:
            Number of atoms of the graph.
        """
        return tuple(n for array, n in self._lengths.items() if array.n_atoms == n_atoms)


@dataclass(frozen=True)
class Lengths:
    """Lengths of the arrays of one graph.

    Attributes
    ----------
    room:
        Where they are kept, None for those that the positions ask for.
    n_atoms:
        Number of atoms of the graph.
    """

    room: Room | None
    n_atoms: int

    def fixed(self, name: str) -> int | None:
        """Length of an array; None where it has as many rows as the positions ask for.

        Parameters
        ----------
        name:
            Name of the array.
        """
        if self.room is None or not self.room.is_fixed:
            return None
        return self.room._lengths.get(_Array(name, self.n_atoms))

    def needed(self, name: str, count: torch.Tensor) -> None:
        """Note how many rows the positions ask for in an array of fixed length.

        Parameters
        ----------
        name:
            Name of the array.
        count:
            Number of rows, without dimensions, on the device.
        """
        assert self.room is not None  # the length is fixed
        length = self.room._lengths[_Array(name, self.n_atoms)]
        self.room.excess.append(count - length)

    def measured(self, name: str, count: int) -> int:
        """Note how many rows an array has at these positions; the length that it will have.

        Parameters
        ----------
        name:
            Name of the array.
        count:
            Number of its rows.
        """
        if self.room is None:
            return count
        array = _Array(name, self.n_atoms)
        length = self.room._lengths.get(array, 0)
        if count > length:
            length = with_space(count)
            self.room._lengths[array] = length
        return length


AS_NEEDED = Lengths(None, 0)
