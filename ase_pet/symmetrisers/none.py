"""No symmetrisation: the model as it was trained."""

from __future__ import annotations

from ..models.base import AtomisticModel


def parse(argument: str = "") -> None:
    """None: there are no settings.

    Parameters
    ----------
    argument:
        Empty.

    Raises
    ------
    ValueError
        The argument is not empty.
    """
    if argument:
        raise ValueError(f"`symmetrise` 'none' takes no argument, got {argument!r}")


def wrap(model: AtomisticModel, argument: str = "") -> AtomisticModel:
    """The model itself.

    Parameters
    ----------
    model:
        Model that is returned.
    argument:
        Empty.
    """
    parse(argument)
    return model
