"""Partners of directed edges: the row of j -> i for the row of i -> j, wherever it is computed.

Where one process holds all edges of a structure, the partner of an edge is another row of the same
array. Where a simulation engine has divided a structure among processes (ranks), each of them
holds the directed edges of its own atoms, and the partner of an edge to another rank's atom is a
row of that rank. `Route` knows where each partner is; `swap` fetches the rows. Nothing else has to
pass between ranks: messages, adaptive cutoffs and forces are all sums over an atom's own edges of
rows and of partner rows. The map is an involution, so that `swap` is its own adjoint.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch


class Transport(Protocol):
    """How rows pass between the ranks of a run.

    Attributes
    ----------
    rank:
        Number of this process.
    size:
        Number of processes.
    """

    rank: int
    size: int

    def counts(self, sent: Sequence[int]) -> list[int]:
        """Number of rows that each rank sends to this one.

        Parameters
        ----------
        sent:
            Number of rows that this rank sends to each.
        """

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

    def largest(self, number: float) -> float:
        """Largest of a number of each rank.

        Parameters
        ----------
        number:
            Number of this rank.
        """

    def gather(self, values: np.ndarray) -> list[np.ndarray]:
        """Arrays of all ranks, in the order of the ranks.

        Parameters
        ----------
        values:
            Array of this rank.
        """


class OneProcess:
    """Transport of a run of one process, which sends rows to itself."""

    rank = 0
    size = 1

    def counts(self, sent: Sequence[int]) -> list[int]:
        """The numbers `sent`, as the only rank is both ends."""
        return list(sent)

    def rows(self, rows: torch.Tensor, sent: Any, received: Any) -> torch.Tensor:
        """The `rows` themselves; `sent` and `received` are their number."""
        return rows

    def largest(self, number: float) -> float:
        """The `number` itself."""
        return number

    def gather(self, values: np.ndarray) -> list[np.ndarray]:
        """The `values` themselves."""
        return [values]


@dataclass(frozen=True)
class Route:
    """Where the partners of the E directed edges of a one-sided graph are.

    Attributes
    ----------
    source:
        Row (E,) of the partner of each edge in [own rows (E); received rows (K)], int64.
    send:
        Own rows (K,) that are partners of edges of other ranks, in the order of these ranks.
    place:
        Own row (K,) whose partner each received row is.
    ranks:
        Rank (K,) that rows of `send` go to and received rows come from.
    transport:
        How rows pass between ranks.
    most_edges:
        Largest number of edges of any rank when the route was made.
    """

    source: torch.Tensor
    send: torch.Tensor
    place: torch.Tensor
    ranks: torch.Tensor
    transport: Transport
    most_edges: int

    def swap(self, rows: torch.Tensor) -> torch.Tensor:
        """Rows (E, ...) of the partners, without derivatives; see `swap`.

        Parameters
        ----------
        rows:
            Values (E, ...) of the edges.
        """
        if self.transport.size > 1:
            count = torch.bincount(self.ranks, minlength=self.transport.size).tolist()
            sent = rows.index_select(0, self.send)
            width = math.prod(sent.shape[1:])  # -1 is ambiguous where no rows are sent
            flat = sent.reshape(len(sent), width)
            received = self.transport.rows(flat, count, count)
            received = received.view_as(sent)
            rows = torch.cat([rows, received])
        return rows.index_select(0, self.source)

    def select(self, keep: torch.Tensor) -> Route:
        """Route of some edges, which are the partners of each other.

        Parameters
        ----------
        keep:
            Indices (E',) of the edges.

        Raises
        ------
        ValueError
            The partner of an edge is not among them.
        """
        n_edges = len(self.source)
        position = self.source.new_full((n_edges,), -1)  # of each old row among the new ones
        position[keep] = torch.arange(len(keep), device=keep.device)
        stays_here = position[self.send] >= 0
        is_received = position[self.place] >= 0
        number = is_received.cumsum(0) - 1 + len(keep)
        # where each row of the old [own rows; received rows] is in the new
        table = torch.cat([position, torch.where(is_received, number, -1)])
        source = table[self.source[keep]]
        if bool((source < 0).any()) or int(stays_here.sum()) != int(is_received.sum()):
            raise ValueError("`keep` has edges without their partners")
        return replace(
            self,
            source=source,
            send=position[self.send[stays_here]],
            place=position[self.place[is_received]],
            ranks=self.ranks[stays_here],
        )

    def padded(self, extra: int) -> Route:
        """Route with more edges at the end, each its own partner.

        Parameters
        ----------
        extra:
            Number of added edges.
        """
        n_edges = len(self.source)
        # received rows come after the added ones
        moved = torch.where(self.source < n_edges, self.source, self.source + extra)
        added = torch.arange(n_edges, n_edges + extra, device=moved.device)
        return replace(self, source=torch.cat([moved, added]))

    def repeated(self, copies: int) -> Route:
        """Route of copies of all edges, those of one copy after the other.

        Parameters
        ----------
        copies:
            Number of copies.
        """
        n_edges = len(self.source)
        device = self.source.device
        first = n_edges * torch.arange(copies, device=device)[:, None]  # row of each copy
        # rows are sent in the order of the ranks, and to each rank copy by copy
        ranks = self.ranks.repeat(copies)
        # the other end does the same, so that rows arrive in this order
        order = torch.argsort(ranks, stable=True)
        received = torch.empty_like(order)
        received[order] = torch.arange(len(order), device=device)
        own = first + self.source
        if len(order):
            number = self.source - n_edges  # of a received row
            number = number.clamp_min(0)
            in_copies = received.view(copies, -1)
            others = copies * n_edges + in_copies[:, number]
            own = torch.where(self.source < n_edges, own, others)
        send = (first + self.send).flatten()
        place = (first + self.place).flatten()
        return replace(
            self,
            source=own.flatten(),
            send=send[order],
            place=place[order],
            ranks=ranks[order],
            most_edges=copies * self.most_edges,
        )

    def to(self, device: torch.device | str | None) -> Route:
        """The route with its indices on another device.

        Parameters
        ----------
        device:
            Device of the rows that are to be swapped, None to keep it.
        """
        return replace(
            self,
            source=self.source.to(device),
            send=self.send.to(device),
            place=self.place.to(device),
            ranks=self.ranks.to(device),
        )


class _Swap(torch.autograd.Function):
    """Rows of the partners; the gradient of a row is the partner's, so it is its own adjoint."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, route: Route) -> torch.Tensor:
        ctx.route = route
        return route.swap(rows)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return swap(gradient, ctx.route), None


def swap(rows: torch.Tensor, route: Route) -> torch.Tensor:
    """Rows (E, ...) of the partner edges, differentiable any number of times.

    Parameters
    ----------
    rows:
        Values (E, ...) of the edges.
    route:
        Where the partners are.
    """
    swapped: torch.Tensor = _Swap.apply(rows, route)  # type: ignore[no-untyped-call]
    return swapped
