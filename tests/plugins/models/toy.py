"""Lennard-Jones pairs with a smooth cutoff, whose depth may depend on their direction.

    E_i = 1/2 sum_j f(r) 4 epsilon [(sigma / r)^12 - (sigma / r)^6] (1 + a x z / r^2)

with the edge (x, y, z) of length r from atom i to atom j. epsilon is the geometric mean of the
weights of both elements and sigma their arithmetic mean. f is the cutoff function `bump`. With an
anisotropy a other than 0 the energy changes when the structure is rotated.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn

from ..graph import Graph
from ..layers.cutoff import bump
from .base import AtomisticModel


@dataclass(frozen=True)
class Settings:
    """Settings of the model."""

    species: tuple[int, ...]  # atomic numbers
    cutoff: float = 6.0  # A
    cutoff_width: float = 1.0  # A, over which pairs are switched off
    anisotropy: float = 0.0  # a
    heads: dict[str, int] = field(default_factory=lambda: {"energy": 1})  # {name: components}

    def __post_init__(self) -> None:
        # a recipe and a calculator folder have lists
        object.__setattr__(self, "species", tuple(self.species))


class Model(AtomisticModel):
    """The model; its weights are the depth (eV) and the size (A) of each element.

    Parameters
    ----------
    settings:
        Settings of the model.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, settings.cutoff, settings.species)
        n_species = len(settings.species)
        self.epsilon = nn.Parameter(torch.full((n_species,), 0.0104))  # eV, of argon
        self.sigma = nn.Parameter(torch.full((n_species,), 3.4))  # A

    @property
    def message_passing_depth(self) -> int:
        """0: the energy of an atom depends on its own edges only."""
        return 0

    def predict(self, graph: Graph, names: tuple[str, ...]) -> dict[str, torch.Tensor]:
        """{head: energies (n_atoms, 1) in eV}, without composition energies.

        Parameters
        ----------
        graph:
            Structures, with all pairs within `cutoff`.
        names:
            Names of heads.
        """
        rows = self.species_rows[graph.numbers]  # (n_atoms,)
        first = rows[graph.centre]  # (n_edges,)
        second = rows[graph.neighbour]
        epsilon = (self.epsilon[first] * self.epsilon[second]).sqrt()
        sigma = (self.sigma[first] + self.sigma[second]) / 2
        x, _, z = graph.edge_vectors.unbind(1)
        r = graph.edge_vectors.norm(dim=1)
        attraction = (sigma / r) ** 6
        direction = 1 + self.settings.anisotropy * x * z / r**2
        pairs = 4 * epsilon * (attraction**2 - attraction) * direction
        pairs = pairs * bump(r, self.cutoff, self.settings.cutoff_width)
        # each pair has two edges, and each of its atoms half of its energy
        energies = pairs.new_zeros(graph.n_atoms).index_add(0, graph.centre, pairs / 2)
        return {name: self.scaled(name, energies[:, None], rows) for name in names}
