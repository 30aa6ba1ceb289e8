"""ECSE, exact and smooth rotational symmetry: README.md beside this file is an overview.

    model               ECSE of any model: start here
    settings            settings of the weights, and presets
    switching           the switching function
    edges               edges of a graph, sorted by atom
    frames              inner cutoff and frames of pairs of neighbours
    pair_weights        weights of these pairs
    effective_distance  the same in the compact form, the default
    block_edges         edges of a block of atoms, and their pairs
    collinear           environments of atoms without frames
    receptive_field     what the energy of an atom depends on
    framed              environments in frames, and their weighted sums
    layers              ECSE of PET layer by layer
    sampled             a few frames drawn by weight, for training

`wrap` and `parse` make this package a plug-in, "ecse".
"""

from __future__ import annotations

from ...models.base import AtomisticModel
from .model import EcseModel
from .settings import COMPACT, GENTLE, PRESETS, Settings, parse_presets

__all__ = ["COMPACT", "GENTLE", "PRESETS", "EcseModel", "Model", "Settings", "parse", "wrap"]

Model = EcseModel


def parse(argument: str | Settings = "") -> Settings:
    """Settings of the argument of this symmetriser.

    Parameters
    ----------
    argument:
        Names of `PRESETS` with colons between them: "so3" leaves out mirror images, "force"
        evaluates message-passing models at any cost, "gentle" makes forces smoother, "compact",
        "ordered" and "scaled" are faster. Or settings themselves.

    Raises
    ------
    ValueError
        A preset is unknown or repeated, or contradicts another one.
    """
    return parse_presets(argument, "ecse", PRESETS)


def wrap(model: AtomisticModel, argument: str | Settings = "") -> EcseModel:
    """The model, symmetrised by ECSE.

    Parameters
    ----------
    model:
        Model that is symmetrised.
    argument:
        As for `parse`.
    """
    return EcseModel(model, parse(argument))
