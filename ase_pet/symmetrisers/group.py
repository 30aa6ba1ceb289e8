"""Mean over a finite group: the rotations of an octahedron or of an icosahedron, with inversion
unless it is left out.

Energies come out exactly symmetric under the group; for the fixed axes of the group, see
`rotations`.
"""

import torch

from .. import rotations
from . import _average

GROUPS = {"O": rotations.octahedral, "I": rotations.icosahedral}  # 24 and 60 rotations
CHOICES = [f"group:{name}{ending}" for name in GROUPS for ending in ("", ":proper")]


def wrap(model, argument=""):
    """The model, averaged. argument: "O" or "I", both with inversion.

    "O:proper" or "I:proper" without.
    """
    name, _, rest = argument.partition(":")
    if f"group:{argument}" not in CHOICES:
        raise ValueError(
            f"`symmetrise` is {'group:' + argument!r}: valid choices are {', '.join(CHOICES)}"
        )
    elements = GROUPS[name]() if rest else rotations.with_inversion(GROUPS[name]())
    return _average.Model(
        model, elements, torch.full((len(elements),), 1 / len(elements), dtype=torch.float64)
    )
