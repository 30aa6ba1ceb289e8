"""Columns of numbers in NumPy's .npy format, whose header must fit the bytes that follow it."""

from __future__ import annotations

import re

import numpy as np

# The header without spaces: one column of float32, float64, int32 or int64 numbers, or labels of
# metatensor, which are int32 with a name.
HEADER = re.compile(
    r"\{'descr':(?P<dtype>'<[fi][48]'|\[\('\w+','<i4'\),?\]),'fortran_order':(?:False|True),"
    r"'shape':\((?P<rows>\d{1,9})(?:,(?P<columns>\d))?,?\),?\}"
)
LABELS = "<i4"
MAGIC = b"\x93NUMPY\x01\x00"


def read_column(content: bytes, name: str) -> np.ndarray:
    """(rows,) array of float32, float64, int32 or int64 numbers of a .npy file.

    NumPy's own reader allocates what a header claims, and evaluates it as Python text. Here the
    header is matched with the forms that occur.

    Parameters
    ----------
    content:
        Bytes of the file.
    name:
        Description of the file for messages.

    Raises
    ------
    ValueError
        The file does not hold one column of such numbers.
    """
    length = int.from_bytes(content[8:10], "little")
    start = 10 + length  # magic string (8 bytes), length (2 bytes), header, numbers
    text = content[10:start].decode("latin1")
    without_spaces = re.sub(r"\s", "", text)
    header = HEADER.fullmatch(without_spaces)
    if content[:8] != MAGIC or header is None or header["columns"] not in (None, "1"):
        raise ValueError(f"{name} is not one column of numbers or labels in .npy format 1.0")
    described = header["dtype"]
    dtype = np.dtype(described.strip("'") if described.startswith("'") else LABELS)
    rows = int(header["rows"])
    n_bytes = len(content) - start
    if rows * dtype.itemsize != n_bytes:
        raise ValueError(f"{name} has {n_bytes} bytes, its header claims {header['rows']} rows")
    return np.frombuffer(content, dtype, offset=start)
