"""Symmetrisers: a model in, a model that is averaged over rotations out.

Each file or package here that is neither `base` nor private is one, with two functions:

    parse(argument) -> settings             validates the argument
    wrap(model, argument) -> model          an AtomisticModel

The name in `symmetrise=` is that of the file, with an argument after a colon where it takes one:
"group:O".
"""

from __future__ import annotations

import torch

from .. import plugins
from ..models.base import AtomisticModel
from . import group
from .ecse import settings as ecse_settings
from .ecse.sampled import DRAWN, FRAME_VARIANCE, Seeds, SeedStream

__all__ = [
    "DRAWN",
    "FRAME_VARIANCE",
    "SeedStream",
    "Seeds",
    "check",
    "full_name",
    "of_file",
    "sampled",
    "symmetrise",
]

WITH_FORMS = ("ecse", "ecse_layers")  # whose weights have several forms


def check(name: str) -> None:
    """Validate the name of a symmetriser and its argument, without a model.

    Parameters
    ----------
    name:
        Name such as "ecse:so3".

    Raises
    ------
    ValueError
        There is no such symmetriser, or it has no such argument; with the valid choices.
    """
    kind, _, argument = name.partition(":")
    known = plugins.names(__name__)
    if kind not in known:
        raise ValueError(f"`symmetrise` is {name!r}: valid choices are {', '.join(known)}")
    plugins.load(__name__, kind).parse(argument)


def of_file(name: str) -> str:
    """Name of the symmetriser that a calculator folder or a recipe means.

    Files keep what they were made with, where a name without further words has another meaning now.

    Parameters
    ----------
    name:
        Name in the file, such as "group:O", which means "group:O:aligned" there, and "ecse", which
        means "ecse:published".
    """
    kind, _, argument = name.partition(":")
    if kind == "group":
        return f"{kind}:{group.of_file(argument)}"
    if kind in WITH_FORMS:
        return f"{kind}:{ecse_settings.with_form(argument, ecse_settings.IN_FILES)}"
    return name


def full_name(name: str, trained: str = "none") -> str:
    """The name of a symmetriser with the form of its weights: "ecse" becomes "ecse:compact".

    Parameters
    ----------
    name:
        Name that a user gives.
    trained:
        Symmetriser in the calculator folder, whose form is taken where the user names none.
    """
    kind, _, argument = name.partition(":")
    if kind not in WITH_FORMS:
        return name
    form = ecse_settings.DEFAULT
    own_kind, _, own = of_file(trained).partition(":")
    if own_kind == kind:
        form = ecse_settings.form_of(own)
    return f"{kind}:{ecse_settings.with_form(argument, form)}"


def symmetrise(model: AtomisticModel, name: str) -> AtomisticModel:
    """The model, symmetrised.

    Parameters
    ----------
    model:
        Model that is averaged.
    name:
        Name of the symmetriser, with its argument after a colon.

    Raises
    ------
    ValueError
        The name or the argument is not valid, or the symmetriser does not support the model.
    """
    check(name)
    kind, _, argument = name.partition(":")
    symmetrised: AtomisticModel = plugins.load(__name__, kind).wrap(model, argument)
    return symmetrised


def sampled(
    model: AtomisticModel, name: str, seeds: torch.Generator | Seeds, draws: int = 1
) -> AtomisticModel:
    """The model in ECSE frames that are drawn by weight, instead of the average: for training.

    Parameters
    ----------
    model:
        Model that is trained.
    name:
        Symmetriser of the trained model, such as "ecse:so3", or "ecse_layers", which draws for each
        layer.
    seeds:
        Function from the number of structures of an evaluation to their seeds, which decide on the
        draws; or a generator of seeds, on the CPU, other ones in each evaluation.
    draws:
        Number of frames of each atom.
    """
    kind, _, argument = name.partition(":")
    options = plugins.load(__name__, kind).parse(argument)
    if isinstance(seeds, torch.Generator):
        seeds = SeedStream(seeds)
    return DRAWN[kind](model, options, seeds, draws)
