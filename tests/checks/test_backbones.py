"""Networks of users: checks catch one that is not smooth, with and without ECSE."""

import pytest
import torch
from torch import nn

from ase_pet import PETCalculator, checks
from ase_pet.layers.cutoff import bump

CHECKS = ["cutoff_third_atom", "rotation"]


class PointNet(nn.Module):
    """E_i = g(sum_j f(r_ij) h(r_ij)) with random weights; f is smooth."""

    cutoff, species, local = 4.0, (29,), True

    def __init__(self, nearest=None):
        super().__init__()
        self.nearest = nearest
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.h = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8))
            self.g = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))
        self.double()

    def forward(self, graph):
        lengths = graph.edge_vectors.norm(dim=1)
        points = torch.cat([graph.edge_vectors, lengths[:, None]], 1) / 2
        terms = self.factors(graph.centre, lengths)[:, None] * self.h(points.double())
        sums = terms.new_zeros(graph.n_atoms, 8).index_add(0, graph.centre, terms)
        return self.g(sums / 4)[:, 0]

    def factors(self, centre, lengths):
        """(n_edges,) factor of each edge: smooth, or 1 for the nearest ones within the cutoff."""
        return bump(lengths, self.cutoff, 1.0)


class NearestPointNet(PointNet):
    """The same with the three nearest neighbours within a hard cutoff."""

    def factors(self, centre, lengths):
        by_length = lengths.detach().argsort()
        order = by_length[centre[by_length].argsort(stable=True)]  # by centre, then by length
        sizes = centre.bincount(minlength=1)
        first = (sizes.cumsum(0) - sizes)[centre[order]]
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order)) - first
        return (rank < 3).double()


@pytest.mark.parametrize(
    ("kind", "symmetrise", "expected"),
    [
        (PointNet, "none", {"rotation"}),
        (PointNet, "ecse", set()),
        (NearestPointNet, "none", {"rotation", "cutoff_third_atom"}),
        (NearestPointNet, "ecse", {"cutoff_third_atom"}),
    ],
)
def test_a_network_that_is_not_smooth_is_found(kind, symmetrise, expected):
    calculator = PETCalculator(kind(), symmetrise=symmetrise, dtype="float64", device="cpu")
    results = checks.run(calculator, species=["Cu"], only=CHECKS)
    failed = {result.check for result in results if result.status == "fail"}
    assert failed == expected
