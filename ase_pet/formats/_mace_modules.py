"""Modules of torch in a pickle, as a table of tensors and attributes by their dotted names."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from ._archive import Archive, StoredTensor
from ._unpickle import Inert

MOST_MODULES = 20_000
MOST_LEVELS = 12
LARGEST_NUMBER = 1e15
PARAMETERS = ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state")
# modules of generated code, which is neither run nor read
GENERATED = ("contractions_weighting", "contractions_features", "graph_opt_main")
SCALARS = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
NUMBER_CODES = {"f8": "d", "f4": "f", "i8": "q", "i4": "i"}  # of NumPy -> of struct


class ModuleTable:
    """Classes, attributes and tensors of all modules of a file.

    Parameters
    ----------
    archive:
        The open file.
    root:
        Module that was saved.
    """

    def __init__(self, archive: Archive, root: Inert) -> None:
        self._archive = archive
        self._attributes: dict[str, dict[str, Any]] = {}
        self._tensors: dict[str, StoredTensor] = {}
        self._read: set[str] = set()
        self.classes: dict[str, str] = {}
        for path, module in _modules(root):
            self.classes[path] = module.name
            self._attributes[path] = module.state
            for name, value in _stored(module.state):
                self._tensors[_joined(path, name)] = value

    def __contains__(self, path: str) -> bool:
        return path in self.classes or path in self._tensors

    def kind(self, path: str) -> str:
        """Name of the class of a module, without the package; "" if there is no such module.

        Parameters
        ----------
        path:
            Dotted name of the module.
        """
        return self.classes.get(path, "").rpartition(".")[2]

    def children(self, path: str) -> list[str]:
        """Names of the modules in a list of modules, which must be "0", "1", ... in order.

        Parameters
        ----------
        path:
            Dotted name of the list.
        """
        start = path + "."
        names = [
            name.removeprefix(start)
            for name in self.classes
            if name.startswith(start) and "." not in name.removeprefix(start)
        ]
        expected = [str(index) for index in range(len(names))]
        if sorted(names) != sorted(expected):
            raise ValueError(f"`{path}` is no list of modules")
        return expected

    def attribute(self, path: str, name: str, default: Any = None) -> Any:
        """Plain attribute of a module.

        Parameters
        ----------
        path:
            Dotted name of the module, "" for the whole model.
        name:
            Name of the attribute.
        default:
            Value if there is none.
        """
        return self._attributes.get(path, {}).get(name, default)

    def number(self, path: str, name: str) -> float:
        """Number that is an attribute or a tensor of one element of a module.

        Parameters
        ----------
        path:
            Dotted name of the module, "" for the whole model.
        name:
            Name of the number.
        """
        place = _joined(path, name)
        value = self._tensors.get(place, self.attribute(path, name))
        if type(value) is StoredTensor:
            self._read.add(place)
            values = self._archive.tensor(value).flatten().tolist()
            value = values[0] if len(values) == 1 else None
        if type(value) is Inert:
            value = _scalar(value)
        # a whole number may be too large for a float
        if type(value) not in (int, float) or not abs(value) <= LARGEST_NUMBER:
            raise ValueError(f"`{place[:80]}` is missing, or no finite number")
        return float(value)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor.

        Parameters
        ----------
        name:
            Dotted name of the tensor.
        """
        return self._stored(name).shape

    def tensor(self, name: str, shape: Sequence[int] | None = None) -> torch.Tensor:
        """A tensor of the file, finite.

        Parameters
        ----------
        name:
            Dotted name of the tensor.
        shape:
            Shape that it must have, None for any.
        """
        stored = self._stored(name)
        if shape is not None and stored.shape != tuple(shape):
            raise ValueError(f"`{name}` has shape {stored.shape}: expected {tuple(shape)}")
        self._read.add(name)
        tensor = self._archive.tensor(stored)
        if not torch.isfinite(tensor).all():
            raise ValueError(f"`{name}` is not finite")
        return tensor

    def constant(self, name: str, shape: Sequence[int] | None = None) -> torch.Tensor:
        """A tensor of the file in float64.

        Parameters
        ----------
        name:
            Dotted name of the tensor.
        shape:
            Shape that it must have, None for any.
        """
        return self.tensor(name, shape).double()

    def unread(self) -> list[str]:
        """Names of tensors with elements that have not been read."""
        return [
            name
            for name, stored in self._tensors.items()
            if name not in self._read and 0 not in stored.shape
        ]

    def _stored(self, name: str) -> StoredTensor:
        if name not in self._tensors:
            raise ValueError(f"`{name[:80]}` is missing")
        return self._tensors[name]


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _modules(root: Inert) -> Iterator[tuple[str, Inert]]:
    """Dotted name and object of each module, the root first; "" is its name."""
    waiting = [("", root, 0)]
    # a damaged pickle may refer to a module in itself
    for _ in range(MOST_MODULES):
        if not waiting:
            return
        path, module, level = waiting.pop()
        state = module.state
        if type(state) is not dict or level > MOST_LEVELS:
            raise ValueError(f"`{path[:80] or 'the model'}` is not a module of torch")
        yield path, module
        children = state.get("_modules", {})
        if type(children) is not dict:
            raise ValueError(f"`{path[:80]}` has no table of modules")
        for name, child in children.items():
            # None: a module that is left out
            if name in GENERATED or child is None:
                continue
            place = _joined(path, str(name))
            if type(child) is not Inert:
                raise ValueError(f"`{place[:80]}` is not a module of torch")
            waiting.append((place, child, level + 1))
    raise ValueError(f"it has more than {MOST_MODULES} modules: refused")


def _stored(state: dict[str, Any]) -> Iterator[tuple[str, StoredTensor]]:
    """Name and tensor of each parameter and buffer of a module."""
    for kind in ("_parameters", "_buffers"):
        table = state.get(kind, {})
        if type(table) is not dict:
            raise ValueError(f"`{kind}` of a module is no table")
        for name, value in table.items():
            tensor = value
            is_parameter = type(value) is Inert and value.name in PARAMETERS
            if is_parameter and value.arguments:
                tensor = value.arguments[0]
            if type(tensor) is StoredTensor:
                yield str(name), tensor
            elif tensor is not None:
                raise ValueError(f"`{str(name)[:80]}` is not a tensor")


def _scalar(value: Inert) -> float | None:
    """Number of a scalar of NumPy, None for other objects."""
    if value.name not in SCALARS:
        return None
    match value.arguments:
        # its bytes are a text in a pickle of protocol 2
        case (Inert(arguments=(str(code), *_)), Inert(arguments=(str(text), *_))):
            data = text.encode("latin-1", "replace")
        case (Inert(arguments=(str(code), *_)), bytes(data)):
            pass
        case _:
            return None
    form = struct.Struct("<" + NUMBER_CODES.get(code, ""))
    numbers = form.unpack(data) if len(data) == form.size else ()
    return float(numbers[0]) if numbers else None
