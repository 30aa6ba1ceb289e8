"""Tables that metatrain keeps inside its checkpoints as bytes: a zip of .npy arrays."""

import io
import math
import zipfile

import numpy as np

from ._archive import ZIP_ERRORS

LARGEST = 1 << 24  # bytes


def read_block(data, what):
    """(labels, values) of a table with one block: labels (rows,) int array of its one sample name, values (rows,).

    data: bytes; what: its name, for messages. Raises ValueError for anything else.
    """
    if len(data) > LARGEST:
        raise ValueError(f"`{what}` has {len(data)} bytes: refused")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            arrays = {entry.filename: _array(archive, entry, len(data)) for entry in archive.infolist()[:100]}
        values, labels = arrays["blocks/0/values.npy"], arrays["blocks/0/samples.npy"]
    except ZIP_ERRORS as error:
        raise ValueError(f"`{what}` is damaged ({error})") from None
    if "blocks/1/values.npy" in arrays or labels.dtype.names is None or len(labels.dtype.names) != 1:
        raise ValueError(f"`{what}` has several blocks or labels: not served")
    if values.dtype != np.float64 or values.shape != (len(labels), 1) or not np.isfinite(values).all():
        raise ValueError(f"`{what}` is not one column of finite numbers")
    return labels[labels.dtype.names[0]], values[:, 0]


def _array(archive, entry, size):
    """Array of a .npy record. Its header is compared with the size of the record before anything is allocated."""
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size or entry.file_size > size:
        raise ValueError(f"record {entry.filename} is compressed or claims more bytes than there are")
    stream = io.BytesIO(archive.read(entry))
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError(f"record {entry.filename} is not a .npy array of version 1.0")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    data = stream.read()
    if dtype.hasobject or fortran and len(shape) > 1 and min(shape) > 1 or math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"record {entry.filename} does not hold the numbers that it claims")
    return np.frombuffer(data, dtype=dtype).reshape(shape)
