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

# Directions in general position: images of a pair of atoms differ in these projections.
DIRECTIONS = np.array(
    [
        [0.7390851332151607, 0.1739270573211563],
        [0.5671432904097838, 0.8190171919191234],
        [0.3634729814135121, 0.4142317362718281],
    ]
)
SAME = 1e-8  # A, difference of vectors and projections that two ranks round differently
AT_THE_END = 1e-6  # A, of a search radius, where rounding decides whether an edge is in the list


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

    def rows(
        self, rows: torch.Tensor, sent: Sequence[int], received: Sequence[int]
    ) -> torch.Tensor:
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
        order = torch.argsort(ranks, stable=True)
        received = torch.empty_like(order)
        received[order] = torch.arange(len(order), device=device)
        own = first + self.source
        if len(order):
            number = (self.source - n_edges).clamp_min(0)  # of a received row
            others = copies * n_edges + received.view(copies, -1)[:, number]
            own = torch.where(self.source < n_edges, own, others)
        return replace(
            self,
            source=own.flatten(),
            send=(first + self.send).flatten()[order],
            place=(first + self.place).flatten()[order],
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


def find_route(
    tags: np.ndarray,
    owner: np.ndarray,
    vectors: np.ndarray,
    reach: float,
    transport: Transport | None = None,
) -> tuple[torch.Tensor, Route]:
    """Indices (E',) of the edges that have a partner, and the route of these.

    An edge whose length is the search radius up to rounding may be in the list of one rank only:
    it is left out. Call it on all ranks together.

    Parameters
    ----------
    tags:
        Numbers (E, 2) of the central atom and the neighbour of each edge, the same on all ranks.
    owner:
        Rank (E,) whose atom the neighbour is.
    vectors:
        Vectors r_j - r_i (E, 3) in A.
    reach:
        Search radius in A.
    transport:
        How rows pass between ranks; None where there is one process.

    Raises
    ------
    ValueError
        Edges lack their partners.
    """
    transport = transport or OneProcess()
    order = np.argsort(owner, kind="stable")  # records are sent in the order of the ranks
    receiver = owner[order]
    sent = np.bincount(owner, minlength=transport.size).tolist()
    counts = transport.counts(sent)
    sender = np.repeat(np.arange(transport.size), counts)
    records = np.column_stack([tags, vectors]).astype(np.float64)[order]
    received = transport.rows(torch.from_numpy(records), sent, counts).numpy()

    mine = np.column_stack([receiver, records])
    theirs = np.column_stack([sender, received[:, [1, 0]], -received[:, 2:]])  # j -> i reversed
    own, other = _matches(mine, theirs)
    missing = np.setdiff1d(np.arange(len(mine)), own)
    lengths = np.linalg.norm(mine[missing, 3:], axis=1)
    n_lost = int((np.abs(lengths - reach) > AT_THE_END).sum())
    difference = np.abs(mine[own, 3:] - theirs[other, 3:]).max(initial=0.0)
    is_wrong = n_lost > 0 or difference > SAME
    if transport.largest(int(is_wrong)):
        raise ValueError(
            f"{n_lost} edges of rank {transport.rank} lack partners, others differ by"
            f" up to {difference:.1e} A: ranks disagree about positions, or lack ghost atoms"
        )
    return _route(order, receiver, sender, (own, other), transport)


def _matches(mine: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices (M,) of equal rows of two arrays: rank, two tags, and a vector up to rounding."""
    both = np.concatenate([mine, theirs])  # (m + n, 6)
    is_theirs = np.arange(len(both)) >= len(mine)
    projections = both[:, 3:] @ DIRECTIONS
    group = _groups(both[:, :3], projections[:, 0])
    n_mine = np.bincount(group[~is_theirs], minlength=len(both))
    n_theirs = np.bincount(group[is_theirs], minlength=len(both))
    is_complete = n_mine == n_theirs
    # within a group the second projection decides which rows are equal
    order = np.lexsort((projections[:, 1], group))
    order = order[is_complete[group[order]]]
    own = order[~is_theirs[order]]
    other = order[is_theirs[order]]
    return own, other - len(mine)


def _groups(pair: np.ndarray, projection: np.ndarray) -> np.ndarray:
    """Group (k,) of rows with equal numbers (k, 3) and, up to rounding, equal projections (k,).

    They are images of one edge, but for rare coincidences of projections.
    """
    order = np.lexsort((projection, *pair.T))
    steps = np.abs(np.diff(pair[order], axis=0))
    is_other_pair = steps.any(axis=1)
    is_other_image = np.diff(projection[order]) > SAME
    group = np.zeros(len(pair), dtype=np.int64)
    group[order[1:]] = np.cumsum(is_other_pair | is_other_image)
    return group


def _route(
    order: np.ndarray,
    receiver: np.ndarray,
    sender: np.ndarray,
    matches: tuple[np.ndarray, np.ndarray],
    transport: Transport,
) -> tuple[torch.Tensor, Route]:
    """Edges (E',) with a partner, and their route.

    order, receiver: edge (E,) of each record that was sent, and its rank; sender: rank of each
    record that was received; matches: sent and received records (E',) that are partners.
    """
    own, other = matches
    keep = np.sort(order[own])
    position = np.full(len(order), -1)
    position[keep] = np.arange(len(keep))
    row = position[order]  # of each sent record, -1 where its edge has no partner
    place = np.full(len(sender), -1)  # row whose partner each received record is
    place[other] = row[own]

    is_own = sender == transport.rank
    row_here = np.full(len(sender), -1)
    row_here[is_own] = row[receiver == transport.rank]  # these arrive as they are sent
    is_here = is_own & (place >= 0)
    is_away = ~is_own & (place >= 0)
    send = row[(receiver != transport.rank) & (row >= 0)]
    source = np.empty(len(keep), dtype=np.int64)
    source[place[is_here]] = row_here[is_here]
    source[place[is_away]] = len(keep) + np.arange(is_away.sum())
    route = Route(
        source=torch.from_numpy(source),
        send=torch.from_numpy(send),
        place=torch.from_numpy(place[is_away]),
        ranks=torch.from_numpy(sender[is_away]),
        transport=transport,
        most_edges=int(transport.largest(len(keep))),
    )
    return torch.from_numpy(keep), route
