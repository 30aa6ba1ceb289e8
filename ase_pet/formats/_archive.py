"""Files of torch.save, read without torch.load.

Such a file is a zip archive of one pickle and one record of raw numbers per tensor storage. Tensors
stay in the file until they are needed, and their shapes are compared with the sizes of the records
before memory is allocated: a file cannot make this module use more memory than its own size.
"""

from __future__ import annotations

import functools
import math
import struct
import sys
import zipfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ._unpickle import Function, Inert, unpickle

# what zipfile raises for damaged archives
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
LARGEST_NUMBER = 1 << 60  # of sizes, strides and offsets of a tensor
MOST_DIMENSIONS = 8
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
# names in pickles that are replaced by inert stand-ins
HARMLESS = {
    *(f"torch.{storage}" for storage in STORAGES),
    *(str(dtype) for dtype in STORAGES.values()),
    *(
        f"{module}.{name}"
        for module in ("builtins", "__builtin__")
        for name in ("set", "list", "dict", "tuple", "str", "int", "float", "bool")
    ),
    "torch.ScriptObject",
    "torch.device",
    "torch.Size",
    "numpy.dtype",
    "_codecs.encode",
    "typing.Any",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "collections.defaultdict",
}
HARMLESS_PACKAGES = ("metatrain", "metatensor", "metatomic", "omegaconf")


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in the file, not yet read.

    Attributes
    ----------
    record:
        Name of the record of its storage.
    dtype:
        Type of its numbers.
    n_values:
        Number of values that the record is said to have.
    offset:
        Index of the first element in the record.
    shape:
        Size of each dimension.
    strides:
        Step in the record between consecutive elements along each dimension.
    """

    record: str
    dtype: torch.dtype
    n_values: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Archive:
    """An open file of torch.save, for use in a `with` statement.

    Every method raises ValueError for a damaged file.

    Parameters
    ----------
    path:
        Path of the file.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except ZIP_ERRORS as error:
            raise ValueError(f"not a zip archive, or truncated ({error})") from None
        self._records = {entry.filename: entry for entry in self._zip.infolist()}
        self._read: set[str] = set()  # records of tensors that have been read
        self._check_records(path.stat().st_size)
        # all records are in one folder, whose name is free
        pickles = [
            name for name in self._records if name.count("/") == 1 and name.endswith("/data.pkl")
        ]
        if len(pickles) != 1:
            raise ValueError("not a file of torch.save: expected one record NAME/data.pkl")
        self._folder = pickles[0].removesuffix("data.pkl")

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def _check_records(self, size: int) -> None:
        """Raise ValueError for records that a file of `size` bytes by torch.save cannot have."""
        entries = self._zip.infolist()
        if len(entries) != len(self._records):
            raise ValueError("two records have the same name")
        for entry in entries:
            # a compressed record may expand to any size
            if (
                entry.compress_type != zipfile.ZIP_STORED
                or entry.compress_size != entry.file_size
                or entry.flag_bits & 1
            ):
                raise ValueError(
                    f"record `{entry.filename}` is compressed or encrypted, which torch.save never"
                    " does: refused"
                )
        if sum(entry.file_size for entry in entries) > size:
            raise ValueError("the records claim more bytes than the file has")

    def _bytes(self, name: str) -> bytes:
        if name not in self._records:
            raise ValueError(f"record `{name}` is missing")
        try:
            return self._zip.read(name)
        except (*ZIP_ERRORS, OSError) as error:
            raise ValueError(f"record `{name}` is damaged ({error})") from None

    def content(self, admitted: Collection[str] = ()) -> Any:
        """Object that was saved: containers, numbers, text, StoredTensor, and Inert for others.

        Parameters
        ----------
        admitted:
            Further packages and names that may occur in the pickle; they become stand-ins, too.
        """
        functions: dict[str, Function] = {
            "collections.OrderedDict": _ordered_dict,
            "torch._utils._rebuild_tensor_v2": _stored_tensor,
        }
        names = functools.partial(_is_inert, admitted=admitted)
        return unpickle(self._pickle(), functions, names, _storage)

    def mentions(self, text: str) -> bool:
        """Whether `text` occurs in the pickle of the saved object."""
        return text.encode() in self._pickle()

    def _pickle(self) -> bytes:
        name = self._folder + "data.pkl"
        if self._records[name].file_size > LARGEST_PICKLE:
            raise ValueError(f"record `{name}` is larger than {LARGEST_PICKLE} bytes: refused")
        return self._bytes(name)

    def tensor(self, stored: StoredTensor) -> torch.Tensor:
        """The tensor, contiguous on the CPU, of `stored`.

        A record can be read once, so that all tensors together are not larger than the file.
        """
        name = f"{self._folder}data/{stored.record}"
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
        # bytearray: torch.frombuffer warns about memory that cannot be written
        flat = torch.frombuffer(bytearray(values), dtype=stored.dtype)
        view = flat.as_strided(stored.shape, stored.strides, stored.offset)
        return view.clone(memory_format=torch.contiguous_format)

    def _check_byte_order(self) -> None:
        name = self._folder + "byteorder"
        order = "little"  # files of old versions of torch do not say it
        if name in self._records:
            order = self._bytes(name).decode("ascii", "replace")
        if order != sys.byteorder:
            raise ValueError(
                f"its numbers are {order!r}-endian: this machine reads {sys.byteorder}-endian files"
                " only"
            )


def _is_inert(name: str, admitted: Collection[str]) -> bool:
    package = name.partition(".")[0]
    return package in (*HARMLESS_PACKAGES, *admitted) or name in HARMLESS or name in admitted


def _ordered_dict(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    if arguments:
        raise ValueError("an OrderedDict with arguments: refused")
    return {}


def _storage(identifier: Any) -> tuple[str, torch.dtype, int]:
    """Record, dtype and number of values of the identifier that torch.save writes for a storage."""
    match identifier:
        case ("storage", Inert(name=str(kind)), str(record), str(), int(n_values)) if n_values >= 0:
            if kind.removeprefix("torch.") in STORAGES:
                return record, STORAGES[kind.removeprefix("torch.")], n_values
    raise ValueError("the pickle refers to something that is not a tensor storage")


def _stored_tensor(arguments: tuple[Any, ...]) -> StoredTensor:
    """StoredTensor of the arguments that torch.save writes, after checking that it fits."""
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
    # `type`, because True is an instance of int
    possible = all(type(size) is int and 0 <= size < LARGEST_NUMBER for size in sizes)
    if not possible or len(shape) != len(strides) or len(shape) > MOST_DIMENSIONS:
        raise ValueError("a tensor has an impossible shape")
    n_elements = math.prod(shape)
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if n_elements > n_values or (n_elements and last >= n_values):
        raise ValueError(
            f"a tensor of shape {shape} claims more than the {n_values} values of its record"
            f" `{record}`"
        )
    return StoredTensor(record, dtype, n_values, offset, shape, strides)
