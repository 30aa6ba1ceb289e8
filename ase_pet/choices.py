"""Arguments that must be one of a few values."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping

LONGEST = 80  # characters of a value in a message


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
    # compared with its own type only: an array has no truth value, a list no hash
    if not any(isinstance(value, type(choice)) and value == choice for choice in valid):
        choices = ", ".join(map(str, valid))
        raise ValueError(f"`{name}` is {shown(value)}: valid choices are {choices}")


def shown(value: object) -> str:
    """Text of a bad value on one line, of bounded length and without characters of control.

    Parameters
    ----------
    value:
        What was given.
    """
    # a text of any length, or a number of any number of digits
    if isinstance(value, str | bytes):
        value = value[:LONGEST]
    if isinstance(value, int) and abs(value) > 10**LONGEST:
        return f"a number of {value.bit_length()} bits"
    text = " ".join(repr(value).split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


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
