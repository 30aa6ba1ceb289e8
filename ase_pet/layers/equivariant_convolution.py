"""Sums over the edges of an atom of features of its neighbours times harmonics of the edges.

With a path (l1, l2, l3), Wigner's 3j symbols w, weights R of each edge, path and channel, features
u of senders j and harmonics Y of the edges from j to i,

    A_l3m3(i) = sqrt(2 l3 + 1) sum_j R(e) sum_m1m2 w_m1m2m3 u_l1m1(j) Y_l2m2(e)

`plain` is this equation, edge by edge. `fast` first adds up the products R u Y of the edges of each
atom as products of matrices, and then couples m1 and m2, once for each atom. Features are tables
{degree l: (n, 2l + 1, C)}, and messages {l3: (n, 2 l3 + 1, paths C)} with the paths to l3 in order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import torch

from ..graph import Graph
from .spherical_harmonics import coupling

Features: TypeAlias = dict[int, torch.Tensor]

LARGEST_PADDING = 1.2  # cells of a group of atoms, relative to the edges in it
SMALLEST_GROUP = 16  # atoms


@dataclass(frozen=True)
class Path:
    """One way to make messages: degrees of the sender, of the harmonics, and of the message."""

    l1: int
    l2: int
    l3: int


def paths(inputs: tuple[int, ...], degree: int) -> list[Path]:
    """Paths of even l1 + l2 + l3, in rising order of l3, then l1, then l2.

    Parameters
    ----------
    inputs:
        Degrees of the features of senders.
    degree:
        Largest degree of harmonics and messages.
    """
    degrees = range(degree + 1)
    every = [Path(l1, l2, l3) for l1 in inputs for l2 in degrees for l3 in degrees]
    possible = [
        path
        for path in every
        if abs(path.l1 - path.l2) <= path.l3 <= path.l1 + path.l2
        and (path.l1 + path.l2 + path.l3) % 2 == 0
    ]
    return sorted(possible, key=lambda path: path.l3)


@dataclass(frozen=True)
class Edges:
    """Directed edges within the cutoff, and cells of arrays that are padded for groups of atoms.

    Attributes
    ----------
    receiver, sender:
        Atoms (E,) i and j of each edge.
    pair:
        Row (E,) of each edge in arrays of pairs.
    harmonics:
        Y (E, components) of the vectors r_i - r_j.
    groups:
        Groups of atoms with about as many edges each.
    place:
        Place (n,) of each atom in the groups, one after the other.
    """

    receiver: torch.Tensor
    sender: torch.Tensor
    pair: torch.Tensor
    harmonics: torch.Tensor
    groups: list[Group]
    place: torch.Tensor


@dataclass(frozen=True)
class Group:
    """Edges of some atoms in cells (atoms, D), D the largest number of edges of one of them.

    Attributes
    ----------
    sender, pair:
        Sender, and row in arrays of pairs, in each cell (atoms, D); any in empty cells.
    harmonics:
        Y in each cell (atoms, D, components); 0 in empty cells.
    """

    sender: torch.Tensor
    pair: torch.Tensor
    harmonics: torch.Tensor


def edges_of(graph: Graph, row: torch.Tensor, harmonics: torch.Tensor, cells: int) -> Edges:
    """Edges of a graph with one pair at least, all within the cutoff.

    Parameters
    ----------
    graph:
        Structures with P pairs.
    row:
        Row (P,) of each pair in arrays of pairs.
    harmonics:
        Y (P, components) of the vectors r_j - r_i of the pairs.
    cells:
        Number of cells of the largest group.
    """
    # both directions of a pair: harmonics of odd degree change their sign
    degrees = range(math.isqrt(harmonics.shape[1]))
    signs = [(-1.0) ** order for order in degrees for _ in range(2 * order + 1)]
    reverse = harmonics * harmonics.new_tensor(signs)
    directed = reverse if graph.one_sided else torch.cat([reverse, harmonics])
    receiver = graph.centre
    sender = graph.neighbour
    groups, place = _grouped(receiver, sender, graph.per_edge(row), directed, graph.n_atoms, cells)
    return Edges(receiver, sender, graph.per_edge(row), directed, groups, place)


def _grouped(
    receiver: torch.Tensor,
    sender: torch.Tensor,
    pair: torch.Tensor,
    harmonics: torch.Tensor,
    n_atoms: int,
    cells: int,
) -> tuple[list[Group], torch.Tensor]:
    """Groups of atoms, in rising order of their numbers of edges, and the place of each atom."""
    counts = torch.bincount(receiver, minlength=n_atoms)
    by_count = torch.argsort(counts, stable=True)
    first = counts.cumsum(0) - counts  # first edge of each atom, edges sorted by receiver
    order = torch.argsort(receiver, stable=True)
    # one more row, which fills empty cells
    harmonics = torch.cat([harmonics, harmonics.new_zeros(1, harmonics.shape[1])])
    empty = len(order)
    groups = []
    for part in _slices(counts[by_count].tolist(), cells):
        atoms = by_count[part]
        column = torch.arange(max(1, int(counts[atoms].max())), device=counts.device)
        occupied = column < counts[atoms, None]  # (atoms, D)
        place = (first[atoms, None] + column).clamp(max=empty - 1)
        edge = order[place]
        row = edge.where(occupied, empty)
        y = harmonics.index_select(0, row.flatten()).view(*row.shape, -1)
        groups.append(Group(sender[edge], pair[edge], y))
    return groups, torch.argsort(by_count)


def _slices(counts: list[int], cells: int) -> Iterator[slice]:
    """Slices of atoms with rising numbers of edges: few empty cells, and few cells."""
    start = 0
    edges = 0
    for stop, count in enumerate(counts):
        padded = (stop - start + 1) * count
        is_loose = padded > LARGEST_PADDING * (edges + count) and stop - start >= SMALLEST_GROUP
        if stop > start and (padded > cells or is_loose):
            yield slice(start, stop)
            start = stop
            edges = 0
        edges += count
    yield slice(start, len(counts))


def plain(features: Features, weights: torch.Tensor, edges: Edges, every: list[Path]) -> Features:
    """Messages of all atoms, edge by edge.

    Parameters
    ----------
    features:
        u of senders.
    weights:
        R (P, paths C) of each pair.
    edges:
        Edges of the atoms.
    every:
        Paths.
    """
    n_atoms, _, channels = features[0].shape
    messages: dict[int, list[torch.Tensor]] = {}
    for index, path in enumerate(every):
        symbols = (2 * path.l3 + 1) ** 0.5 * coupling(path.l1, path.l2, path.l3)
        sent = features[path.l1][edges.sender]  # (E, 2 l1 + 1, C)
        y = edges.harmonics[:, path.l2**2 : (path.l2 + 1) ** 2]  # (E, 2 l2 + 1)
        each = torch.einsum("abm,eac,eb->emc", symbols.to(sent), sent, y)
        each = each * weights[edges.pair, None, index * channels : (index + 1) * channels]
        total = each.new_zeros(n_atoms, 2 * path.l3 + 1, channels)
        messages.setdefault(path.l3, []).append(total.index_add(0, edges.receiver, each))
    return {order: torch.cat(parts, 2) for order, parts in messages.items()}


def fast(features: Features, weights: torch.Tensor, group: Group, every: list[Path]) -> Features:
    """Messages of the atoms of a group.

    Parameters
    ----------
    features:
        u of senders.
    weights:
        R (P, paths C) of each pair.
    group:
        Edges of the atoms.
    every:
        Paths.
    """
    n_atoms, width = group.sender.shape
    channels = features[0].shape[2]
    sender = group.sender.flatten()
    sent = {order: u.index_select(0, sender) for order, u in features.items()}
    radial = weights.index_select(0, group.pair.flatten())  # (cells, paths C)
    messages: dict[int, list[torch.Tensor]] = {}
    for path, of_path in zip(every, radial.split(channels, 1), strict=True):
        products = sent[path.l1] * of_path[:, None]  # (cells, 2 l1 + 1, C)
        y = group.harmonics[:, :, path.l2**2 : (path.l2 + 1) ** 2]
        # (atoms, 2 l2 + 1, D) times (atoms, D, (2 l1 + 1) C)
        summed = torch.bmm(y.transpose(1, 2), products.view(n_atoms, width, -1))
        if path.l1:
            # couple m1 and m2 of (atoms, (m2, m1), C)
            symbols = (2 * path.l3 + 1) ** 0.5 * coupling(path.l1, path.l2, path.l3)
            flat = symbols.permute(2, 1, 0).flatten(1).to(summed)  # (m3, (m2, m1))
            summed = torch.matmul(flat, summed.view(n_atoms, -1, channels))
        messages.setdefault(path.l3, []).append(summed)
    return {order: torch.cat(parts, 2) for order, parts in messages.items()}
