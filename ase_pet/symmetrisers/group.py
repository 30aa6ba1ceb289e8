"""Average over a finite group: the rotations of an octahedron or an icosahedron.

Inversion is included unless it is left out. Energies are exactly symmetric under the group, whose
axes are fixed: see `rotations`.
"""

from __future__ import annotations

import torch

from .. import rotations
from ..models.base import AtomisticModel
from ._averages import AveragedModel

GROUPS = {"O": rotations.octahedral, "I": rotations.icosahedral}  # 24 and 60 rotations
CHOICES = [f"group:{name}{ending}" for name in GROUPS for ending in ("", ":proper")]


def parse(argument: str = "") -> tuple[str, bool]:
    """Key of `GROUPS`, and whether inversion is included.

    Parameters
    ----------
    argument:
        "O" or "I" with inversion, "O:proper" or "I:proper" without.

    Raises
    ------
    ValueError
        There is no such group.
    """
    if f"group:{argument}" not in CHOICES:
        raise ValueError(
            f"`symmetrise` is {'group:' + argument!r}: valid choices are {', '.join(CHOICES)}"
        )
    name, _, proper = argument.partition(":")
    return name, not proper


def wrap(model: AtomisticModel, argument: str = "") -> AveragedModel:
    """The model, averaged over a group.

    Parameters
    ----------
    model:
        Model that is averaged.
    argument:
        As for `parse`.
    """
    name, inversion = parse(argument)
    elements = GROUPS[name]()
    if inversion:
        elements = rotations.with_inversion(elements)
    weights = torch.full((len(elements),), 1 / len(elements), dtype=torch.float64)
    return AveragedModel(model, elements, weights)
