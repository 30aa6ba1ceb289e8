"""The numbers of a model: weights, scales, composition energies and radii must be meaningful."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from ..choices import shown
from ..layers.llpr import LastLayer
from ..ranges import LARGEST_ENERGY, LARGEST_RADIUS, LARGEST_SCALE, SHOWN
from .base import AtomisticModel

LARGEST_WEIGHT = 1e15
MOST_NAMES = 4  # that a message shows


def check(model: AtomisticModel) -> None:
    """Raise ValueError that names the first number of a model that has no meaning.

    Parameters
    ----------
    model:
        Model with its weights and tables.
    """
    check_finite(model.state_dict())
    for name, module in model.named_modules():
        if isinstance(module, LastLayer):
            _check_last_layer(name, module)
    species = model.species
    for head, energies in model.compositions.items():
        what = f"composition energies of `{head}`"
        # a table for some elements only would silently give the others no energy
        _check_numbers(what, energies, species, -LARGEST_ENERGY, LARGEST_ENERGY)
    for head, scale in model.scales.items():
        what = f"scales of `{head}`"
        table = scale
        if not isinstance(scale, Mapping):
            table = dict.fromkeys(species, scale)
        _check_numbers(what, table, species, 0.0, LARGEST_SCALE)
    radii = model.covalent_radii
    # only models with a repulsion of nuclei have any
    if radii:
        _check_numbers("covalent radii", radii, species, 0.0, LARGEST_RADIUS)


def check_finite(state: Mapping[str, torch.Tensor]) -> None:
    """Raise ValueError for tensors that hold NaN, infinite or senselessly large numbers.

    Parameters
    ----------
    state:
        Tensors by name.
    """
    bad = [
        name
        for name, tensor in state.items()
        # also False for NaN
        if tensor.is_floating_point() and not bool((tensor.abs() <= LARGEST_WEIGHT).all())
    ]
    if bad:
        raise ValueError(f"{names(bad)}: not finite, or beyond {LARGEST_WEIGHT:g}")


def names(bad: Iterable[Any]) -> str:
    """The first of some names, as `a`, `b` and 3 others; of bounded length and printable.

    Parameters
    ----------
    bad:
        Names, maybe of a stranger.
    """
    every = [repr(str(name)[:SHOWN])[1:-1] for name in bad]
    shown = ", ".join(f"`{name}`" for name in every[:MOST_NAMES])
    others = len(every) - MOST_NAMES
    return f"{shown} and {others} others" if others > 0 else shown


def _check_last_layer(name: str, layer: LastLayer) -> None:
    """Raise ValueError unless standard deviations are those of a covariance."""
    if not bool((layer.factor.diagonal() > 0).all()) or not bool((layer.multiplier >= 0).all()):
        raise ValueError(f"`{name}`: its Cholesky factor or multiplier is not positive")


def _check_numbers(
    what: str, table: Mapping[int, Any], species: Iterable[int], above: float, below: float
) -> None:
    """Raise ValueError unless a table has a number between two limits for each species."""
    missing = [str(z) for z in species if z not in table]
    if missing:
        raise ValueError(f"the {what} lack atomic numbers {', '.join(missing)}")
    for z in species:
        value = table[z]
        is_number = isinstance(value, numbers.Real)
        # also False for NaN, and for infinite numbers
        is_inside = is_number and above < value < below
        if not is_inside:
            raise ValueError(
                f"the {what} are {shown(value)} for atomic number {z}: expected a finite"
                f" number between {above:g} and {below:g}"
            )
