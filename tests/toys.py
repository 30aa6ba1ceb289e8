"""Small models with random weights and small structures for the tests."""

from dataclasses import replace

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, molecule

from ase_pet.models import pet

BASE = pet.Settings(
    species=(1, 6, 8, 14),
    cutoff=4.0,
    cutoff_width=0.8,
    cutoff_width_adaptive=0.8,
    d_pet=8,
    d_node=12,
    d_head=8,
    d_feedforward=8,
    num_heads=2,
    num_attention_layers=1,
    num_gnn_layers=2,
)
ORIGINAL = {
    "transformer_type": "PostLN",
    "normalization": "LayerNorm",
    "activation": "SiLU",
    "d_node": 8,
    "featurizer_type": "residual",
    "cutoff_function": "cosine",
}
SETTINGS = {
    "base": {},
    "PostLN": {"transformer_type": "PostLN"},
    "LayerNorm": {"normalization": "LayerNorm"},
    "SiLU": {"activation": "SiLU"},
    "residual": {"featurizer_type": "residual"},
    "narrow node": {"d_node": 8},
    "narrow node, PostLN": {"d_node": 8, "transformer_type": "PostLN"},
    "cosine": {"cutoff_function": "cosine"},
    "grid": {"num_neighbors_adaptive": 8, "adaptive_cutoff_method": "grid"},
    "solver": {"num_neighbors_adaptive": 8, "adaptive_cutoff_method": "solver"},
    "temperature": {"attention_temperature": 1.7},
    "one message layer": {"num_gnn_layers": 1},
    "three message layers": {"num_gnn_layers": 3},
    "two attention layers": {"num_attention_layers": 2},
    "zbl": {"zbl": True},
    "conditioning": {"system_conditioning": True},
    "several heads": {"heads": {"energy": 1, "energy/other": 1, "dipole": 3}},
    "original": ORIGINAL,
    "local": {**ORIGINAL, "num_gnn_layers": 1},
    "local, adaptive": {**ORIGINAL, "num_gnn_layers": 1, "num_neighbors_adaptive": 6},
}
COMPOSITION = {1: -0.3, 6: 1.7, 8: -2.1, 14: 0.4}  # eV


def tiny_pet(name="base", dtype=torch.float64, seed=0, **changes):
    """PET of a few hundred weights, all random, also those that start at zero or one."""
    model = pet.Model(replace(BASE, **{**SETTINGS[name], **changes})).to(dtype)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            is_norm = "norm" in key and key.endswith("weight")
            parameter.copy_(1.0 + 0.2 * noise if is_norm else 0.5 * noise)
    model.compositions = {head: COMPOSITION for head in model.settings.heads}
    return model


def silicon(seed=1):
    """8 atoms of displaced silicon, periodic in three directions."""
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.15, seed=seed)
    return atoms


def sheared(seed=2):
    """2 atoms in a left-handed, strongly sheared cell, one outside of it.

    The cell is much smaller than the cutoff.
    """
    atoms = bulk("Si")
    atoms.rattle(0.15, seed=seed)
    atoms.set_cell(np.array([[1, 2, 0], [0, 0, 1], [0, 1, 1]]) @ atoms.cell)
    atoms.positions[1] += 3 * atoms.cell[0] - 2 * atoms.cell[2]
    return atoms


def slab(seed=3):
    """6 atoms of two species, periodic in two directions, with vacuum in the third."""
    generator = np.random.default_rng(seed)
    lattice = np.array([[x, y, z] for z in range(3) for x, y in ((0, 0), (1.9, 1.3))]) * [1, 1, 1.7]
    return Atoms(
        "SiOSiHCO",
        lattice + 0.2 * generator.normal(size=(6, 3)),
        cell=[[3.8, 0.4, 0], [0.3, 3.5, 0.1], [0.5, 0, 15]],
        pbc=[True, True, False],
    )


def ethanol(seed=4):
    """Ethanol with silicon in place of one carbon atom; no cell."""
    atoms = molecule("CH3CH2OH")
    atoms.symbols[0] = "Si"
    atoms.rattle(0.1, seed=seed)
    return atoms


STRUCTURES = {"silicon": silicon, "sheared": sheared, "slab": slab, "ethanol": ethanol}


def charged(atoms):
    """The structure as a cation with an unpaired electron."""
    atoms.info.update(charge=1, spin=2)
    return atoms
