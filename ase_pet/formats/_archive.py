"""Files of torch.save, read without torch.load: a zip of one pickle and one record of raw numbers
per storage.

Tensors stay in the file until they are asked for, and what they claim to be is compared with the
record before anything is allocated. A file cannot make this module use more memory than its own
size.
"""

import math
import struct
import sys
import zipfile
from dataclasses import dataclass

import torch

from ._unpickle import Inert, unpickle

ZIP_ERRORS = (
    zipfile.BadZipFile,
    NotImplementedError,
    EOFError,
    struct.error,
    OverflowError,
    RuntimeError,
    KeyError,
    IndexError,
    ValueError,
)
LARGEST_PICKLE = 1 << 26  # bytes
STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
DTYPES = {f"torch.{str(dtype).removeprefix('torch.')}" for dtype in STORAGES.values()}
HARMLESS = DTYPES | {
    "torch.ScriptObject",
    "torch.device",
    "torch.Size",
    "numpy.dtype",
    "_codecs.encode",
    "typing.Any",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "collections.defaultdict",
    *(
        f"{module}.{name}"
        for module in ("builtins", "__builtin__")
        for name in ("set", "list", "dict", "tuple", "str", "int", "float", "bool")
    ),
}
HARMLESS_PACKAGES = ("metatrain", "metatensor", "metatomic", "omegaconf")


@dataclass(frozen=True)
class Stored:
    """A tensor in the file.

    Dtype and number of values of its record, and which of them are its elements.
    """

    record: str
    dtype: torch.dtype
    n_values: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Archive:
    """An open file of torch.save. Every method raises ValueError for a damaged file.

    Use it in a `with` statement.
    """

    def __init__(self, path):
        try:
            self._zip = zipfile.ZipFile(path)
        except ZIP_ERRORS as error:
            raise ValueError(f"not a zip archive, or truncated ({error})") from None
        self._records = {entry.filename: entry for entry in self._zip.infolist()}
        self._read = set()
        self._check_records(path.stat().st_size)
        roots = [
            name.removesuffix("data.pkl")
            for name in self._records
            if name.count("/") == 1 and name.endswith("/data.pkl")
        ]
        if len(roots) != 1:
            raise ValueError("not a file of torch.save: expected one record NAME/data.pkl")
        self._root = roots[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._zip.close()

    def _check_records(self, size):
        entries = self._zip.infolist()
        if len(entries) != len(self._records):
            raise ValueError("two records have the same name")
        odd = [
            entry.filename
            for entry in entries
            if entry.compress_type != zipfile.ZIP_STORED
            or entry.compress_size != entry.file_size
            or entry.flag_bits & 1
        ]
        if odd:
            raise ValueError(
                f"record `{odd[0]}` is compressed or encrypted, which torch.save never does:"
                " refused"
            )
        if sum(entry.file_size for entry in entries) > size:
            raise ValueError("the records claim more bytes than the file has")

    def _bytes(self, name):
        if name not in self._records:
            raise ValueError(f"record `{name}` is missing")
        try:
            return self._zip.read(name)
        except (*ZIP_ERRORS, OSError) as error:
            raise ValueError(f"record `{name}` is damaged ({error})") from None

    def content(self):
        """Object that was saved.

        Containers, numbers, text, Stored for each tensor, Inert for anything else.
        """
        functions = {
            "collections.OrderedDict": _ordered,
            "torch._utils._rebuild_tensor_v2": _stored,
        }
        return unpickle(self._pickle(), functions, _is_inert, _storage)

    def mentions(self, text):
        """Whether the text stands somewhere in what was saved."""
        return text.encode() in self._pickle()

    def _pickle(self):
        name = self._root + "data.pkl"
        if self._records[name].file_size > LARGEST_PICKLE:
            raise ValueError(f"record `{name}` is larger than {LARGEST_PICKLE} bytes: refused")
        return self._bytes(name)

    def tensor(self, stored):
        """Tensor, contiguous, of a Stored.

        A record can be read once, so that tensors add up to the file at most.
        """
        name = f"{self._root}data/{stored.record}"
        if name in self._read:
            raise ValueError(f"two tensors share record `{name}`: refused")
        self._read.add(name)
        claimed = stored.n_values * stored.dtype.itemsize
        if name in self._records and self._records[name].file_size != claimed:
            raise ValueError(
                f"record `{name}` has {self._records[name].file_size} bytes, its tensor claims"
                f" {claimed}"
            )
        self._check_byte_order()
        values = self._bytes(name)
        if math.prod(stored.shape) == 0:
            return torch.empty(stored.shape, dtype=stored.dtype)
        flat = torch.frombuffer(bytearray(values), dtype=stored.dtype)
        return flat.as_strided(stored.shape, stored.strides, stored.offset).clone(
            memory_format=torch.contiguous_format
        )

    def _check_byte_order(self):
        name = self._root + "byteorder"
        order = self._bytes(name).decode("ascii", "replace") if name in self._records else "little"
        if order != sys.byteorder:
            raise ValueError(
                f"its numbers are {order!r}-endian: this machine reads {sys.byteorder}-endian files"
                " only"
            )


def _is_inert(name):
    package, _, rest = name.partition(".")
    return (
        package in HARMLESS_PACKAGES
        or name in HARMLESS
        or (package == "torch" and rest in STORAGES)
    )


def _ordered(arguments):
    if arguments:
        raise ValueError("an OrderedDict with arguments: refused")
    return {}


def _storage(identifier):
    """(record, dtype, number of values) of the identifier that torch.save writes for a storage."""
    match identifier:
        case ("storage", Inert(name=str(kind)), str(record), str(), int(n_values)) if n_values >= 0:
            if kind.removeprefix("torch.") in STORAGES:
                return record, STORAGES[kind.removeprefix("torch.")], n_values
    raise ValueError("the pickle refers to something that is not a tensor storage")


def _stored(arguments):
    """Stored of the arguments that torch.save writes for a tensor.

    Once they fit into its storage.
    """
    match arguments:
        case (
            (str(record), torch.dtype() as dtype, int(n_values)),
            int(offset),
            tuple(shape),
            tuple(strides),
            *_,
        ):
            sizes = (offset, *shape, *strides)
        case _:
            raise ValueError("a tensor is not described as torch.save describes it")
    if (
        len(shape) != len(strides)
        or len(shape) > 8
        or any(type(n) is not int or not 0 <= n < 1 << 60 for n in sizes)
    ):
        raise ValueError("a tensor has an impossible shape")
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if math.prod(shape) > n_values or (math.prod(shape) and last >= n_values):
        raise ValueError(
            f"a tensor of shape {shape} claims more than the {n_values} values of its record"
            f" `{record}`"
        )
    return Stored(record, dtype, n_values, offset, shape, strides)
