"""Average over a finite group: the rotations of an octahedron or an icosahedron.

    E(X) = mean over g of E(Q_g R X)

R is a fixed rotation that turns the axes of the group away from those of crystals. A crystal along
the axes of the group is symmetric under rotations of the group already: the average over them does
nothing, and the error stays. So energies are exactly symmetric under the rotations R^-1 Q_g R, with
"aligned" (R = 1) under the rotations Q_g about x, y and z. Inversion is included unless it is left
out.
"""

from __future__ import annotations

import torch

from .. import rotations
from ..models.base import AtomisticModel
from ._averages import AveragedModel

GROUPS = {"O": rotations.octahedral, "I": rotations.icosahedral}  # 24 and 60 rotations
AXES = ("aligned", "generic")
ENDINGS = ("", *(f":{word}" for word in AXES))
CHOICES = [
    f"group:{name}{proper}{axes}"
    for name in GROUPS
    for proper in ("", ":proper")
    for axes in ENDINGS
]


class RotatedGroupAverage(AveragedModel):
    """Average over a group whose axes are not x, y and z.

    It is a class of its own, so that its fingerprint differs from that of the aligned group.
    """


def parse(argument: str = "") -> tuple[str, bool, bool]:
    """Key of `GROUPS`, whether inversion is included, and whether the axes are x, y and z.

    Parameters
    ----------
    argument:
        "O" or "I", with ":proper" for rotations without inversion, and ":aligned" for the axes x, y
        and z; ":generic" for the others is the default.

    Raises
    ------
    ValueError
        There is no such group.
    """
    if f"group:{argument}" not in CHOICES:
        raise ValueError(
            f"`symmetrise` is {'group:' + argument!r}: valid choices are {', '.join(CHOICES)}"
        )
    name, *words = argument.split(":")
    return name, "proper" not in words, "aligned" in words


def of_file(argument: str) -> str:
    """The argument in a calculator folder or a recipe, whose groups have the axes x, y and z.

    Files that do not name the axes mean what they meant when there were no others; files that want
    others say ":generic".

    Parameters
    ----------
    argument:
        As for `parse`.
    """
    return argument if argument.endswith(AXES) else f"{argument}:aligned"


def wrap(model: AtomisticModel, argument: str = "") -> AveragedModel:
    """The model, averaged over a group.

    Parameters
    ----------
    model:
        Model that is averaged.
    argument:
        As for `parse`.
    """
    name, inversion, aligned = parse(argument)
    elements = GROUPS[name]()
    if inversion:
        elements = rotations.with_inversion(elements)
    weights = torch.full((len(elements),), 1 / len(elements), dtype=torch.float64)
    if aligned:
        return AveragedModel(model, elements, weights)
    return RotatedGroupAverage(model, elements @ rotations.generic(name), weights)
