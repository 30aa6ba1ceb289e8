"""Arguments that must be one of a few values."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping


def one_of(name: str, value: object, valid: Collection[object]) -> None:
    """Raise ValueError with the valid choices unless a value is one of them.

    Parameters
    ----------
    name:
        Name of the argument as users write it, such as "dtype" or "--method".
    value:
        Value of the argument.
    valid:
        Valid values, in the order in which the error lists them.
    """
    if value not in valid:
        choices = ", ".join(map(str, valid))
        raise ValueError(f"`{name}` is {value!r}: valid choices are {choices}")


def one_of_each(settings: object, valid: Mapping[str, Collection[object]]) -> None:
    """Raise ValueError for the first of some settings whose value is not a valid one.

    Parameters
    ----------
    settings:
        Object with the settings as attributes.
    valid:
        Valid values by name of the setting.
    """
    for name, values in valid.items():
        one_of(name, getattr(settings, name), values)


def closest(name: str, valid: Collection[str]) -> str:
    """Hint " (did you mean `...`?)" at the closest valid name, empty where none is close.

    Parameters
    ----------
    name:
        Unknown name.
    valid:
        Valid names.
    """
    matches = difflib.get_close_matches(name, valid, n=1)
    return f" (did you mean `{matches[0]}`?)" if matches else ""
