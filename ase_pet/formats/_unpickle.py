"""Pickles read as data: containers, numbers, text, and inert stand-ins for all other objects.

A pickle is a program for a small stack machine. The machine of this module implements the
operations that build containers and no others. It never imports, looks up or calls what a pickle
names: a name must be on a list, and the result is a stand-in that holds the arguments, or the
result of one of our own functions for them. So nothing in a file can run.

`torch.load(path, weights_only=True)` refuses the checkpoints of metatrain, which contain a
`torch.ScriptObject` and objects of classes of metatrain and metatensor. It reads them only if these
classes are allowed by name, for which their packages must be installed, and then runs their code.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, TypeAlias

LARGEST_KEY = 10**6  # of a table; checkpoints count optimiser states and species
MOST_OPERATIONS = 2_000_000  # a checkpoint of 10^9 parameters has about 10^5

Function: TypeAlias = Callable[[tuple[Any, ...]], Any]
Reader: TypeAlias = Callable[[bytes, int], tuple[Any, int]]


class Inert:
    """Stand-in for an object of another package: data without behaviour.

    Attributes
    ----------
    name:
        Name of the class or function in the pickle, "module.name".
    arguments:
        Arguments of its call in the pickle.
    state:
        State that the pickle sets, None without one.
    """

    __slots__ = ("arguments", "name", "state")

    def __init__(self, name: str, arguments: tuple[Any, ...] = ()) -> None:
        self.name = name
        self.arguments = arguments
        self.state: Any = None


def unpickle(
    data: bytes,
    functions: dict[str, Function],
    is_inert: Callable[[str], bool],
    persistent: Callable[[Any], Any],
) -> Any:
    """Object that a pickle describes.

    Parameters
    ----------
    data:
        The pickle.
    functions:
        {"module.name": function of the arguments that replaces it}.
    is_inert:
        Whether a "module.name" may occur in the pickle and is replaced by `Inert`.
    persistent:
        Object of a persistent identifier, which is stored outside the pickle.

    Raises
    ------
    ValueError
        The pickle is damaged, or names what is not admitted.
    """
    machine = _Machine(functions, is_inert, persistent)
    position = 0
    try:
        # `for` instead of `while True`: a damaged pickle may never stop
        for _ in range(MOST_OPERATIONS):
            code = data[position : position + 1]
            if code and code not in _OPERATIONS:
                raise ValueError(
                    f"the pickle holds the operation {code!r}, which no checkpoint needs: refused"
                )
            read_argument, execute = _OPERATIONS[code]
            argument, position = read_argument(data, position + 1)
            execute(machine, argument)
            if machine.stopped:
                return machine.stack[-1]
    except (IndexError, KeyError, TypeError, struct.error, UnicodeDecodeError) as error:
        raise ValueError(
            f"the pickle is damaged at byte {position} ({type(error).__name__})"
        ) from None
    raise ValueError(f"the pickle has more than {MOST_OPERATIONS} operations: refused")


class _Machine:
    """Stack, marks and memo of the stack machine.

    Each operation below is a function of the machine and the argument in the pickle.
    """

    def __init__(
        self,
        functions: dict[str, Function],
        is_inert: Callable[[str], bool],
        persistent: Callable[[Any], Any],
    ) -> None:
        self.functions = functions
        self.is_inert = is_inert
        self.persistent = persistent
        self.stack: list[Any] = []
        self.marks: list[int] = []  # heights of the stack
        self.memo: dict[int, Any] = {}
        self.stopped = False

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self, count: int) -> list[Any]:
        """The last `count` values, removed."""
        if count > len(self.stack):
            raise IndexError
        return [self.stack.pop() for _ in range(count)][::-1]

    def pop_to_mark(self) -> list[Any]:
        return self.pop(len(self.stack) - self.marks.pop())

    def name(self, name: str) -> None:
        if name not in self.functions and not self.is_inert(name):
            raise ValueError(
                f"the file names `{name}`, which is not among the things a checkpoint may hold:"
                " refused"
            )
        self.push(Inert(name))

    def construct(self, _: Any) -> None:
        named, arguments = self.pop(2)
        if type(named) is not Inert or type(arguments) is not tuple:
            raise TypeError
        function = self.functions.get(named.name)
        self.push(function(arguments) if function else Inert(named.name, arguments))

    def set_state(self, _: Any) -> None:
        (state,) = self.pop(1)
        if type(self.stack[-1]) is Inert:
            self.stack[-1].state = state

    def put(self, argument: int) -> None:
        self.memo[argument] = self.stack[-1]

    def get(self, argument: int) -> None:
        self.push(self.memo[argument])

    def load_persistent(self, _: Any) -> None:
        (identifier,) = self.pop(1)
        self.push(self.persistent(identifier))

    def append(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is list:
            target.extend(items)
        elif type(target) is not Inert:
            raise TypeError

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) not in (dict, Inert) or len(items) % 2:
            raise TypeError
        if type(target) is dict:
            keys = items[::2]
            values = items[1::2]
            # Other keys are dropped: nested tuples can take forever to hash, and none is used.
            # Large numbers may be chosen to have one hash, and a table of them takes forever.
            for key, value in zip(keys, values, strict=True):
                if type(key) is str or (type(key) is int and abs(key) <= LARGEST_KEY):
                    target[key] = value

    def stop(self, _: Any) -> None:
        if len(self.stack) != 1:
            raise IndexError
        self.stopped = True


def _nothing(data: bytes, position: int) -> tuple[None, int]:
    """Reader of an operation without argument."""
    return None, position


def _number(layout: str) -> Reader:
    """Reader of a number: a function that returns it and the position behind it.

    layout: format of the module struct.
    """
    form = struct.Struct(layout)
    return lambda data, position: (form.unpack_from(data, position)[0], position + form.size)


def _piece(data: bytes, start: int, length: int) -> tuple[bytes, int]:
    if start + length > len(data):
        raise IndexError
    return data[start : start + length], start + length


def _text(data: bytes, position: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<I", data, position)
    piece, position = _piece(data, position + 4, length)
    return piece.decode(), position


def _long(data: bytes, position: int) -> tuple[int, int]:
    piece, position = _piece(data, position + 1, data[position])
    return int.from_bytes(piece, "little", signed=True), position


def _name(data: bytes, position: int) -> tuple[str, int]:
    """Reader of a name, `module.name`, from two lines."""
    lines = data[position : position + 1000].split(b"\n", 2)
    if len(lines) < 3:
        raise IndexError
    module, name, _ = lines
    end = position + len(module) + len(name) + 2
    return f"{module.decode()}.{name.decode()}", end


# code: (reader of the argument, what to do); the comments are the names in the module pickletools
_OPERATIONS: dict[bytes, tuple[Reader, Callable[[_Machine, Any], None]]] = {
    b"\x80": (_number("<B"), lambda machine, _: None),  # PROTO
    b"(": (_nothing, lambda machine, _: machine.marks.append(len(machine.stack))),  # MARK
    b".": (_nothing, _Machine.stop),  # STOP
    b"N": (_nothing, lambda machine, _: machine.push(None)),  # NONE
    b"\x88": (_nothing, lambda machine, _: machine.push(True)),  # NEWTRUE
    b"\x89": (_nothing, lambda machine, _: machine.push(False)),  # NEWFALSE
    b"K": (_number("<B"), _Machine.push),  # BININT1
    b"M": (_number("<H"), _Machine.push),  # BININT2
    b"J": (_number("<i"), _Machine.push),  # BININT
    b"G": (_number(">d"), _Machine.push),  # BINFLOAT
    b"\x8a": (_long, _Machine.push),  # LONG1
    b"X": (_text, _Machine.push),  # BINUNICODE
    b"}": (_nothing, lambda machine, _: machine.push({})),  # EMPTY_DICT
    b"]": (_nothing, lambda machine, _: machine.push([])),  # EMPTY_LIST
    b")": (_nothing, lambda machine, _: machine.push(())),  # EMPTY_TUPLE
    b"t": (_nothing, lambda machine, _: machine.push(tuple(machine.pop_to_mark()))),  # TUPLE
    b"\x85": (_nothing, lambda machine, _: machine.push(tuple(machine.pop(1)))),  # TUPLE1
    b"\x86": (_nothing, lambda machine, _: machine.push(tuple(machine.pop(2)))),  # TUPLE2
    b"\x87": (_nothing, lambda machine, _: machine.push(tuple(machine.pop(3)))),  # TUPLE3
    b"s": (_nothing, lambda machine, _: machine.set_items(machine.pop(2))),  # SETITEM
    b"u": (_nothing, lambda machine, _: machine.set_items(machine.pop_to_mark())),  # SETITEMS
    b"a": (_nothing, lambda machine, _: machine.append(machine.pop(1))),  # APPEND
    b"e": (_nothing, lambda machine, _: machine.append(machine.pop_to_mark())),  # APPENDS
    b"q": (_number("<B"), _Machine.put),  # BINPUT
    b"r": (_number("<I"), _Machine.put),  # LONG_BINPUT
    b"h": (_number("<B"), _Machine.get),  # BINGET
    b"j": (_number("<I"), _Machine.get),  # LONG_BINGET
    b"c": (_name, _Machine.name),  # GLOBAL
    b"R": (_nothing, _Machine.construct),  # REDUCE
    b"\x81": (_nothing, _Machine.construct),  # NEWOBJ
    b"b": (_nothing, _Machine.set_state),  # BUILD
    b"Q": (_nothing, _Machine.load_persistent),  # BINPERSID
}
