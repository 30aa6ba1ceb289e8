"""The search of partners: which row of which rank is the partner of each edge."""

from __future__ import annotations

import numpy as np
import torch

from .partners import OneProcess, Route, Transport

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
    differences = mine[own, 3:] - theirs[other, 3:]
    difference = np.abs(differences).max(initial=0.0)
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
