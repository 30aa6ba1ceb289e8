"""What PETCalculator is given, made into a device, a model and its heads.

Or refused with the valid choices.
"""

import copy
import math
import numbers

import torch
from torch import nn

from . import store, symmetrisers
from .models.base import adapted

DIRECT_HEADS = {
    "forces": ("non_conservative_forces", "non_conservative_force"),
    "stress": ("non_conservative_stress",),
}


def check_numbers(skin, batch_atoms, compile):
    """Raise ValueError unless skin is a length in A, batch_atoms a number of atoms or None.

    Compile "auto" or False.
    """
    if not isinstance(skin, numbers.Real) or not 0 <= skin < math.inf:
        raise ValueError(f"`skin` is {skin!r}: expected a length in A, 0 or more")
    if batch_atoms is not None and (
        not isinstance(batch_atoms, numbers.Integral) or batch_atoms < 1
    ):
        raise ValueError(
            f"`batch_atoms` is {batch_atoms!r}: expected a number of atoms, 1 or more, or None"
        )
    if compile not in ("auto", False):
        raise ValueError(f"`compile` is {compile!r}: valid choices are 'auto', False")


def model(given):
    """(model, Card) of a name, a path, or a module, which is copied.

    Raises what `store.load` does.
    """
    if not isinstance(given, nn.Module):
        return store.load(given)
    dtype = next((parameter.dtype for parameter in given.parameters()), torch.float64)
    return adapted(copy.deepcopy(given)), store.Card(
        name=type(given).__name__, dtype=str(dtype).removeprefix("torch.")
    )


def oriented(network, orientations):
    """The model with a grid of that name or number of axes, None for its own.

    Raises ValueError for one without axes.
    """
    if orientations is None:
        return network
    if isinstance(orientations, bool) or not isinstance(orientations, str | numbers.Integral):
        raise ValueError(
            f"`orientations` is {orientations!r}: expected a number of axes, or the name of a grid"
            " such as 'dodecahedral'"
        )
    return network.with_orientations(orientations)


def device(name):
    """torch.device of a name, or of "auto".

    Raises ValueError for an unknown name or a device that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(name)
    except (RuntimeError, TypeError):
        found = None
    if found is None or found.type not in ("cpu", "cuda"):
        raise ValueError(f"`device` is {name!r}: valid choices are auto, cpu, cuda, cuda:N")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"`device` is {name!r}, but this torch sees {torch.cuda.device_count() or 'no'} CUDA"
            " devices: use 'cpu' or 'auto'"
        )
    return found


def select_head(network, variant):
    """Point the model at one of its energy heads; refuse heads that it does not have."""
    heads = network.head_sizes
    variants = [name.partition("/")[2] for name in heads if name.split("/")[0] == "energy"]
    if variant is not None:
        if variant not in variants:
            raise ValueError(
                f"`variant` is {variant!r}: valid choices are {', '.join(map(repr, variants))}"
            )
        network.energy_head = f"energy/{variant}" if variant else "energy"
    elif "" not in variants:
        raise ValueError(
            "`variant` is needed, as the model has no plain energy head: valid choices are "
            + ", ".join(map(repr, variants))
        )


def symmetrised(network, card, name):
    """The model with the symmetriser of that name, None for the card's own."""
    name, own = card.symmetrise if name is None else name, card.symmetrise.partition(":")[0]
    if card.provenance.get("augmentation") == "frames" and name.partition(":")[0] != own:
        raise ValueError(
            f"`symmetrise` is {name!r}, but `{card.name}` was trained in the frames of {own!r} and"
            f" means nothing outside them: leave `symmetrise` out, or choose a form of {own!r}"
        )
    return symmetrisers.symmetrise(network, name)


def direct_heads(network, non_conservative):
    """{"forces": head, "stress".

    Head} of what is read from a head of the model in place of a derivative.
    """
    if non_conservative not in (False, True, "forces", "stress"):
        raise ValueError(
            f"`non_conservative` is {non_conservative!r}: "
            "valid choices are False, True, 'forces', 'stress'"
        )
    heads = network.head_sizes
    variant = network.energy_head.partition("/")[1:]
    direct = {}
    for name in {False: (), True: ("forces", "stress")}.get(non_conservative, (non_conservative,)):
        valid = ["".join((base, *variant)) for base in DIRECT_HEADS[name]]
        found = [head for head in valid if head in heads]
        if not found:
            raise ValueError(
                f"`non_conservative` is {non_conservative!r}, but the model has no head for direct"
                f" {name} ({' or '.join(valid)}): its heads are {', '.join(heads) or 'energy'}"
            )
        direct[name] = found[0]
    return direct
