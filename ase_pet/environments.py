"""Models in which an atom's energy depends on its own edges only: what the environments of a
structure give one by one.

No second derivative couples edges of different centres, and where one atom moves only the
environments that hold it change. So Hessians and forces of displaced copies cost in proportion to
the number of atoms, and not to its square.
"""

from dataclasses import replace

import torch

AT_ONCE = 32  # atoms whose second derivatives are taken together


def separable(model):
    """Whether a model is one of these; a symmetriser makes environments of its own of the pairs."""
    return model.is_local and not model.is_symmetrised


def hessian(model, graph):
    """(3n, 3n) second derivatives in eV/A^2 of a graph of one structure.

    With E = sum_i E_i({v_ij}), the derivatives with respect to the k-th edge of every atom come
    from one backward pass for each direction. AT_ONCE atoms at a time: what a pass keeps grows with
    them, and stays in the cache.
    """
    n, centre = graph.n_atoms, graph.centre
    blocks = graph.edge_vectors.new_zeros(n * n, 3, 3, dtype=torch.float64)
    for first in range(0, n, AT_ONCE):
        centres = torch.arange(first, min(n, first + AT_ONCE), device=centre.device)
        chosen = torch.nonzero((centre >= first) & (centre < first + AT_ONCE))[:, 0]
        for row, column, found in _second_derivatives(model, graph, centres, chosen):
            blocks.index_add_(0, row * n + column, found)
    return blocks.view(n, n, 3, 3).transpose(1, 2).reshape(3 * n, 3 * n)


def _second_derivatives(model, graph, centres, chosen):
    """(atoms, atoms, (m, 3, 3) eV/A^2): what to add to these rows and columns; chosen.

    The edges of consecutive centres.
    """
    own, neighbour, vectors = (
        graph.centre[chosen] - centres[0],
        graph.neighbour[chosen],
        graph.edge_vectors.detach()[chosen],
    )
    vectors.requires_grad_()
    with torch.enable_grad():
        environments = _environments(graph, centres, own, neighbour, vectors)
        slopes = gradient(
            model(environments)[: len(centres)].double().sum(), vectors, create_graph=True
        )
    counts, order = torch.bincount(own, minlength=len(centres)), torch.argsort(own, stable=True)
    first = counts.cumsum(0) - counts
    for k in range(int(counts.max())):
        edge = torch.full_like(counts, -1)  # the k-th of each atom
        edge[counts > k] = order[(first + k)[counts > k]]
        other = torch.nonzero(counts[own] > k)[:, 0]
        seeds = slopes[edge[counts > k]].sum(0)
        found = torch.stack(
            [gradient(seed, vectors, retain_graph=True)[other] for seed in seeds], 1
        ).double()
        i, j, of_edge = centres[own[other]], neighbour[edge[own[other]]], neighbour[other]
        for row, column, sign in (
            (j, of_edge, 1),
            (j, i, -1),
            (i, of_edge, -1),
            (i, i, 1),
        ):  # v = r_j - r_i
            yield row, column, sign * found


def displaced_forces(model, graph, moved, shifts, batch_atoms):
    """(m, n, 3) forces in eV/A of m copies of one structure, in each of which one atom is
    displaced.

    graph: of the structure at rest, with all pairs that are within the cutoff in any copy; moved
    (m,) indices of atoms; shifts (m, 3) in A; batch_atoms: environments evaluated at once. Only
    those that hold the displaced atom change.
    """
    centre, neighbour, edges = graph.centre, graph.neighbour, graph.edge_vectors.detach()
    everyone = torch.arange(graph.n_atoms, device=centre.device)
    rest = _slopes(model, _environments(graph, everyone, centre, neighbour, edges), graph.n_atoms)
    forces = _scattered(rest, everyone.new_zeros(len(rest)), centre, neighbour, 1, graph.n_atoms)
    touched = torch.zeros(len(moved), graph.n_atoms, dtype=torch.bool, device=centre.device)
    touched[torch.arange(len(moved), device=centre.device), moved] = True
    copy, edge = torch.nonzero(neighbour == moved[:, None], as_tuple=True)
    touched[copy, centre[edge]] = True
    return torch.cat(
        [
            forces + _changes(model, graph, moved[part], shifts[part], touched[part], rest)
            for part in _parts(touched.sum(1), batch_atoms)
        ]
    )


def gradient(value, vectors, **options):
    """Derivative of a number, zero where it does not depend on the vectors.

    Atoms without neighbours.
    """
    if not value.requires_grad:
        return torch.zeros_like(vectors)
    (found,) = torch.autograd.grad(value, vectors, allow_unused=True, **options)
    return torch.zeros_like(vectors) if found is None else found


def _changes(model, graph, moved, shifts, touched, rest):
    """(m, n, 3) changes of the forces in m copies; touched (m, n): environments that change.

    Rest (2P, 3): dE/dv.
    """
    centre, neighbour = graph.centre, graph.neighbour
    copy, edge = torch.nonzero(touched[:, centre], as_tuple=True)
    number = (
        touched.flatten().cumsum(0).view(touched.shape) - 1
    )  # of an environment among all that change
    i, j, atom = centre[edge], neighbour[edge], moved[copy]
    sign = (j == atom).to(shifts.dtype) - (i == atom).to(shifts.dtype)
    vectors = graph.edge_vectors.detach()[edge] + (sign[:, None] * shifts[copy]).to(rest.dtype)
    centres = torch.nonzero(touched)[:, 1]
    slopes = _slopes(
        model, _environments(graph, centres, number[copy, i], j, vectors), len(centres)
    )
    return _scattered(slopes - rest[edge], copy, i, j, len(moved), graph.n_atoms)


def _environments(graph, centres, row, neighbour, vectors):
    """One-sided graph of environments: `row` (E,) is the number of an edge's environment among
    those of `centres`.

    Neighbours are atoms at the end, one of each species, whose energies are not read.
    """
    species, kind = torch.unique(graph.numbers, return_inverse=True)
    numbers = torch.cat([graph.numbers[centres], species])
    return replace(
        graph,
        one_sided=True,
        numbers=numbers,
        structure=torch.zeros_like(numbers),
        pair_centre=row,
        pair_neighbour=len(centres) + kind[neighbour],
        pair_vectors=vectors,
    )


def _slopes(model, own, count):
    """(E, 3) dE/dv in eV/A, of the energies of the first `count` atoms."""
    vectors = own.pair_vectors.detach().requires_grad_()
    with torch.enable_grad():
        energy = model(own.with_vectors(vectors))[:count].double().sum()
    return gradient(energy, vectors)


def _scattered(slopes, copy, centre, neighbour, copies, n):
    """(copies, n, 3) float64 forces of dE/dv of edges (E, 3) in these copies."""
    forces, slopes = slopes.new_zeros(copies * n, 3, dtype=torch.float64), slopes.double()
    forces = forces.index_add(0, copy * n + centre, slopes).index_add(
        0, copy * n + neighbour, -slopes
    )
    return forces.view(copies, n, 3)


def _parts(sizes, most):
    """Slices of consecutive copies whose sizes add up to `most` or less, or of single ones."""
    start, total = 0, 0
    for k, size in enumerate(sizes.tolist()):
        if k > start and total + size > most:
            yield slice(start, k)
            start, total = k, 0
        total += size
    if len(sizes):
        yield slice(start, len(sizes))
