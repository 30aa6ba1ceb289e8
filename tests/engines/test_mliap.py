"""ML-IAP of LAMMPS, against a stand-in for its neighbour list."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ase.build import bulk

import ranks
from ase_pet import MLIPCalculator
from ase_pet.engines.mliap import LocalPotential
from ase_pet.graph.domains import DomainList
from ase_pet.models import pet
from tolerances import worst


def calculator(layers, **options):
    torch.manual_seed(0)
    settings = pet.Settings(
        species=(6, 14),
        cutoff=3.6,
        d_pet=8,
        d_node=12,
        d_head=8,
        d_feedforward=8,
        num_heads=2,
        num_attention_layers=1,
        num_gnn_layers=layers,
        featurizer_type="residual",
    )
    model = pet.Model(settings).double()
    return MLIPCalculator(model, dtype="float64", device="cpu", **options)


def crystal():
    atoms = bulk("Si", cubic=True, a=4.9)
    atoms.numbers[::3] = 6
    atoms.rattle(0.1, seed=1)
    return atoms


def listed(atoms, calc):
    """What LAMMPS hands over: its edges, local atoms first, then ghosts."""
    part = ranks.domain(atoms, np.zeros(len(atoms), dtype=int), 0, calc.cutoff + 0.5)
    edges = DomainList(calc.cutoff, 0.5, calc.species)
    edges.search(part)
    centre, neighbour, vectors = edges.edges(part)
    is_within = np.linalg.norm(vectors, axis=1) < calc.cutoff
    data = SimpleNamespace(
        nlistatoms=part.n_local,
        npairs=int(is_within.sum()),
        elems=np.searchsorted([6, 14], part.numbers),
        pair_i=centre[is_within],
        pair_j=neighbour[is_within],
        rij=vectors[is_within],
        tags=part.tags,
    )
    data.update_pair_forces = lambda forces: setattr(data, "forces", forces)
    return data


@pytest.mark.parametrize("symmetrise", ["none", "ecse"])
def test_energies_and_forces_of_edges_are_those_of_ase(symmetrise):
    calc = calculator(1, symmetrise=symmetrise)
    atoms = crystal()
    data = listed(atoms, calc)
    LocalPotential(calc).compute_forces(data)
    forces = np.zeros((len(atoms), 3))
    np.add.at(forces, data.pair_i, data.forces)  # LAMMPS sends those of ghosts to their atoms
    np.add.at(forces, data.tags[data.pair_j] - 1, -data.forces)
    atoms.calc = calc
    assert worst(data.energy, atoms.get_potential_energy()) < 1e-12
    assert worst(data.eatoms, atoms.get_potential_energies()) < 1e-12
    assert worst(forces, atoms.get_forces()) < 1e-12


def test_one_side_of_the_virial_is_symmetric_for_exact_symmetry_only():
    """Why its shear stress is wrong for other models."""
    skew = {}
    for symmetrise in ("none", "ecse"):
        calc = calculator(1, symmetrise=symmetrise)
        data = listed(crystal(), calc)
        LocalPotential(calc).compute_forces(data)
        virial = data.rij.T @ data.forces
        skew[symmetrise] = np.abs(virial - virial.T).max() / np.abs(virial).max()
    assert skew["ecse"] < 1e-12
    assert skew["none"] > 1e-6


def test_models_with_messages_are_refused():
    with pytest.raises(ValueError, match="exchanges messages between atoms"):
        LocalPotential(calculator(2))
