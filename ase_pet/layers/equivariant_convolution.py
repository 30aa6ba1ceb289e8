"""Sums over the edges of an atom of features of its neighbours times harmonics of the edges.

With a path (l1, l2, l3), Wigner's 3j symbols w, weights R of each edge, path and channel, features
u of senders j and harmonics Y of the edges from j to i,

    A_l3m3(i) = sqrt(2 l3 + 1) sum_j R(e) sum_m1m2 w_m1m2m3 u_l1m1(j) Y_l2m2(e)

`plain` is this equation, edge by edge. `fast` first adds up the products R u Y of the edges of each
atom as products of matrices, and then couples m1 and m2, once for each atom. Features are tables
{degree l: (n, 2l + 1, C)}, and messages {l3: (n, 2 l3 + 1, paths C)} with the paths to l3 in order.
"""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch.nn import functional

from ..graph import Graph
from .constants import constant
from .equivariant_linear import Features
from .recomputed import recomputed
from .spherical_harmonics import coupling

Lists: TypeAlias = defaultdict[int, list[torch.Tensor]]

LARGEST_PADDING = 1.2  # cells of a group of atoms, relative to the edges in it
SMALLEST_GROUP = 16  # atoms


@dataclass(frozen=True)
class Path:
    """One way to make messages: degrees of the sender, of the harmonics, and of the message."""

    l1: int
    l2: int
    l3: int

    @property
    def is_possible(self) -> bool:
        """Whether the degrees form a triangle of even circumference."""
        is_triangle = abs(self.l1 - self.l2) <= self.l3 <= self.l1 + self.l2
        return is_triangle and (self.l1 + self.l2 + self.l3) % 2 == 0

    @property
    def of_harmonics(self) -> slice:
        """Components of the harmonics of degree l2."""
        return slice(self.l2**2, (self.l2 + 1) ** 2)

    def symbols(self, like: torch.Tensor) -> torch.Tensor:
        """sqrt(2 l3 + 1) w (2 l1 + 1, 2 l2 + 1, 2 l3 + 1), of the device and dtype of `like`."""
        return _symbols(self, like.dtype, like.device)


@functools.lru_cache(maxsize=1024)
def _symbols(path: Path, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """`Path.symbols`, transferred once."""
    scale = math.sqrt(2 * path.l3 + 1)
    with torch.inference_mode(False):
        return (scale * coupling(path.l1, path.l2, path.l3)).to(device, dtype)


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
    possible = [path for path in every if path.is_possible]
    return sorted(possible, key=lambda path: path.l3)


@dataclass(frozen=True)
class Group:
    """Edges of some atoms in cells (atoms, D), D the largest number of edges of one of them.

    Attributes
    ----------
    atoms:
        The atoms.
    sender, pair:
        Rows in tables of senders, and in arrays of pairs, in each cell (atoms, D); any in empty
        cells.
    harmonics:
        Y in each cell (atoms, D, components); 0 in empty cells.
    """

    atoms: torch.Tensor
    sender: torch.Tensor
    pair: torch.Tensor
    harmonics: torch.Tensor


@dataclass(frozen=True)
class Edges:
    """Directed edges within the cutoff.

    Attributes
    ----------
    receiver:
        Atom (E,) i of each edge.
    sender:
        Row (E,) of atom j of each edge in tables of `of_senders`.
    pair:
        Row (E,) of each edge in arrays of pairs.
    harmonics:
        Y (E, components) of the vectors r_i - r_j.
    groups:
        Groups of atoms with about as many edges each, which hold every atom once.
    """

    receiver: torch.Tensor
    sender: torch.Tensor
    pair: torch.Tensor
    harmonics: torch.Tensor
    groups: tuple[Group, ...] = ()


def with_spare_pair(graph: Graph, length: float) -> Graph:
    """The graph, the last pair of which may be used where no other one is within the cutoff.

    It is the pair of atom 0 with itself, where there is no pair, or where other processes have the
    partners of the edges, which they may not use.

    Parameters
    ----------
    graph:
        Structures.
    length:
        Length of the pair in A, beyond the cutoff.
    """
    if len(graph.pair_centre) and graph.route is None:
        return graph
    atom = graph.pair_centre.new_zeros(1)
    vector = graph.pair_vectors.new_tensor([[length, 0.0, 0.0]])
    return replace(
        graph,
        route=None if graph.route is None else graph.route.padded(1),
        pair_centre=torch.cat([graph.pair_centre, atom]),
        pair_neighbour=torch.cat([graph.pair_neighbour, atom]),
        pair_vectors=torch.cat([graph.pair_vectors, vector]),
    )


def of_senders(features: Features, graph: Graph, is_embedding: bool) -> Features:
    """Features that `Edges.sender` has the rows of: of atoms, or of edges of a graph with a route.

    Parameters
    ----------
    features:
        Features of the atoms.
    graph:
        Graph of the edges.
    is_embedding:
        Whether features depend on the element only, and need not come from other processes.
    """
    if graph.route is None:
        return features
    sizes = [x.shape[1] for x in features.values()]
    joined = torch.cat(list(features.values()), 1)  # all degrees in one message
    if is_embedding:
        of_edges = joined.index_select(0, graph.neighbour)
    else:
        of_edges = graph.of_neighbours(joined)
    return dict(zip(features, of_edges.split(sizes, 1), strict=True))


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
    # harmonics of odd degree change their sign with the direction
    signs = []
    for order in range(math.isqrt(harmonics.shape[1])):
        signs += [(-1.0) ** order] * (2 * order + 1)
    directed = harmonics * constant(tuple(signs), harmonics)
    if not graph.one_sided:
        directed = torch.cat([directed, harmonics])
    sender = graph.neighbour
    if graph.route is not None:
        sender = torch.arange(len(sender), device=sender.device)
    edges = Edges(graph.centre, sender, graph.per_edge(row), directed)
    return replace(edges, groups=_grouped(edges, graph.n_atoms, cells))


def _grouped(edges: Edges, n_atoms: int, cells: int) -> tuple[Group, ...]:
    """Groups of atoms, in rising order of their numbers of edges."""
    receiver = edges.receiver
    counts = receiver.new_zeros(n_atoms)
    counts = counts.index_add_(0, receiver, torch.ones_like(receiver))
    by_count = torch.argsort(counts, stable=True)
    order = torch.argsort(receiver, stable=True)  # edges sorted by receiver
    first = counts.cumsum(0) - counts  # first edge of each atom among them
    empty = len(order)
    # one more row, which fills empty cells
    harmonics = functional.pad(edges.harmonics, (0, 0, 0, 1))
    groups = []
    sizes = counts[by_count].tolist()  # the one transfer from a GPU
    for part in _slices(sizes, cells):
        atoms = by_count[part]
        of_atom = counts[atoms, None]  # (atoms, 1)
        column = torch.arange(max(1, sizes[part.stop - 1]), device=counts.device)
        place = first[atoms, None] + column  # (atoms, D)
        edge = order[place.clamp(max=empty - 1)]
        row = edge.where(column < of_atom, empty)
        y = harmonics.index_select(0, row.flatten())
        y = y.view(*row.shape, -1)
        groups.append(Group(atoms, edges.sender[edge], edges.pair[edge], y))
    return tuple(groups)


def _slices(counts: list[int], cells: int) -> Iterator[slice]:
    """Slices of atoms with rising numbers of edges: few empty cells, and few cells."""
    start = 0
    edges = 0  # of the atoms from `start` on
    for stop, count in enumerate(counts):
        padded = (stop - start + 1) * count
        is_large = stop - start >= SMALLEST_GROUP
        is_loose = is_large and padded > LARGEST_PADDING * (edges + count)
        if stop > start and (padded > cells or is_loose):
            yield slice(start, stop)
            start = stop
            edges = 0
        edges += count
    yield slice(start, len(counts))


def plain(
    features: Features, weights: torch.Tensor, edges: Edges, every: list[Path], n_atoms: int
) -> Features:
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
    n_atoms:
        Number of atoms.
    """
    channels = features[0].shape[2]
    radial = weights.split(channels, 1)  # (P, C) of each path
    messages: Lists = defaultdict(list)
    for path, of_path in zip(every, radial, strict=True):
        sent = features[path.l1][edges.sender]  # (E, 2 l1 + 1, C)
        y = edges.harmonics[:, path.of_harmonics]  # (E, 2 l2 + 1)
        symbols = path.symbols(sent)
        each = torch.einsum("abm,eac,eb->emc", symbols, sent, y)
        each = each * of_path[edges.pair, None]
        total = each.new_zeros(n_atoms, 2 * path.l3 + 1, channels)
        total = total.index_add(0, edges.receiver, each)
        messages[path.l3].append(total)
    return {order: torch.cat(parts, 2) for order, parts in messages.items()}


def fast_recomputed(
    features: Features, weights: torch.Tensor, group: Group, every: list[Path]
) -> Features:
    """Messages of the atoms of a group as of `fast`, whose products of edges are not kept.

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
    degrees = sorted({path.l3 for path in every})

    def compute(
        weights: torch.Tensor, harmonics: torch.Tensor, *values: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        u = dict(zip(features, values, strict=True))
        messages = fast(u, weights, replace(group, harmonics=harmonics), every)
        return tuple(messages[order] for order in degrees)

    results = recomputed(compute, weights, group.harmonics, *features.values())
    return dict(zip(degrees, results, strict=True))


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
    messages: Lists = defaultdict(list)
    for path, of_path in zip(every, radial.split(channels, 1), strict=True):
        products = sent[path.l1] * of_path[:, None]  # (cells, 2 l1 + 1, C)
        products = products.view(n_atoms, width, -1)  # (atoms, D, (m1, C))
        y = group.harmonics[:, :, path.of_harmonics]  # (atoms, D, m2)
        summed = torch.bmm(y.transpose(1, 2), products)  # (atoms, m2, (m1, C))
        if path.l1:
            symbols = path.symbols(summed)  # (m1, m2, m3)
            symbols = symbols.permute(2, 1, 0).flatten(1)
            summed = summed.view(n_atoms, -1, channels)  # (atoms, (m2, m1), C)
            summed = torch.matmul(symbols, summed)
        messages[path.l3].append(summed)
    return {order: torch.cat(parts, 2) for order, parts in messages.items()}
