"""How far the energy of an atom depends on others: measured, to compare with what a model declares.

On a chain whose atoms have their nearest neighbours within the cutoff only, the gradient of the
energy of the first atom is not zero for atoms up to some number of edges away, the hops.
"""

from __future__ import annotations

import numpy as np
import torch

from ..graph import Structure, build
from ..models.base import AtomisticModel
from .derivatives import gradient

SPACING = 2 / 3  # of the cutoff: next-nearest neighbours are beyond it
SMALLEST = 1e-14  # gradient relative to the largest that is not rounding
BEYOND = 3  # atoms of the chain beyond the declared reach


def declared_hops(model: AtomisticModel) -> int | None:
    """Number of edges between an atom and the farthest atom that its energy depends on.

    None where the model declares none.

    Parameters
    ----------
    model:
        Model to ask.
    """
    depth = model.message_passing_depth
    return None if depth is None else depth + 1


def measured_hops(model: AtomisticModel, longest: int | None = None) -> int:
    """The same number, from the exact gradient of one energy on a chain.

    Parameters
    ----------
    model:
        Model to measure.
    longest:
        Number of atoms of the chain but one; None for three more than the declared reach.
    """
    declared = declared_hops(model)
    n_hops = longest if longest is not None else (declared or 1) + BEYOND
    weights = next(model.parameters())
    dtype = torch.float64 if model.exact_geometry else weights.dtype
    structure = _chain(model, n_hops + 1)
    batch = build([structure], model.cutoff, dtype=dtype, device=weights.device)
    shift = torch.zeros(n_hops + 1, 3, dtype=dtype, device=weights.device, requires_grad=True)
    with torch.enable_grad():
        moved = shift[batch.pair_neighbour] - shift[batch.pair_centre]  # (P, 3)
        displaced = batch.with_vectors(batch.pair_vectors + moved)
        energy = model(displaced)[0]
        slopes = gradient(energy, shift).norm(dim=1)  # (n_atoms,)
    felt = torch.nonzero(slopes > SMALLEST * slopes.max())
    return int(felt.max()) if len(felt) else 0


def _chain(model: AtomisticModel, n_atoms: int) -> Structure:
    """Chain of the elements of a model, with neighbours within its cutoff, not quite straight."""
    # the displacements leave no symmetry that would make derivatives vanish
    generator = np.random.default_rng(0)
    positions = generator.normal(size=(n_atoms, 3))
    positions *= 0.02 * model.cutoff
    positions[:, 0] += SPACING * model.cutoff * np.arange(n_atoms)
    elements = np.array(model.species, dtype=np.int64)
    numbers = np.resize(elements, n_atoms)
    pbc = np.zeros(3, dtype=bool)
    return Structure(numbers, positions, np.zeros((3, 3)), pbc)
