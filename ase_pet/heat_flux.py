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

from typing import Any

import numpy as np
import torch
from ase import Atoms

from . import graph
from .calculator import PETCalculator
from .evaluation import local_models, virials
from .evaluation.derivatives import gradient
from .graph import Graph, Structure
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
    positions = torch.from_numpy(cluster.positions).to(velocities).requires_grad_()
    at = velocities[torch.from_numpy(parents).to(velocities.device)]
    n_atoms = len(structure)
    with torch.enable_grad():
        moved = _with_positions(whole, positions, inputs)
        energies = model(moved)[:n_atoms].double()
        centres = positions[:n_atoms].detach()
        # sum_i r_i E_i with constant r_i, one component after the other, and sum_i E_i
        weighted = [(energies * centres[:, k]).sum() for k in range(3)]
        by_centre = [gradient(one, positions, retain_graph=True) for one in weighted]
        of_all = gradient(energies.sum(), positions)
    arriving = torch.stack([(one * at).sum() for one in by_centre])
    work = (of_all * at).sum(1)  # (n,) of each atom j
    leaving = (positions.detach() * work[:, None]).sum(0)
    return arriving - leaving


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
    first = np.arange(len(structure))
    positions = [structure.positions]
    parents = [first]
    for shift in _shifts(structure, radius):
        moved = structure.positions + shift @ structure.cell
        inside = _close(moved, structure.positions, radius)
        positions.append(moved[inside])
        parents.append(first[inside])
        if sum(map(len, parents)) > MOST_ATOMS:
            raise ValueError(
                f"the structure with all atoms within {radius:.0f} A is larger than {MOST_ATOMS}"
                " atoms: expected a local model, or a smaller one"
            )
    of = np.concatenate(parents)
    free: Any = np.zeros(3, dtype=bool)
    cluster = Structure(
        numbers=structure.numbers[of],
        positions=np.concatenate(positions),
        cell=np.zeros((3, 3)),
        pbc=free,
        charge=structure.charge,
        spin=structure.spin,
    )
    return cluster, of


def _shifts(structure: Structure, radius: float) -> np.ndarray:
    """Lattice shifts (m, 3) of all images that may be within a radius, without zero."""
    if not structure.pbc.any():
        return np.zeros((0, 3))
    dual = np.linalg.pinv(structure.cell * structure.pbc[:, None])
    fractional = structure.positions @ dual
    extent = np.ptp(fractional, axis=0) + radius * np.linalg.norm(dual, axis=0)
    most = np.where(structure.pbc, np.ceil(extent), 0).astype(int)
    ranges = [np.arange(-count, count + 1) for count in most]
    shifts = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
    nonzero: np.ndarray = shifts[np.any(shifts != 0, axis=1)]
    return nonzero


def _close(moved: np.ndarray, positions: np.ndarray, radius: float) -> np.ndarray:
    """Whether each of the moved atoms (n,) is within a radius of any of the positions."""
    distances = np.linalg.norm(moved[:, None] - positions[None], axis=-1)
    within: np.ndarray = (distances < radius).any(axis=1)
    return within
