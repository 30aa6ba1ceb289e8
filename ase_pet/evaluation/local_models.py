"""Second derivatives and displaced forces of models whose energies depend on an atom's own edges.

No second derivative couples edges of different centres, and where one atom moves only the
environments that contain it change. Hessians and forces of displaced copies therefore cost in
proportion to the number of atoms, not to its square.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from ..graph import Graph
from ..graph.chunking import split
from ..models.base import AtomisticModel
from .derivatives import gradient

# Atoms whose second derivatives are taken together: the memory of a backward pass grows with them,
# and stays in the cache of a CPU.
ATOMS_AT_ONCE = 32


def is_separable(model: AtomisticModel) -> bool:
    """Whether the energies of a model depend on an atom's own edges only, and on no others.

    Parameters
    ----------
    model:
        Model. A symmetriser makes environments of its own out of the pairs, so it is not.
    """
    return model.is_local and not model.is_symmetrised


def saves_work(model: AtomisticModel, n_atoms: int, n_pairs: int) -> bool:
    """Whether `displaced_forces` can be used, and evaluates less than all atoms of each copy.

    Parameters
    ----------
    model:
        Model to evaluate.
    n_atoms:
        Number of atoms of the structure.
    n_pairs:
        Number of pairs within the cutoff.
    """
    environments = 2 * n_pairs / n_atoms + 1  # that contain one atom, on average
    return is_separable(model) and environments < n_atoms


def hessian(model: AtomisticModel, graph: Graph) -> torch.Tensor:
    """Second derivatives (3n, 3n) in eV/A^2 of one structure.

    With E = sum_i E_i({v_ij}), the derivatives with respect to the k-th edge of every atom come
    from one backward pass for each direction.

    Parameters
    ----------
    model:
        Model that `is_separable`.
    graph:
        One structure of n atoms.
    """
    n_atoms = graph.n_atoms
    centre = graph.centre
    blocks = graph.edge_vectors.new_zeros(n_atoms * n_atoms, 3, 3, dtype=torch.float64)
    for first in range(0, n_atoms, ATOMS_AT_ONCE):
        last = min(n_atoms, first + ATOMS_AT_ONCE)
        centres = torch.arange(first, last, device=centre.device)
        has_centre = (centre >= first) & (centre < last)
        edges = torch.nonzero(has_centre)[:, 0]
        for row, column, derivative in _second_derivatives(model, graph, centres, edges):
            blocks.index_add_(0, row * n_atoms + column, derivative)
    # (n, n, 3, 3) -> (n, 3, n, 3)
    blocks = blocks.view(n_atoms, n_atoms, 3, 3).transpose(1, 2)
    return blocks.reshape(3 * n_atoms, 3 * n_atoms)


def displaced_forces(
    model: AtomisticModel,
    graph: Graph,
    moved: torch.Tensor,
    shifts: torch.Tensor,
    batch_atoms: int,
) -> torch.Tensor:
    """Forces (m, n, 3) in eV/A of m copies of one structure, each with one displaced atom.

    Parameters
    ----------
    model:
        Model that `is_separable`.
    graph:
        The structure at rest, with all pairs that are within the cutoff in any copy.
    moved:
        Index (m,) of the displaced atom of each copy.
    shifts:
        Displacements (m, 3) in A.
    batch_atoms:
        Environments evaluated at once. Only those that contain the displaced atom are.
    """
    device = graph.centre.device
    atoms = torch.arange(graph.n_atoms, device=device)
    at_rest = _environments(graph, atoms, graph.centre, graph.neighbour, graph.edge_vectors)
    edge_gradient = _differentiate(model, at_rest, graph.n_atoms)
    one_copy = atoms.new_zeros(len(edge_gradient))
    forces = _scatter(edge_gradient, one_copy, graph.centre, graph.neighbour, 1, graph.n_atoms)
    # only the environments that contain the displaced atom change
    touched = _touched(graph, moved)
    chunks = split(touched.sum(1), batch_atoms)
    displaced = []
    for chunk in chunks:
        change = _changes(model, graph, moved[chunk], shifts[chunk], touched[chunk], edge_gradient)
        displaced.append(forces + change)  # (copies of the chunk, n, 3)
    return torch.cat(displaced)


def _second_derivatives(
    model: AtomisticModel, graph: Graph, centres: torch.Tensor, edges: torch.Tensor
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Terms of the Hessian: atoms (m,), atoms (m,), and derivatives (m, 3, 3) in eV/A^2.

    centres: consecutive atoms; edges: indices of all of their edges.
    """
    row = graph.centre[edges] - centres[0]  # environment of each edge
    neighbour = graph.neighbour[edges]
    vectors = graph.edge_vectors.detach()[edges].requires_grad_()
    with torch.enable_grad():
        environments = _environments(graph, centres, row, neighbour, vectors)
        energy = model(environments)[: len(centres)].double().sum()
        edge_gradient = gradient(energy, vectors, create_graph=True)  # (E, 3)
    counts = torch.bincount(row, minlength=len(centres))
    first = counts.cumsum(0) - counts
    order = torch.argsort(row, stable=True)
    for k in range(int(counts.max())):
        has_edge = counts > k
        kth_edge = torch.full_like(counts, -1)  # k-th edge of each centre
        kth_edge[has_edge] = order[(first + k)[has_edge]]
        # all edges of the centres that have a k-th one: only these couple with it
        others = torch.nonzero(counts[row] > k)[:, 0]
        seeds = edge_gradient[kth_edge[has_edge]].sum(0)  # (3,)
        derivatives = [gradient(seed, vectors, retain_graph=True)[others] for seed in seeds]
        block = torch.stack(derivatives, 1).double()  # (m, 3, 3)
        i = centres[row[others]]
        j = neighbour[kth_edge[row[others]]]
        k_atom = neighbour[others]
        # d2E/dv_ij dv_ik, with v = r_j - r_i
        yield j, k_atom, block
        yield j, i, -block
        yield i, k_atom, -block
        yield i, i, block


def _touched(graph: Graph, moved: torch.Tensor) -> torch.Tensor:
    """Whether the environment of each atom contains the displaced one, bool (m, n)."""
    n_copies = len(moved)
    device = moved.device
    copies = torch.arange(n_copies, device=device)
    touched = torch.zeros(n_copies, graph.n_atoms, dtype=torch.bool, device=device)
    touched[copies, moved] = True
    # edges of each copy that end at its displaced atom
    ends_there = graph.neighbour == moved[:, None]  # (m, 2P)
    copy, edge = torch.nonzero(ends_there, as_tuple=True)
    touched[copy, graph.centre[edge]] = True
    return touched


def _changes(
    model: AtomisticModel,
    graph: Graph,
    moved: torch.Tensor,
    shifts: torch.Tensor,
    touched: torch.Tensor,
    at_rest: torch.Tensor,
) -> torch.Tensor:
    """Changes (m, n, 3) of the forces in m copies.

    touched: environments (m, n) that change; at_rest: dE/dv (2P, 3) of the structure at rest.
    """
    copy, edge = torch.nonzero(touched[:, graph.centre], as_tuple=True)
    # number of each environment among all that change
    number = touched.flatten().cumsum(0) - 1
    number = number.view(touched.shape)
    i = graph.centre[edge]
    j = graph.neighbour[edge]
    is_neighbour = (j == moved[copy]).to(shifts.dtype)
    is_centre = (i == moved[copy]).to(shifts.dtype)
    sign = is_neighbour - is_centre
    displacement = sign[:, None] * shifts[copy]
    vectors = graph.edge_vectors.detach()[edge]
    vectors = vectors + displacement.to(at_rest.dtype)
    centres = torch.nonzero(touched)[:, 1]
    environments = _environments(graph, centres, number[copy, i], j, vectors)
    edge_gradient = _differentiate(model, environments, len(centres))
    change = edge_gradient - at_rest[edge]
    return _scatter(change, copy, i, j, len(moved), graph.n_atoms)


def _environments(
    graph: Graph,
    centres: torch.Tensor,
    row: torch.Tensor,
    neighbour: torch.Tensor,
    vectors: torch.Tensor,
) -> Graph:
    """One-sided graph of environments.

    row: number (E,) of the environment of each edge among those of `centres`. Neighbours are
    represented by atoms at the end, one of each species, whose energies are unused.
    """
    species, kind = torch.unique(graph.numbers, return_inverse=True)
    numbers = torch.cat([graph.numbers[centres], species])
    return replace(
        graph,
        one_sided=True,
        route=None,
        numbers=numbers,
        structure=torch.zeros_like(numbers),
        pair_centre=row,
        pair_neighbour=len(centres) + kind[neighbour],
        pair_vectors=vectors,
    )


def _differentiate(model: AtomisticModel, graph: Graph, count: int) -> torch.Tensor:
    """dE/dv (E, 3) in eV/A of the energies of the first `count` atoms of a one-sided graph."""
    vectors = graph.pair_vectors.detach().requires_grad_()
    with torch.enable_grad():
        energy = model(graph.with_vectors(vectors))[:count].double().sum()
    return gradient(energy, vectors)


def _scatter(
    edge_gradient: torch.Tensor,
    copy: torch.Tensor,
    centre: torch.Tensor,
    neighbour: torch.Tensor,
    n_copies: int,
    n_atoms: int,
) -> torch.Tensor:
    """Forces (n_copies, n_atoms, 3), float64, from dE/dv (E, 3) of the edges of these copies."""
    edge_gradient = edge_gradient.double()
    forces = edge_gradient.new_zeros(n_copies * n_atoms, 3)
    forces = forces.index_add(0, copy * n_atoms + centre, edge_gradient)
    forces = forces.index_add(0, copy * n_atoms + neighbour, -edge_gradient)
    return forces.view(n_copies, n_atoms, 3)
