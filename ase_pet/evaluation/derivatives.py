"""Forces and virial from one gradient with respect to the pair vectors.

With v = r_j - r_i of each pair and g = dE/dv, the forces are F_i = sum of g and F_j = -sum of g
over the pairs. The derivative with respect to a symmetric strain of positions and cell is the
symmetric part of sum v g^T. Both are exact, as a model depends on positions through v only.
"""

from __future__ import annotations

from typing import Any

import torch

from ..graph import Graph


def gradient(value: torch.Tensor, vectors: torch.Tensor, **options: Any) -> torch.Tensor:
    """Derivative of a number with respect to vectors; zero where it does not depend on them.

    Parameters
    ----------
    value:
        Number to differentiate. Atoms without neighbours have energies that need no gradient.
    vectors:
        Tensor to differentiate with respect to.
    options:
        Further arguments of `torch.autograd.grad`.
    """
    if not value.requires_grad:
        return torch.zeros_like(vectors)
    (derivative,) = torch.autograd.grad(value, vectors, allow_unused=True, **options)
    return torch.zeros_like(vectors) if derivative is None else derivative


def forces_from(graph: Graph, pair_gradient: torch.Tensor) -> torch.Tensor:
    """Forces (n_atoms, 3) in eV/A.

    Parameters
    ----------
    graph:
        Structures of n_atoms atoms and P pairs.
    pair_gradient:
        dE/dv (P, 3) in eV/A.
    """
    forces = pair_gradient.new_zeros(graph.n_atoms, 3)
    if graph.route is not None:  # F_i = sum_j (g_ij - g_ji): the second term may be another rank's
        net = pair_gradient - graph.partner(pair_gradient)
        return forces.index_add(0, graph.pair_centre, net)
    forces = forces.index_add(0, graph.pair_centre, pair_gradient)
    return forces.index_add(0, graph.pair_neighbour, pair_gradient, alpha=-1)


def virial_from(graph: Graph, pair_gradient: torch.Tensor) -> torch.Tensor:
    """Derivative (n_structures, 3, 3) of the energies with respect to strain, in eV.

    Parameters
    ----------
    graph:
        Structures with P pairs.
    pair_gradient:
        dE/dv (P, 3) in eV/A, float64.
    """
    products = graph.pair_vectors.double()[:, :, None] * pair_gradient[:, None, :]  # (P, 3, 3)
    virial = products.new_zeros(graph.n_structures, 3, 3)
    virial = virial.index_add(0, graph.structure[graph.pair_centre], products)
    return (virial + virial.transpose(1, 2)) / 2


def sum_over_atoms(graph: Graph, per_atom: torch.Tensor) -> torch.Tensor:
    """Sums (n_structures, ...) over the atoms of each structure.

    Parameters
    ----------
    graph:
        Structures of n_atoms atoms.
    per_atom:
        Values (n_atoms, ...).
    """
    sums = per_atom.new_zeros(graph.n_structures, *per_atom.shape[1:])
    return sums.index_add(0, graph.structure, per_atom)
