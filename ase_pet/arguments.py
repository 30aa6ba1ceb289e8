"""Validation of PETCalculator's arguments: device, model, heads, symmetriser."""

from __future__ import annotations

import copy
import math
import numbers
from pathlib import Path
from typing import Any

import torch
from torch import nn

from . import store, symmetrisers
from .models.base import AtomisticModel, adapted

# names of heads that hold direct forces and stress, by the property that they replace
DIRECT_HEADS = {
    "forces": ("non_conservative_forces", "non_conservative_force"),
    "stress": ("non_conservative_stress",),
}
# properties that each value of `non_conservative` replaces
REPLACED: dict[bool | str, tuple[str, ...]] = {
    False: (),
    True: ("forces", "stress"),
    "forces": ("forces",),
    "stress": ("stress",),
}


def check_numbers(skin: Any, batch_atoms: Any, compile: Any) -> None:
    """Raise ValueError for an invalid number.

    Parameters
    ----------
    skin:
        Must be a length in A, 0 or more.
    batch_atoms:
        Must be a number of atoms, 1 or more, or None.
    compile:
        Must be "auto" or False.
    """
    if not isinstance(skin, numbers.Real) or not 0 <= float(skin) < math.inf:
        raise ValueError(f"`skin` is {skin!r}: expected a length in A, 0 or more")
    whole = isinstance(batch_atoms, numbers.Integral)
    if batch_atoms is not None and (not whole or batch_atoms < 1):
        raise ValueError(
            f"`batch_atoms` is {batch_atoms!r}: expected a number of atoms, 1 or more, or None"
        )
    if compile not in ("auto", False):
        raise ValueError(f"`compile` is {compile!r}: valid choices are 'auto', False")


def check_choices(dtype: Any, symmetrise: Any, non_conservative: Any, orientations: Any) -> None:
    """Raise ValueError for a choice that no model has, before any model is loaded.

    Parameters
    ----------
    dtype:
        Must be "float32", "float64" or None.
    symmetrise:
        Must be the name of a symmetriser, with an argument that it takes, or None.
    non_conservative:
        Must be False, True, "forces" or "stress".
    orientations:
        Must be a number of axes, the name of a grid, or None.
    """
    if dtype is not None:
        store.dtype_of(dtype)
    if symmetrise is not None:
        symmetrisers.check(symmetrise)
    if non_conservative not in list(REPLACED):  # compared by ==, as it may not be hashable
        raise ValueError(
            f"`non_conservative` is {non_conservative!r}: "
            "valid choices are False, True, 'forces', 'stress'"
        )
    text_or_number = isinstance(orientations, str | numbers.Integral)
    if orientations is not None and (isinstance(orientations, bool) or not text_or_number):
        raise ValueError(
            f"`orientations` is {orientations!r}: expected a number of axes, or the name of a grid"
            " such as 'dodecahedral'"
        )


def device(name: str | torch.device) -> torch.device:
    """The torch device of a name.

    Parameters
    ----------
    name:
        "auto" (CUDA if there is one), "cpu", "cuda" or "cuda:N".

    Raises
    ------
    ValueError
        The name is unknown, or there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(name)
    except (RuntimeError, TypeError):
        chosen = None
    # torch knows more kinds of devices than models were tested on
    if chosen is None or chosen.type not in ("cpu", "cuda"):
        raise ValueError(f"`device` is {name!r}: valid choices are auto, cpu, cuda, cuda:N")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"`device` is {name!r}, but this torch sees {torch.cuda.device_count() or 'no'} CUDA"
            " devices: use 'cpu' or 'auto'"
        )
    return chosen


def model(given: str | Path | nn.Module) -> tuple[AtomisticModel, store.Card]:
    """The model and what its calculator folder says about it.

    Parameters
    ----------
    given:
        Name, path, or a module, which is copied and adapted to the contract of models.
    """
    if not isinstance(given, nn.Module):
        return store.load(given)
    dtype = next((parameter.dtype for parameter in given.parameters()), torch.float64)
    described = store.Card(name=type(given).__name__, dtype=str(dtype).removeprefix("torch."))
    return adapted(copy.deepcopy(given)), described


def oriented(network: AtomisticModel, orientations: str | int | None) -> AtomisticModel:
    """The model on another grid of orientations.

    Parameters
    ----------
    network:
        Model to change.
    orientations:
        Name of a grid or number of axes, None for the grid of the model.
    """
    return network if orientations is None else network.with_orientations(orientations)


def select_head(network: AtomisticModel, variant: str | None) -> None:
    """Point a model at one of its energy heads.

    Parameters
    ----------
    network:
        Model, whose `energy_head` is set.
    variant:
        Name of the head after "energy/", None for the plain head "energy".

    Raises
    ------
    ValueError
        The model has no such head; the valid choices are listed.
    """
    energy_heads = [name for name in network.head_sizes if name.split("/")[0] == "energy"]
    variants = [name.partition("/")[2] for name in energy_heads]
    choices = ", ".join(map(repr, variants))
    # the plain head "energy" has the empty variant
    if variant is None:
        if "" not in variants:
            raise ValueError(
                "`variant` is needed, as the model has no plain energy head: valid choices are"
                f" {choices}"
            )
        return
    if variant not in variants:
        raise ValueError(f"`variant` is {variant!r}: valid choices are {choices}")
    network.set_energy_head(f"energy/{variant}" if variant else "energy")


def symmetrised(network: AtomisticModel, card: store.Card, name: str | None) -> AtomisticModel:
    """The model with a symmetriser.

    Parameters
    ----------
    network:
        Model to symmetrise.
    card:
        What its calculator folder says about it.
    name:
        Name of the symmetriser, None for that of the calculator folder.

    Raises
    ------
    ValueError
        The name is unknown, or the model was trained in the frames of another symmetriser.
    """
    if name is None:
        name = card.symmetrise
    trained_with = card.symmetrise.partition(":")[0]
    in_frames = card.provenance.get("augmentation") == "frames"
    if in_frames and name.partition(":")[0] != trained_with:
        raise ValueError(
            f"`symmetrise` is {name!r}, but `{card.name}` was trained in the frames of"
            f" {trained_with!r} and means nothing outside them: leave `symmetrise` out, or choose a"
            f" form of {trained_with!r}"
        )
    return symmetrisers.symmetrise(network, name)


def direct_heads(network: AtomisticModel, non_conservative: bool | str) -> dict[str, str]:
    """Heads that replace derivatives: {"forces": head, "stress": head}, both optional.

    Parameters
    ----------
    network:
        Model with these heads.
    non_conservative:
        False, True, "forces" or "stress".

    Raises
    ------
    ValueError
        The model has no such head.
    """
    heads = network.head_sizes
    variant = network.energy_head.partition("/")[1:]  # ("/", "NAME") or ("", "")
    direct = {}
    for replaced in REPLACED[non_conservative]:
        valid = ["".join((base, *variant)) for base in DIRECT_HEADS[replaced]]
        existing = [head for head in valid if head in heads]
        if not existing:
            raise ValueError(
                f"`non_conservative` is {non_conservative!r}, but the model has no head for direct"
                f" {replaced} ({' or '.join(valid)}): its heads are {', '.join(heads) or 'energy'}"
            )
        direct[replaced] = existing[0]
    return direct
