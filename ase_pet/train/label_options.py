"""Names and units of labels as options of the command line."""

from __future__ import annotations

import difflib
from typing import Any

from .label_names import MEANINGS
from .recipe import Keys, Units, factors_of
from .schema import keys


def parse(text: str | None) -> Keys:
    """Names of labels of a text such as "energy=REF_energy,forces=REF_forces".

    Parameters
    ----------
    text:
        Value of an option; None for names of ASE.

    Raises
    ------
    ValueError
        The text has another form or an unknown kind of label.
    """
    given = {}
    for part in (text or "").split(","):
        key, separator, name = part.partition("=")
        if part and not (separator and key.strip() in MEANINGS):
            raise ValueError(f"`--keys` is {text!r}: {_wrong_key(part, key.strip(), separator)}")
        if part:
            given[key.strip()] = name.strip()
    return Keys(**given)


def _wrong_key(part: str, key: str, separator: str) -> str:
    """What is wrong with a part of a text of keys, and what is expected."""
    expected = f"expected such as energy=REF_energy,forces=REF_forces, of {', '.join(MEANINGS)}"
    if not separator:
        return f"{part.strip()!r} has no `=`; {expected}"
    close = difflib.get_close_matches(key, MEANINGS, n=1)
    hint = f", did you mean `{close[0]}`?" if close else ""
    return f"there is no key `{key}`{hint or ';'} {expected}"


def parse_units(text: str | None) -> Units:
    """Units of a text such as "energy=Hartree,length=Bohr".

    Parameters
    ----------
    text:
        Value of an option; None for the units of ASE.

    Raises
    ------
    ValueError
        The text has another form, or an unknown unit.
    """
    names = [name for name in keys(Units) if name != "files"]
    given: dict[str, Any] = {}
    for part in filter(None, (text or "").split(",")):
        key, separator, unit = part.partition("=")
        if not separator or key.strip() not in names:
            raise ValueError(
                f"`--units` is {text!r}: expected such as energy=Hartree,length=Bohr, of"
                f" {', '.join(names)}"
            )
        given[key.strip()] = unit.strip()
    chosen = Units(**given)
    factors_of(chosen)
    return chosen
