"""Average over a quadrature of all rotations, with inversion unless it is left out.

Order L has L (2L - 1)^2 rotations and removes everything that varies with up to 2L - 2 powers of
the orientation.
"""

from __future__ import annotations

import re

from .. import rotations
from ..models.base import AtomisticModel
from ._averages import AveragedModel

LARGEST = 20  # order: 30420 rotations


def parse(argument: str = "") -> tuple[int, bool]:
    """Order L of the quadrature, and whether inversion is included.

    Parameters
    ----------
    argument:
        "L", an order of 1 to 20, with inversion; "L:proper" without.

    Raises
    ------
    ValueError
        The argument has another form, or the order is out of range.
    """
    match = re.fullmatch(r"(\d{1,2})(:proper)?", argument)
    if not match or not 1 <= int(match[1]) <= LARGEST:
        raise ValueError(
            f"`symmetrise` is {'quadrature:' + argument!r}: expected quadrature:L or"
            f" quadrature:L:proper with an order L of 1 to {LARGEST}"
        )
    return int(match[1]), match[2] is None


def wrap(model: AtomisticModel, argument: str = "") -> AveragedModel:
    """The model, averaged over a quadrature.

    Parameters
    ----------
    model:
        Model that is averaged.
    argument:
        As for `parse`.
    """
    order, inversion = parse(argument)
    elements, weights = rotations.quadrature(order)
    if inversion:
        elements = rotations.with_inversion(elements)
        weights = weights.repeat(2) / 2
    return AveragedModel(model, elements, weights)
