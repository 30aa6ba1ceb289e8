"""Virials of single atoms: how the strain derivative of the energy is shared among them.

With the energies E_i of atoms and v_ij = r_j - r_i, an edge contributes v_ij g_ij^T, where g_ij is
the derivative of the energy with respect to that edge.

of centres      W_i = sum_j v_ij g_ij^T, the strain derivative of E_i
of neighbours   B_j = sum_i v_ij g_ij^T, whose product with the velocity of j is the work that
                moves energy from the neighbours to the centres

Both add up to the strain derivative of the energy. They need the derivatives of directed edges,
which are E_i's own where it depends on the edges of atom i only. For other models each pair is
shared equally between its two atoms.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from ..graph import Graph
from ..models.base import AtomisticModel
from .derivatives import gradient
from .energies import Evaluation
from .local_models import is_separable


def edge_gradient(model: AtomisticModel, graph: Graph) -> torch.Tensor:
    """dE_i/dv_ij (2P, 3) in eV/A of the directed edges, float64.

    Parameters
    ----------
    model:
        Model whose energies depend on an atom's own edges only (`local_models.is_separable`).
    graph:
        Structures with P pairs.
    """
    vectors = graph.edge_vectors.detach().requires_grad_()
    directed = replace(
        graph,
        one_sided=True,
        pair_centre=graph.centre,
        pair_neighbour=graph.neighbour,
        pair_vectors=vectors,
    )
    with torch.enable_grad():
        energy = model(directed).double().sum()
    return gradient(energy, vectors).double()


def of_centres(evaluation: Evaluation) -> torch.Tensor:
    """Virials (n_atoms, 3, 3) in eV, which add up to the strain derivative of the energies.

    Parameters
    ----------
    evaluation:
        Evaluation of the structures.
    """
    graph = evaluation.graph
    if is_separable(evaluation.model):
        products = _products(graph.edge_vectors, edge_gradient(evaluation.model, graph))
        return _scattered(graph, graph.centre, products)
    products = _products(graph.pair_vectors, evaluation.pair_gradient) / 2
    both = _scattered(graph, graph.pair_centre, products)
    return both + _scattered(graph, graph.pair_neighbour, products)


def of_neighbours(model: AtomisticModel, graph: Graph) -> torch.Tensor:
    """Virials (n_atoms, 3, 3) in eV; they are not symmetric.

    Parameters
    ----------
    model:
        Model whose energies depend on an atom's own edges only (`local_models.is_separable`).
    graph:
        Structures.
    """
    products = _products(graph.edge_vectors, edge_gradient(model, graph))
    return _scattered(graph, graph.neighbour, products)


def _products(vectors: torch.Tensor, derivatives: torch.Tensor) -> torch.Tensor:
    """v g^T (m, 3, 3) in eV."""
    return vectors.double()[:, :, None] * derivatives.double()[:, None, :]


def _scattered(graph: Graph, atoms: torch.Tensor, products: torch.Tensor) -> torch.Tensor:
    """Sums (n_atoms, 3, 3) of the products of the edges of each atom."""
    sums = products.new_zeros(graph.n_atoms, 3, 3)
    return sums.index_add(0, atoms, products)
