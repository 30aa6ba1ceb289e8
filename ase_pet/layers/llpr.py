"""Uncertainty of a linear readout by the last-layer prediction rigidity (LLPR).

It follows from the covariance of the readout's features over the training set.

| symbol | variable |
|---|---|
| f, features of the last layer summed over the atoms | features |
| C = L L^T, covariance of f over the training set | factor (L) |
| alpha, calibrated on validation data | multiplier |
| w_k, readout of member k of an ensemble | ensemble |

sigma = alpha |L^-1 f| is a standard deviation in eV. Sources: F. Bigi et al., Mach. Learn.: Sci.
Technol. 5, 045018 (2024), DOI 10.1088/2632-2153/ad805f; of single atoms: S. Chong et al., J. Chem.
Theory Comput. 2023, DOI 10.1021/acs.jctc.3c00704.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from ..graph import Graph

FIRST_REGULARISER = 1e-20
LAST_REGULARISER = 1e16


class LastLayer(nn.Module):
    """Standard deviations and ensemble members from features of an energy head.

    Parameters
    ----------
    n_features:
        Number of features F.
    n_members:
        Number of members of the ensemble.
    """

    factor: torch.Tensor
    multiplier: torch.Tensor
    ensemble: torch.Tensor

    def __init__(self, n_features: int, n_members: int) -> None:
        super().__init__()
        self.register_buffer("factor", torch.eye(n_features))  # (F, F)
        self.register_buffer("multiplier", torch.ones(1))
        self.register_buffer("ensemble", torch.zeros(n_members, n_features))

    @property
    def n_members(self) -> int:
        """Number of members of the ensemble, 0 without one."""
        return len(self.ensemble)

    def deviation(self, features: torch.Tensor) -> torch.Tensor:
        """Standard deviations (rows,) in eV, float64, for features (rows, F).

        The triangular system is too ill-conditioned for float32.
        """
        factor = self.factor.double()
        solved = torch.linalg.solve_triangular(factor, features.double().T, upper=False)
        return self.multiplier.double() * solved.square().sum(0).sqrt()

    def members(self, features: torch.Tensor) -> torch.Tensor:
        """Ensemble members minus their mean, (rows, n_members) in eV, float64.

        For features (rows, F).
        """
        values = features.double() @ self.ensemble.double().T
        return values - values.mean(-1, keepdim=True)


def features_of_atoms(
    graph: Graph, edge_factor: torch.Tensor, readouts: Iterable[tuple[torch.Tensor, torch.Tensor]]
) -> torch.Tensor:
    """Features (n_atoms, F): of each readout those of central tokens, and sums over edges.

    Parameters
    ----------
    graph:
        Structures with 2P directed edges.
    edge_factor:
        Cutoff factor (2P, 1) of each edge, its weight in the sums.
    readouts:
        Features (n_atoms, d) of central tokens and (2P, d) of edge tokens, of each readout.

    """
    parts = []
    for node_features, edge_features in readouts:
        summed = torch.zeros_like(node_features)
        summed = summed.index_add(0, graph.centre, edge_features * edge_factor)
        parts += [node_features, summed]
    return torch.cat(parts, 1)


def cholesky(covariance: torch.Tensor) -> torch.Tensor:
    """Lower Cholesky factor (n, n) of a covariance, in its dtype.

    The smallest power of ten times the unit matrix is added with which it exists. Computed in
    float64.

    Parameters
    ----------
    covariance:
        Matrix (n, n), symmetric up to rounding.

    Raises
    ------
    ValueError
        There is none with any power.
    """
    symmetric = (0.5 * (covariance + covariance.T)).double()
    unit = torch.eye(len(covariance), dtype=torch.float64)
    regulariser = FIRST_REGULARISER
    while regulariser < LAST_REGULARISER:
        factor, info = torch.linalg.cholesky_ex(symmetric + regulariser * unit)
        if int(info) == 0:
            return factor.to(covariance.dtype)
        # not positive definite to the rounding of float64
        regulariser *= 10.0
    raise ValueError("a covariance of last-layer features has no Cholesky factor")
