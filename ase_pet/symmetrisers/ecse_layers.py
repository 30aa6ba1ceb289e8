"""ECSE layer by layer, for PET that was trained with it: see `ecse.layers`."""

from __future__ import annotations

from ..models.base import AtomisticModel
from .ecse.layers import PRESETS, EcseLayersModel
from .ecse.settings import Settings, parse_presets

__all__ = ["PRESETS", "EcseLayersModel", "Model", "parse", "wrap"]

Model = EcseLayersModel


def parse(argument: str | Settings = "") -> Settings:
    """Settings of the argument of this symmetriser.

    Parameters
    ----------
    argument:
        Names of `PRESETS` with colons between them, or settings themselves.

    Raises
    ------
    ValueError
        A preset is unknown or repeated, or contradicts another one.
    """
    return parse_presets(argument, "ecse_layers", PRESETS)


def wrap(model: AtomisticModel, argument: str | Settings = "") -> EcseLayersModel:
    """PET, symmetrised layer by layer.

    Parameters
    ----------
    model:
        PET with fixed cutoffs.
    argument:
        As for `parse`.
    """
    return EcseLayersModel(model, parse(argument))
