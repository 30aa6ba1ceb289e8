"""Validation of PETCalculator's arguments: device, model, heads, symmetriser."""

from __future__ import annotations

import contextlib
import copy
import numbers
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from . import store, symmetrisers
from .calculator_info import CalculatorInfo, warn_of_heads
from .choices import shown
from .models.base import AtomisticModel, adapted
from .orientations import name_of

LARGEST_SKIN = 10.0  # A; the number of pairs grows with the cube of cutoff and skin
MOST_ATOMS = 10**9  # of a batch
MOST_LETTERS = 200  # of a name
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
        Must be "auto", True or False.
    """
    if not isinstance(compile, bool) and not (isinstance(compile, str) and compile == "auto"):
        raise ValueError(f"`compile` is {shown(compile)}: valid choices are 'auto', True, False")
    is_number = isinstance(skin, numbers.Real) and not isinstance(skin, bool)
    if not is_number or not 0 <= skin <= LARGEST_SKIN:
        raise ValueError(
            f"`skin` is {shown(skin)}: expected a length in A, 0 or more, at most {LARGEST_SKIN:g}"
        )
    if batch_atoms is None:
        return
    if not _is_whole(batch_atoms) or not 1 <= batch_atoms <= MOST_ATOMS:
        raise ValueError(
            f"`batch_atoms` is {shown(batch_atoms)}: expected a number of atoms, 1 or more, or None"
        )


def check_choices(
    dtype: Any, symmetrise: Any, variant: Any, non_conservative: Any, orientations: Any
) -> None:
    """Raise ValueError for a choice that no model has, before any model is loaded.

    Parameters
    ----------
    dtype:
        Must be "float32", "float64" or None.
    symmetrise:
        Must be the name of a symmetriser, with an argument that it takes, or None.
    variant:
        Must be a text or None.
    non_conservative:
        Must be False, True, "forces" or "stress".
    orientations:
        Must be a number of axes, the name of a grid, or None.
    """
    if dtype is not None:
        store.dtype_of(dtype)
    if symmetrise is not None:
        _check_text("symmetrise", symmetrise, "the name of a symmetriser such as 'ecse'")
        symmetrisers.check(symmetrise)
    if variant is not None:
        _check_text("variant", variant, "the name of an energy head")
    # `type` first: arrays cannot be compared with one text
    if not isinstance(non_conservative, bool | str) or non_conservative not in REPLACED:
        raise ValueError(
            f"`non_conservative` is {shown(non_conservative)}: "
            "valid choices are False, True, 'forces', 'stress'"
        )
    if _is_whole(orientations):
        name_of(orientations)
    elif orientations is not None:
        what = "a number of axes, or the name of a grid such as 'dodecahedral'"
        _check_text("orientations", orientations, what)


def _is_whole(value: Any) -> bool:
    """Whether a value is a whole number; True and False are numbers of Python."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _check_text(name: str, value: Any, what: str) -> None:
    """Raise ValueError unless a value is a short text, of which `what` is expected."""
    if not isinstance(value, str) or len(value) > MOST_LETTERS:
        raise ValueError(f"`{name}` is {shown(value)}: expected {what}, or None")


def displacements(given: Any, n_atoms: int) -> tuple[list[int], np.ndarray]:
    """Indices (k) of atoms and their displacements (k, 3) in A.

    Parameters
    ----------
    given:
        Pairs of an index and a displacement.
    n_atoms:
        Number of atoms of the structure.

    Raises
    ------
    ValueError
        An index is no atom, or a displacement is not three finite lengths.
    """
    atoms = []
    shifts = []
    try:
        for index, shift in given:
            atoms.append(index)
            shifts.append(np.asarray(shift, dtype=float))
    except (TypeError, ValueError):
        raise ValueError(
            "`displacements`: expected pairs of an index and three lengths in A"
        ) from None
    for shift in shifts:
        # finite lengths only: an atom at NaN has no neighbours
        if shift.shape != (3,) or not np.isfinite(shift).all():
            raise ValueError("`displacements`: expected three finite lengths in A for each atom")
    return indices("displacements", atoms, n_atoms), np.array(shifts)


def indices(name: str, given: Any, n_atoms: int) -> list[int]:
    """Indices of atoms as plain integers.

    Parameters
    ----------
    name:
        Name of the argument.
    given:
        Whole numbers from 0 to n_atoms - 1.
    n_atoms:
        Number of atoms of the structure.

    Raises
    ------
    ValueError
        An entry is no index of an atom, such as 1.5, -1 or True.
    """
    try:
        every = list(given)
    except TypeError:
        every = [None]
    for index in every:
        whole = _is_whole(index)
        if not whole or not 0 <= index < n_atoms:
            raise ValueError(
                f"`{name}`: expected indices of atoms from 0 to {n_atoms - 1}, got {shown(index)}"
            )
    return [int(index) for index in every]


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
    if isinstance(name, str) and name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    chosen = _device_of_torch(name)
    # torch knows more kinds of devices than models were tested on, and any number of CPUs
    known = chosen is not None and (chosen.type == "cuda" or str(chosen) in ("cpu", "cpu:0"))
    if chosen is None or not known:
        raise ValueError(f"`device` is {shown(name)}: valid choices are auto, cpu, cuda, cuda:N")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"`device` is {name!r}, but this torch sees {torch.cuda.device_count() or 'no'} CUDA"
            " devices: use 'cpu' or 'auto'"
        )
    return chosen


def _device_of_torch(name: Any) -> torch.device | None:
    """What torch makes of a name, None for nothing; torch takes numbers, too."""
    if not isinstance(name, str | torch.device):
        return None
    with contextlib.suppress(RuntimeError):
        return torch.device(name)
    return None


def model(given: str | Path | nn.Module) -> tuple[AtomisticModel, store.Card]:
    """The model and what its calculator folder says about it.

    Parameters
    ----------
    given:
        Name, path, or a module, which is copied and adapted to the contract of models.
    """
    if isinstance(given, str | Path):
        return store.load(given)
    if not isinstance(given, nn.Module):
        raise ValueError(
            f"`model` is {shown(given)}: expected the name or path of a calculator, or a module"
        )
    dtype = next((parameter.dtype for parameter in given.parameters()), torch.float64)
    described = store.Card(name=type(given).__name__, dtype=str(dtype).removeprefix("torch."))
    return adapted(copy.deepcopy(given)), described


def oriented(
    network: AtomisticModel, orientations: str | int | None, untrained: bool
) -> AtomisticModel:
    """The model on another grid of orientations.

    Parameters
    ----------
    network:
        Model to change.
    orientations:
        Name of a grid or number of axes, None for the grid of the model.
    untrained:
        Whether other grids than that of the training are allowed.

    Raises
    ------
    ValueError
        The model was not trained on that grid, and `untrained` is False.
    """
    if not isinstance(untrained, bool):
        raise ValueError(f"`orientations_untrained` is {shown(untrained)}: expected True or False")
    if orientations is None:
        return network
    other = network.with_orientations(orientations)
    if not untrained and not network.was_trained_on(other):
        grids = ", ".join(map(repr, network.training_grids))
        raise ValueError(
            f"`orientations` is {shown(orientations)}, a grid that the model was not trained on"
            f" (choose {grids}, or leave it out): on other grids it is another function. The error"
            " of the forces of ethanol-ponita is 727 meV/A on 64 axes and 7.9 on its own."
            " orientations_untrained=True (--orientations-untrained) allows it"
        )
    return other


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


def full_name(name: str | None, card: store.Card) -> str | None:
    """Name of a symmetriser with the form of its weights, as `symmetrisers.full_name`; or None.

    Parameters
    ----------
    name:
        Name that a user gave, None for that of the calculator folder.
    card:
        What the calculator folder says, whose form of the same symmetriser comes first.
    """
    if name is None:
        return None
    return symmetrisers.full_name(name, card.symmetrise)


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
        name = symmetrisers.of_file(card.symmetrise)
    trained_with = card.symmetrise.partition(":")[0]
    in_frames = card.provenance.get("augmentation") == "frames"
    if in_frames and name.partition(":")[0] != trained_with:
        raise ValueError(
            f"`symmetrise` is {name!r}, but `{card.name}` was trained in the frames of"
            f" {trained_with!r} and means nothing outside them: leave `symmetrise` out, or choose a"
            f" form of {trained_with!r}"
        )
    return symmetrisers.symmetrise(network, name)


def direct_heads(
    network: AtomisticModel, non_conservative: bool | str, card: CalculatorInfo
) -> dict[str, str]:
    """Heads that replace derivatives: {"forces": head, "stress": head}, both optional.

    A warning says where they, or the energy head, are wrong after a fine-tuning of others.

    Parameters
    ----------
    network:
        Model with these heads.
    non_conservative:
        False, True, "forces" or "stress".
    card:
        Description of the model.

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
    warn_of_heads(network, [network.energy_head, *direct.values()], card)
    return direct
