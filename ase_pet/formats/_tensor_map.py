"""Tables that metatrain keeps inside its checkpoints as bytes: a zip of .npy arrays."""

import io
import re
import zipfile

import numpy as np

from ._archive import ZIP_ERRORS

LARGEST = 1 << 24  # bytes
HEADER = re.compile(r"\{'descr':(?P<dtype>'<f8'|\[\('\w+','<i4'\),?\]),'fortran_order':(?:False|True),"
                    r"'shape':\((?P<rows>\d{1,9})(?:,(?P<columns>\d))?,?\),?\}")  # without spaces


def read_block(data, name):
    """(labels, values) of a table with one block of one column: what each row is for (rows,) int, values (rows,) float.

    data: bytes; name: of the table, for messages. Raises ValueError for anything else.
    """
    if len(data) > LARGEST:
        raise ValueError(f"`{name}` has {len(data)} bytes: refused")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            labels = _column(archive, "blocks/0/samples.npy", len(data))
            values = _column(archive, "blocks/0/values.npy", len(data))
            several = "blocks/1/values.npy" in archive.namelist()
    except ZIP_ERRORS as error:
        raise ValueError(f"`{name}` is damaged ({error})") from None
    if several:
        raise ValueError(f"`{name}` has several blocks: not served")
    if labels.dtype != np.int32 or values.dtype != np.float64 or len(labels) != len(values):
        raise ValueError(f"`{name}` does not hold one number for each label")
    if not np.isfinite(values).all():
        raise ValueError(f"`{name}` is not finite")
    return labels, values


def _column(archive, record, size):
    """(rows,) float64 or int32 array of a .npy record, whose header must fit its bytes.

    NumPy's reader allocates what a header claims and evaluates it as Python text; here it is matched with the two
    forms that occur.
    """
    entry = archive.getinfo(record)
    if entry.compress_type != zipfile.ZIP_STORED or not entry.compress_size == entry.file_size <= size:
        raise ValueError(f"record {record} is compressed or claims more bytes than there are")
    content = archive.read(entry)
    start = 10 + int.from_bytes(content[8:10], "little")
    header = HEADER.fullmatch(re.sub(r"\s", "", content[10:start].decode("latin1")))
    if content[:8] != b"\x93NUMPY\x01\x00" or header is None or header["columns"] not in (None, "1"):
        raise ValueError(f"record {record} is not one column of float64 or labels in .npy format 1.0")
    dtype = np.dtype("<f8" if header["dtype"] == "'<f8'" else "<i4")
    if int(header["rows"]) * dtype.itemsize != len(content) - start:
        raise ValueError(f"record {record} has {len(content) - start} bytes, its header claims {header['rows']} rows")
    return np.frombuffer(content, dtype, offset=start)
