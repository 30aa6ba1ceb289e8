"""Last-layer uncertainty (LLPR) of a trained model, from its training and validation data.

With F_k the features of structure k (sums over its N_k atoms, see `layers.llpr`) and r_k the error
of its energy (predicted minus label, eV):

    C = sum over the training set of (F_k / N_k)(F_k / N_k)^T         covariance (F, F)
    s_k = |L^-1 F_k|,    L L^T = C + ridge (trace C / F) 1            uncalibrated deviation
    alpha^2 = mean over the validation set of (r_k / s_k)^2           calibration
    sigma_k = alpha s_k                                               eV, of the energy
    w_m = alpha L^-T z_m,    z_m normal                               readout of member m

Features per atom enter C because the loss of the training is one of energies per atom. alpha is
that of the largest Gaussian likelihood of the errors. The ridge is the one of `RIDGES` with the
largest likelihood, of -sum_k (log sigma_k + (r_k / sigma_k)^2 / 2).
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch

from ..layers.llpr import LastLayer
from ..models.base import AtomisticModel

RIDGES = tuple(10.0**power for power in range(-12, 1))  # in units of the mean diagonal of C
MEMBERS = 16
FEWEST = 2  # validation structures; with one of them every ridge is as likely
SMALLEST = 1e-12  # eV, error below which a calibration is that of rounding


@dataclass(frozen=True)
class Calibration:
    """What was chosen for an uncertainty.

    Attributes
    ----------
    ridge:
        Ridge in units of the mean diagonal of the covariance.
    multiplier:
        alpha, in eV.
    structures:
        Number of training structures in the covariance.
    validation:
        Number of validation structures with an energy.
    members:
        Number of members of the ensemble.
    """

    ridge: float
    multiplier: float
    structures: int
    validation: int
    members: int

    def as_dict(self) -> dict[str, float]:
        """Table for calculator.toml."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


class Covariance:
    """Sum over structures of the products of their features per atom.

    Parameters
    ----------
    n_features:
        Number F of features.
    """

    def __init__(self, n_features: int) -> None:
        self.matrix = torch.zeros(n_features, n_features, dtype=torch.float64)
        self.structures = 0

    def add(self, features: torch.Tensor, n_atoms: torch.Tensor) -> None:
        """Add structures.

        Parameters
        ----------
        features:
            Features (n, F) of structures, summed over atoms.
        n_atoms:
            Number of atoms (n,) of each.
        """
        per_atom = features.double().cpu() / n_atoms.double().cpu()[:, None]
        self.matrix += per_atom.T @ per_atom
        self.structures += len(per_atom)


def extended(model: AtomisticModel, members: int = MEMBERS) -> AtomisticModel:
    """Copy of a model with room for the uncertainty of its head `energy_head`; weights are shared.

    Parameters
    ----------
    model:
        Model without symmetriser.
    members:
        Number of members of the ensemble.

    Raises
    ------
    ValueError
        The model is no linear function of features that are known.
    """
    if not model.n_features or not has_place(model):
        raise ValueError(
            "this model has no uncertainties from a last layer: they are for models `pet`, `ponita`"
            " and `mace`"
        )
    others = model.settings.uncertainties
    made = _copy(model, {**others, model.energy_head: members})
    layer = LastLayer(model.n_features, members)
    weight = next(model.parameters())  # whose device and precision the layer shares
    made.uncertainties.update(dict(model.uncertainties.items()))
    made.uncertainties[model.energy_head] = layer.to(weight.device, weight.dtype)
    return made


def without(model: AtomisticModel) -> AtomisticModel:
    """Copy of a model without any uncertainty, such as those of other weights; weights are shared.

    Parameters
    ----------
    model:
        Model without symmetriser.
    """
    return _copy(model, {}) if has_place(model) else model


def _copy(model: AtomisticModel, members: dict[str, int]) -> AtomisticModel:
    """Copy of a model with other `uncertainties` in its settings, and the same weights."""
    made = copy.copy(model)
    # the modules are shared, the table of them is not
    made._modules = dict(model._modules)
    made.uncertainties = torch.nn.ModuleDict()
    made.settings = replace(model.settings, uncertainties=members)
    return made


def has_place(model: AtomisticModel) -> bool:
    """Whether the settings of a model can hold uncertainties, so that a folder keeps them.

    Parameters
    ----------
    model:
        Model to ask.
    """
    settings: Any = model.settings
    return is_dataclass(settings) and "uncertainties" in {each.name for each in fields(settings)}


def fit(
    layer: LastLayer,
    covariance: Covariance,
    features: torch.Tensor,
    errors: torch.Tensor,
    seed: int = 0,
) -> Calibration:
    """Fill a layer from the covariance of training data and the errors of validation data.

    Parameters
    ----------
    layer:
        Layer to fill in place.
    covariance:
        Covariance over the training set.
    features:
        Features (n, F) of the validation structures, summed over atoms.
    errors:
        Errors (n,) of their energies in eV.
    seed:
        Seed of the ensemble.

    Raises
    ------
    ValueError
        There are too few validation energies, or a number is not finite.
    """
    known = torch.isfinite(errors)
    features = features[known].double().cpu()
    errors = errors[known].double().cpu()
    if len(errors) < FEWEST:
        raise ValueError(
            f"{len(errors)} validation structures have energies: expected at least {FEWEST} to"
            " calibrate uncertainties with"
        )
    if not torch.isfinite(features).all() or not torch.isfinite(covariance.matrix).all():
        raise ValueError("features of the last layer are not finite: no uncertainty")
    if not covariance.matrix.any():
        raise ValueError("features of the last layer are all 0 over the training set")
    ridge, factor = _best(covariance.matrix, features, errors)
    # as `LastLayer.deviation`, with a factor in the precision of the weights
    rounded = factor.to(layer.factor).double().cpu()
    alpha = _multiplier(_deviations(rounded, features), errors)
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(layer.n_members, len(factor), generator=generator, dtype=torch.float64)
    # L^T w = alpha z for each member
    members = torch.linalg.solve_triangular(factor.T, normal.T, upper=True).T * alpha
    layer.factor.copy_(factor)
    layer.multiplier.fill_(alpha)
    layer.ensemble.copy_(members)
    return Calibration(ridge, alpha, covariance.structures, len(errors), layer.n_members)


def _best(
    covariance: torch.Tensor, features: torch.Tensor, errors: torch.Tensor
) -> tuple[float, torch.Tensor]:
    """Ridge of the largest likelihood, and the Cholesky factor with it."""
    best = (-math.inf, 0.0, covariance)
    unit = torch.eye(len(covariance), dtype=torch.float64)
    scale = float(covariance.diagonal().mean())
    for ridge in RIDGES:
        shifted = covariance + ridge * scale * unit
        factor, info = torch.linalg.cholesky_ex(shifted)
        if int(info):  # not positive definite to the rounding of float64
            continue
        deviations = _deviations(factor, features)
        alpha = _multiplier(deviations, errors)
        # the squares of r / sigma have the mean 1 for any ridge
        expected = alpha * deviations
        likelihood = -float(expected.log().mean())
        if likelihood > best[0]:
            best = (likelihood, ridge, factor)
    if best[1] == 0.0:
        raise ValueError("a covariance of last-layer features has no Cholesky factor")
    return best[1], best[2]


def _deviations(factor: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """s (n,) of features (n, F)."""
    solved = torch.linalg.solve_triangular(factor, features.T, upper=False)
    squares: torch.Tensor = solved.square().sum(0)
    return squares.sqrt()


def _multiplier(deviations: torch.Tensor, errors: torch.Tensor) -> float:
    """alpha in eV."""
    ratio = errors / deviations
    return max(float(ratio.square().mean().sqrt()), SMALLEST)
