"""What every symmetrised model shares: it looks like the model that it wraps."""

import torch
from torch import nn

from ..models.base import AtomisticModel
from ..rotations import random_orthogonal
from . import _readings


class Wrapped(AtomisticModel):
    """A model around another one. `forward(graph)` gives energies (n_atoms,) in eV; the rest is the
    inner model's.

    Everything comes from `mean(graph, reading)`, (n_atoms, columns) float64, which subclasses
    define.
    """

    is_symmetrised = True

    def __init__(self, model):
        # the attributes of the contract are those of the inner model, see the properties below
        nn.Module.__init__(self)
        self.model = model

    def forward(self, graph):
        return self.mean(graph, _readings.Reading())[:, 0]

    def predict(self, graph, names):
        """{head: (n_atoms, components)} float64 of the named heads: numbers, vectors and tensors
        are turned back.

        Raises ValueError for an unknown head, and for one whose components are not 1, 3 or 9.
        """
        reading = _readings.heads(self.model, names)
        return reading.by_head(self.mean(graph, reading))

    def last_layer(self, graph):
        """Energies (n_atoms,) in eV and means (n_atoms, F) of the features of the last layer, in
        which they are linear.

        Raises ValueError for a model without uncertainties.
        """
        if self.uncertainty is None:
            raise ValueError(
                "this model has no uncertainties, so nothing says what the features of its last"
                " layer are"
            )
        values = self.mean(graph, _readings.Reading(features=len(self.uncertainty.factor)))
        return values[:, 0], values[:, 1:]

    @property
    def settings(self):
        return self.model.settings

    @property
    def cutoff(self):
        return self.model.cutoff

    @property
    def species(self):
        return self.model.species

    @property
    def head_sizes(self):
        return self.model.head_sizes

    @property
    def compositions(self):
        return self.model.compositions

    @property
    def scales(self):
        return self.model.scales

    @property
    def covalent_radii(self):
        return self.model.covalent_radii

    @property
    def metadata(self):
        return self.model.metadata

    @property
    def conditioned(self):
        return self.model.conditioned

    @property
    def message_passing_depth(self):
        return self.model.message_passing_depth

    @property
    def exact_geometry(self):
        return self.model.exact_geometry

    @property
    def exact_second_derivatives(self):
        return self.model.exact_second_derivatives

    @property
    def energy_head(self):
        return self.model.energy_head

    @energy_head.setter
    def energy_head(self, name):
        self.model.energy_head = name

    @property
    def uncertainty(self):
        """Uncertainty of the inner model, whose covariance is that of its own features."""
        return self.model.uncertainty

    @torch.no_grad()
    def residual(self, graph, orientations=8, seed=0):
        """(n_structures,) standard deviations in eV of the energy over random orientations: what
        symmetry still lacks.

        orientations: number of elements of O(3), drawn with the seed. Each costs one evaluation.
        """
        turns = random_orthogonal(orientations, torch.Generator().manual_seed(seed)).to(
            graph.pair_vectors.device
        )
        vectors = graph.pair_vectors.double()
        totals = []
        for turn in turns:
            energies = self(
                graph.with_vectors((vectors @ turn.T).to(graph.pair_vectors.dtype))
            ).double()
            totals.append(
                energies.new_zeros(graph.n_structures).index_add(0, graph.structure, energies)
            )
        return torch.stack(totals).std(0, correction=0)

    @property
    def trainable(self):
        """Whether some weight of the model wants a gradient."""
        return any(parameter.requires_grad for parameter in self.parameters())
