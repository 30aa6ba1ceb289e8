"""A network of your own in MD: a PointNet, trained in a minute, made exactly symmetric by ECSE.

Labels: EMT. The energy must be smooth: `ase-pet check --calculator` finds out if it is not.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from ase import build, units
from ase.calculators.emt import EMT
from ase.md import VelocityVerlet
from ase.md.velocitydistribution import thermalize_momenta
from torch import nn

from ase_pet import PETCalculator, graph
from ase_pet.evaluation import Evaluation
from ase_pet.layers.cutoff import bump
from ase_pet.models.base import adapted
from ase_pet.rotations import random_orthogonal


class PointNet(nn.Module):
    """E_i = g(sum_j f(r_ij) h(r_ij)), of vectors r_ij to neighbours; g and h are networks."""

    cutoff, species, local = 4.0, (29,), True  # A; local: E_i depends on neighbours of i only

    def __init__(self, width=32):
        super().__init__()
        self.h = nn.Sequential(nn.Linear(11, width), nn.SiLU(), nn.Linear(width, width))
        self.g = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))
        self.register_buffer("shells", torch.linspace(2, 3.75, 8))  # A

    def forward(self, batch):
        """Energies (n_atoms,) in eV of a batch of structures."""
        lengths = batch.edge_vectors.norm(dim=1)
        radial = torch.exp(-(((lengths[:, None] - self.shells) / 0.3) ** 2))
        points = torch.cat([batch.edge_vectors / 2.5, radial], 1)  # (n_edges, 11)
        terms = bump(lengths, self.cutoff, 1.0)[:, None] * self.h(points) / 4
        sums = terms.new_zeros(batch.n_atoms, terms.shape[1]).index_add(0, batch.centre, terms)
        return self.g(sums)[:, 0]


def copper(rng):
    """Copper of 8 atoms, strained and displaced, with energy and forces of EMT."""
    atoms = build.bulk("Cu") * (2, 2, 2)
    atoms.set_cell(atoms.cell @ (np.eye(3) + rng.uniform(-0.02, 0.02, (3, 3))), scale_atoms=True)
    atoms.rattle(rng.uniform(0.02, 0.15), rng=rng)
    atoms.calc = EMT()
    return atoms


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--output", type=Path, default=Path("demo"), help="folder to write to")
parser.add_argument("--updates", type=int, default=4000, help="of the training")
arguments, report = parser.parse_args(), {}
rng, generator = np.random.default_rng(0), torch.manual_seed(0)
data, test = [copper(rng) for _ in range(200)], [copper(rng) for _ in range(10)]
optimiser = torch.optim.Adam((network := PointNet()).parameters())
for update in range(arguments.updates):
    optimiser.param_groups[0]["lr"] = 1e-2 * (1 - update / arguments.updates)
    atoms = data[update % len(data)]
    inputs = graph.build([graph.from_atoms(atoms)], network.cutoff, dtype=torch.float32)
    matrix = random_orthogonal(1, generator)[0].float()
    rotated = inputs.with_vectors(inputs.pair_vectors @ matrix.T)
    results = Evaluation(adapted(network), rotated, training=True)
    forces = (results.forces - torch.tensor(atoms.get_forces()).float() @ matrix.T).abs().mean()
    loss = forces + 0.1 * (results.energy - atoms.get_potential_energy()).abs().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()

for name in ("none", "ecse:compact"):
    calculator = PETCalculator(network, symmetrise=name, dtype="float64")
    error = [np.abs(calculator.get_forces(atoms) - atoms.get_forces()).mean() for atoms in test]
    crystal = test[0].copy()
    change = -calculator.get_potential_energy(crystal)
    crystal.rotate(50, (1, 2, 3), rotate_cell=True)
    change += calculator.get_potential_energy(crystal)
    crystal.calc = calculator
    thermalize_momenta(crystal, temperature_K=300, rng=np.random.default_rng(1))
    run = VelocityVerlet(crystal, 2 * units.fs).irun(100)
    rms = np.std([crystal.get_total_energy() for _ in run])
    values = {"force MAE": np.mean(error), "rotation changes E by": change, "rms in NVE": rms}
    report[name] = {key: float(f"{1e3 * value:.3g}") for key, value in values.items()}
    print(name, report[name], "meV/A and meV")
arguments.output.mkdir(parents=True, exist_ok=True)
(arguments.output / "your_own_backbone.json").write_text(json.dumps(report, indent=1) + "\n")
