"""Second derivatives of the energy of one structure."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..graph import Graph
from ..models.base import AtomisticModel
from . import local_models
from .derivatives import gradient
from .undefined import Undefined


def hessian(model: AtomisticModel, graph: Graph, of: Sequence[int] | None = None) -> torch.Tensor:
    """Second derivatives d2E/dr dr, (3k, 3n) in eV/A^2, symmetric up to rounding.

    One backward pass for each row; for a local model three for each neighbour of the most
    coordinated atom, if those are fewer: their number does not grow with the number of atoms.

    Parameters
    ----------
    model:
        Model to differentiate.
    graph:
        One structure of n atoms.
    of:
        Indices of k atoms, whose rows are computed; None for all.

    Raises
    ------
    Undefined
        Second derivatives of the model are not those of its energy.
    """
    if not model.exact_second_derivatives:
        raise Undefined(
            "the second derivatives of this model are not exact (adaptive cutoff by the solver"
            " method)"
        )
    atoms = range(graph.n_atoms) if of is None else of
    # x, y and z of each atom
    rows = [3 * int(atom) + axis for atom in atoms for axis in range(3)]
    neighbours = torch.bincount(graph.centre, minlength=1)  # number for each atom
    passes = 3 * int(neighbours.max())
    if local_models.is_separable(model) and len(rows) > passes:
        every_row = local_models.hessian(model, graph)
        return every_row[rows]
    return _row_by_row(model, graph, rows)


def _row_by_row(model: AtomisticModel, graph: Graph, rows: list[int]) -> torch.Tensor:
    """Rows (len(rows), 3n) of the Hessian, by one backward pass each."""
    device = graph.numbers.device
    shift = torch.zeros(graph.n_atoms, 3, dtype=torch.float64, device=device, requires_grad=True)
    with torch.enable_grad():
        # displacement (P, 3) of each pair vector r_j - r_i
        displacement = shift[graph.pair_neighbour] - shift[graph.pair_centre]
        vectors = graph.pair_vectors + displacement.to(graph.pair_vectors.dtype)
        displaced = graph.with_vectors(vectors)
        energy = model(displaced).double().sum()
        atom_gradient = gradient(energy, shift, create_graph=True).flatten()  # (3n,)
    second_derivatives = []
    for row in rows:
        derivative = gradient(atom_gradient[row], shift, retain_graph=True)  # (n, 3)
        second_derivatives.append(derivative.flatten())
    return torch.stack(second_derivatives)
