"""TOML files of strangers: read with bounded work and memory.

The parser of Python takes time and memory that grow with the square of the number of parts of a
dotted key, and fails with RecursionError for deeply nested brackets. Here a file is refused before
it is parsed if it is larger, deeper or longer than any that was written for ase_pet.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

LARGEST = 1 << 20  # bytes
DEEPEST = 20  # brackets that are open at the same place
MOST_PARTS = 20  # of a dotted key
# strings of each kind, closed or not, and comments
OPAQUE = re.compile(
    r'"""(?:[^\\]|\\.)*?(?:"""|\Z)'
    r"|'''.*?(?:'''|\Z)"
    r'|"(?:[^"\\\n]|\\.)*"?'
    r"|'[^'\n]*'?"
    r"|#[^\n]*",
    re.DOTALL,
)
BRACKETS = re.compile(r"[\[\]{}]")
BETWEEN_KEYS = re.compile(r"[=,{}\n]")


def read(path: Path | str) -> dict[str, Any]:
    """Content of a TOML file.

    Parameters
    ----------
    path:
        Path of the file.

    Raises
    ------
    FileNotFoundError
        There is no such file, or it is a folder.
    ValueError
        The file is no TOML in UTF-8, or too large, too deep or too long to be one of ours.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"`{path}` does not exist or is no file")
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"it has more than {LARGEST} bytes: refused")
    try:
        text = data.decode("utf-8-sig")  # some editors begin a file with a byte order mark
        _check_work(text)
        return tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not text in UTF-8 (byte {error.start})") from None


def _check_work(text: str) -> None:
    """Raise ValueError for a text whose parsing would take long."""
    bare = OPAQUE.sub("s", text)  # strings may hold any character
    depth = 0
    for bracket in BRACKETS.findall(bare):
        if bracket in "[{":
            depth += 1
        else:
            depth -= 1
        if depth > DEEPEST:
            raise ValueError(f"more than {DEEPEST} nested brackets are refused")
    dots = [part.count(".") for part in BETWEEN_KEYS.split(bare)]
    most = max(dots) + 1
    if most > MOST_PARTS:
        raise ValueError(f"a key of {most} parts is refused: expected {MOST_PARTS} at most")
