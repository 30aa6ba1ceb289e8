"""What a structure of an extended XYZ file says twice, or not at all."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from ase.data import atomic_numbers

QUOTED = r'"(\\.|[^"\\])*"|' + r"'(\\.|[^'\\])*'" + r"|\{[^}]*\}|\[[^\]]*\]"
KEY = r"(?:^|\s)([A-Za-z_][^\s=\"]*)\s*="
POSITIONS = ("pos", "positions")
SYMBOLS = ("species", "symbols")
NUMBERS = ("Z", "numbers")


def repeated(comment: str) -> list[str]:
    """Keys that the comment line of a structure has more than once; ASE takes the last value.

    Parameters
    ----------
    comment:
        Comment line.
    """
    without_values = re.sub(QUOTED, "_", comment)
    counts = Counter(re.findall(KEY, without_values))
    return [key for key, count in counts.items() if count > 1]


def contradiction(columns: str, rows: Sequence[str]) -> str:
    """What is wrong with the columns of a structure, empty if nothing is.

    Parameters
    ----------
    columns:
        Value of `Properties`, such as "species:S:1:pos:R:3".
    rows:
        Lines of the atoms.
    """
    parts = columns.split(":")
    starts = {}
    start = 0
    for name, count in zip(parts[::3], parts[2::3], strict=False):
        starts[name] = start
        start += int(count)
    # ASE puts all atoms at 0, and takes unknown elements for X
    if not any(name in starts for name in POSITIONS):
        return f"`Properties` has no `pos` (it has {', '.join(starts)}): expected positions in A"
    symbol = [starts[name] for name in SYMBOLS if name in starts]
    number = [starts[name] for name in NUMBERS if name in starts]
    if not symbol and not number:
        return f"`Properties` has no `species` (it has {', '.join(starts)})"
    if not symbol or not number:
        return ""
    for atom, row in enumerate(rows):
        values = row.split()
        element = values[symbol[0]].capitalize()
        stated = values[number[0]]
        if element in atomic_numbers and str(atomic_numbers[element]) != stated:
            return f"atom {atom} has the species {element}, but Z {stated}"
    return ""
