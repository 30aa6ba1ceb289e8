"""Heat flux of a structure, for thermal conductivities by the formula of Green and Kubo.

With e_i = m_i v_i^2 / 2 + E_i, the energies of atoms, the flux is J = d/dt sum_i r_i e_i:

    J = sum_i e_i v_i + sum_ij (r_i - r_j) (dE_i/dr_j . v_j)

Composition energies are left out of E_i: they move with the atoms and transport no heat.

Where E_i depends on the edges of atom i only, this is a sum over edges. Otherwise E_i depends on
atoms that are several edges away, and the images of a periodic structure have to be told apart: the
sum is then taken in the structure with the atoms around its cell, which is larger than the cell.

Source: M. F. Langer, F. Knoop, C. Carbogno, M. Scheffler, M. Rupp, Phys. Rev. B 108, L100302
(2023), doi:10.1103/PhysRevB.108.L100302.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from ase import Atoms

from . import graph
from .calculator import PETCalculator
from .evaluation import local_models, virials
from .evaluation.derivatives import gradient
from .graph import Graph, Structure
from .graph.neighbours import pairs as search
from .graph_inputs import GraphInputs
from .models.base import AtomisticModel

MOST_ATOMS = 50_000  # of a structure with its surroundings


def heat_flux(calculator: PETCalculator, atoms: Atoms) -> np.ndarray:
    """Heat flux (3,) in eV A / (ASE's unit of time); times `ase.units.fs` in eV A / fs.

    Parameters
    ----------
    calculator:
        Calculator of this package, best in float64.
    atoms:
        Structure with momenta.

    Raises
    ------
    ValueError
        The range of the model is unknown, or the structure with its surroundings is too large.
    """
    if not isinstance(calculator, PETCalculator):
        raise ValueError(
            f"`calculator` is {type(calculator).__name__}: heat fluxes need a PETCalculator, for"
            " the energies of its atoms"
        )
    model = calculator.model
    inputs = GraphInputs(model, calculator.device, calculator.dtype, calculator.card)
    structure = inputs.structure(atoms)
    pairs = graph.half_list(structure, model.cutoff)
    graph.check_distances(structure, pairs)
    batch = inputs.graph([structure], [pairs])
    velocities = torch.from_numpy(atoms.get_velocities()).to(calculator.device)
    with torch.no_grad():
        energies = model(batch).double()
    masses = torch.from_numpy(atoms.get_masses()).to(energies)
    kinetic = masses * (velocities**2).sum(1) / 2
    convected = ((energies + kinetic)[:, None] * velocities).sum(0)
    if local_models.is_separable(model):
        # -sum_j B_j v_j: the same sum by the virials of neighbours
        work = virials.of_neighbours(model, batch)
        conducted = -torch.einsum("nab,nb->a", work, velocities)
    else:
        conducted = _unfolded(model, structure, inputs, velocities)
    flux: np.ndarray = (convected + conducted).cpu().numpy()
    return flux


def _unfolded(
    model: AtomisticModel, structure: Structure, inputs: GraphInputs, velocities: torch.Tensor
) -> torch.Tensor:
    """sum_ij (r_i - r_j) (dE_i/dr_j . v_j), (3,), over the atoms i of the cell and all j around."""
    cluster, parents = _surrounded(structure, model)
    pairs = graph.half_list(cluster, model.cutoff)
    whole = inputs.graph([cluster], [pairs])
    positions = torch.from_numpy(cluster.positions).to(velocities)
    at = velocities[torch.from_numpy(parents).to(velocities.device)]
    weighted, plain = _derivatives(model, whole, positions, len(structure), inputs)
    arriving = (weighted * at).sum((1, 2))
    work = (plain * at).sum(1)  # (m,) of each atom j
    return arriving - work @ positions


def _derivatives(
    model: AtomisticModel, whole: Graph, positions: torch.Tensor, n_atoms: int, inputs: GraphInputs
) -> tuple[torch.Tensor, torch.Tensor]:
    """Derivatives (3, m, 3) of sum_i r_i E_i with constant r_i, and (m, 3) of sum_i E_i.

    positions: (m, 3), of which the first n_atoms are those of the sums.
    """
    moving = positions.clone().requires_grad_()
    with torch.enable_grad():
        energies = model(_with_positions(whole, moving, inputs))[:n_atoms].double()
        # one component of r_i after the other
        sums = positions[:n_atoms].T @ energies
        weighted = [gradient(one, moving, retain_graph=True) for one in sums]
        return torch.stack(weighted), gradient(energies.sum(), moving)


def _with_positions(whole: Graph, positions: torch.Tensor, inputs: GraphInputs) -> Graph:
    """The graph of a cluster with vectors that depend on positions (n, 3)."""
    vectors = positions[whole.pair_neighbour] - positions[whole.pair_centre]
    return whole.with_vectors(vectors.to(inputs.dtype))


def _surrounded(structure: Structure, model: AtomisticModel) -> tuple[Structure, np.ndarray]:
    """The structure and the images that energies of its atoms depend on, without periodicity.

    And the atom (m,) that each of them is an image of; the structure itself comes first.
    """
    depth = model.message_passing_depth
    if depth is None:
        raise ValueError("heat fluxes need a model whose range is known: expected a local model")
    # the edges of atoms that are `depth` edges away end here
    radius = (depth + 1) * model.cutoff
    images = _images(structure, radius)
    n_atoms = len(structure)
    if n_atoms + len(images) > MOST_ATOMS:
        raise ValueError(
            f"the structure with all atoms within {radius:.0f} A has {n_atoms + len(images)} atoms,"
            f" more than {MOST_ATOMS}: expected a local model, or a smaller structure"
        )
    parents = np.concatenate([np.arange(n_atoms), images[:, 0]])
    positions = structure.positions[parents]
    positions[n_atoms:] += images[:, 1:] @ structure.cell
    cluster = replace(
        structure,
        numbers=structure.numbers[parents],
        positions=positions,
        cell=np.zeros((3, 3)),
        pbc=np.zeros(3, dtype=bool),
    )
    return cluster, parents


def _images(structure: Structure, radius: float) -> np.ndarray:
    """Atom and lattice shift, (m, 4), of each image within a radius of any atom of the cell."""
    i, j, shifts = search(structure, radius)
    there = np.column_stack([j, shifts])
    back = np.column_stack([i, -shifts])
    images = np.unique(np.concatenate([there, back]), axis=0)
    is_image = images[:, 1:].any(axis=1)
    return np.asarray(images[is_image])
