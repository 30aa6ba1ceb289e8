"""Uncertainty of a linear readout from the covariance of its features in training (last-layer
prediction rigidity).

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

import torch
from torch import nn

FIRST_REGULARISER, LAST_REGULARISER = 1e-20, 1e16


class LastLayer(nn.Module):
    """Standard deviations and ensemble members from features (rows.

    N_features) of an energy head.
    """

    def __init__(self, n_features, n_members):
        super().__init__()
        self.register_buffer("factor", torch.eye(n_features))
        self.register_buffer("multiplier", torch.ones(1))
        self.register_buffer("ensemble", torch.zeros(n_members, n_features))

    def deviation(self, features):
        """(rows,) standard deviations in eV, float64.

        The triangular system is too ill-conditioned for float32.
        """
        solved = torch.linalg.solve_triangular(
            self.factor.double(), features.double().T, upper=False
        )
        return self.multiplier.double() * solved.square().sum(0).sqrt()

    def members(self, features):
        """(rows, n_members) differences in eV of the members of the ensemble from their mean.

        Float64.
        """
        values = features.double() @ self.ensemble.double().T
        return values - values.mean(-1, keepdim=True)


def cholesky(covariance):
    """Lower Cholesky factor of a covariance (n, n), with the smallest multiple of 1 in powers of
    ten that allows it.

    Computed in float64, given in the dtype of the covariance. Raises ValueError where there is
    none.
    """
    symmetric = (0.5 * (covariance + covariance.T)).double()
    one = torch.eye(len(covariance), dtype=torch.float64)
    regulariser = FIRST_REGULARISER
    while regulariser < LAST_REGULARISER:
        factor, info = torch.linalg.cholesky_ex(symmetric + regulariser * one)
        if int(info) == 0:
            return factor.to(covariance.dtype)
        regulariser *= 10.0
    raise ValueError("a covariance of last-layer features has no Cholesky factor")
