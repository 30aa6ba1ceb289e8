"""Mean over a quadrature of all rotations, with inversion unless it is left out.

Order L takes L (2L - 1)^2 rotations and removes what varies with up to 2L - 2 powers of the
orientation.
"""

import re

from .. import rotations
from . import _average

LARGEST = 20  # order: 30420 rotations


def wrap(model, argument=""):
    """The model, averaged. argument: "L", an order of 1 to 20, with inversion.

    "L:proper" without.
    """
    found = re.fullmatch(r"(\d{1,2})(:proper)?", argument)
    if not found or not 1 <= int(found[1]) <= LARGEST:
        raise ValueError(
            f"`symmetrise` is {'quadrature:' + argument!r}: expected quadrature:L or"
            f" quadrature:L:proper with an order L of 1 to {LARGEST}"
        )
    elements, weights = rotations.quadrature(int(found[1]))
    if not found[2]:
        elements, weights = rotations.with_inversion(elements), weights.repeat(2) / 2
    return _average.Model(model, elements, weights)
