"""Columns of numbers in NumPy's .npy format, whose header must fit the bytes that follow it."""

import re

import numpy as np

HEADER = re.compile(
    r"\{'descr':(?P<dtype>'<[fi][48]'|\[\('\w+','<i4'\),?\]),'fortran_order':(?:False|True),"
    r"'shape':\((?P<rows>\d{1,9})(?:,(?P<columns>\d))?,?\),?\}"
)  # without spaces


def read_column(content, name):
    """(rows,) array of float32, float64, int32 or int64 numbers, or int32 labels, from the bytes of
    a .npy file.

    NumPy's reader allocates what a header claims and evaluates it as Python text; here it is
    matched with the forms that occur. name: what the bytes are, for messages. Raises ValueError for
    anything else.
    """
    start = 10 + int.from_bytes(content[8:10], "little")
    header = HEADER.fullmatch(re.sub(r"\s", "", content[10:start].decode("latin1")))
    if (
        content[:8] != b"\x93NUMPY\x01\x00"
        or header is None
        or header["columns"] not in (None, "1")
    ):
        raise ValueError(f"{name} is not one column of numbers or labels in .npy format 1.0")
    dtype = np.dtype(header["dtype"].strip("'") if header["dtype"].startswith("'") else "<i4")
    if int(header["rows"]) * dtype.itemsize != len(content) - start:
        raise ValueError(
            f"{name} has {len(content) - start} bytes, its header claims {header['rows']} rows"
        )
    return np.frombuffer(content, dtype, offset=start)
