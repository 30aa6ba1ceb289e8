"""Tables that metatrain keeps inside its checkpoints as bytes: zip archives of .npy arrays."""

from __future__ import annotations

import io
import zipfile

import numpy as np

from ._archive import ZIP_ERRORS
from ._npy import read_column

LARGEST = 1 << 24  # bytes


def read_block(data: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels (rows,) int32 and values (rows,) float64 of a table with one block of one column.

    Parameters
    ----------
    data:
        Bytes of the table.
    name:
        Name of the table for messages.

    Raises
    ------
    ValueError
        The table is damaged, or of another form.
    """
    if len(data) > LARGEST:
        raise ValueError(f"`{name}` has {len(data)} bytes: refused")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            labels = _column(archive, "blocks/0/samples.npy", len(data))
            values = _column(archive, "blocks/0/values.npy", len(data))
            members = archive.namelist()
    except ZIP_ERRORS as error:
        raise ValueError(f"`{name}` is damaged ({error})") from None
    if "blocks/1/values.npy" in members:
        raise ValueError(f"`{name}` has several blocks: not supported")
    # one value per label: atomic number, or index of a species
    right_types = labels.dtype == np.int32 and values.dtype == np.float64
    same_length = len(labels) == len(values)
    if not (right_types and same_length):
        raise ValueError(f"`{name}` does not hold one number for each label")
    if not np.isfinite(values).all():
        raise ValueError(f"`{name}` is not finite")
    return labels, values


def _column(archive: zipfile.ZipFile, record: str, size: int) -> np.ndarray:
    """(rows,) array of a .npy record in an archive of `size` bytes."""
    entry = archive.getinfo(record)
    is_stored = entry.compress_type == zipfile.ZIP_STORED
    if not is_stored or not entry.compress_size == entry.file_size <= size:
        raise ValueError(f"record {record} is compressed or claims more bytes than there are")
    return read_column(archive.read(entry), f"record {record}")
