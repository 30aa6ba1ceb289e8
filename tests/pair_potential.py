"""Morse pair potential for many elements as a model, which binds crystals and molecules."""

import torch
from ase.data import atomic_numbers, covalent_radii

from ase_pet import PETCalculator
from ase_pet.layers.cutoff import bump
from ase_pet.models.base import AtomisticModel

ELEMENTS = ("H", "C", "N", "O", "Al", "Si", "Ni", "Cu", "Pd", "Ag", "Pt", "Au")


class Morse(AtomisticModel):
    """Half of D (exp(-2 a (r - r0)) - 2 exp(-a (r - r0))) for each edge.

    r0 is the sum of the covalent radii.
    """

    head_sizes = {"energy": 1}
    message_passing_depth = 0

    def __init__(self, depth=0.3, steepness=1.6):
        species = tuple(atomic_numbers[element] for element in ELEMENTS)
        super().__init__(None, 6.0, species)
        self.register_buffer("radii", torch.tensor(covalent_radii[:100], dtype=torch.float64))
        self.depth, self.steepness = depth, steepness  # eV, 1/A

    def forward(self, graph):
        r = graph.edge_vectors.double().norm(dim=1)
        r0 = (
            self.radii[graph.numbers[graph.centre]] + self.radii[graph.numbers[graph.neighbour]]
        ).double()
        x = torch.exp(-self.steepness * (r - r0))
        energy = 0.5 * self.depth * (x**2 - 2 * x) * bump(r, self.cutoff, 2.0)
        return energy.new_zeros(graph.n_atoms).index_add(0, graph.centre, energy)


def morse(*_, **__):
    """A PETCalculator of the Morse potential; arguments are accepted and ignored."""
    return PETCalculator(Morse(), dtype="float64", device="cpu")
