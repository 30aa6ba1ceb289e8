"""Pickles read as data: containers, numbers, text, and inert stand-ins for whatever else they name.

A pickle is a program for a small stack machine. The machine here knows the operations that build
containers and no others. It never imports, looks up or calls what a pickle names: a name must be on
a list, and what comes out is a stand-in that holds the arguments, or what one of our own functions
makes of them. So nothing from a file can run.
"""

import struct

MOST_OPERATIONS = 2_000_000  # a checkpoint of 10^9 parameters has some 10^5


class Inert:
    """What a pickle names and this package does not have.

    The name, its arguments and its state, nothing that runs.
    """

    __slots__ = ("arguments", "name", "state")

    def __init__(self, name, arguments=()):
        self.name, self.arguments, self.state = name, arguments, None


def unpickle(data, functions, is_inert, persistent):
    """Object that a pickle describes.

    data: bytes; functions {"module.name": function of the arguments}; is_inert(name): whether a
    name may stand in the pickle without effect; persistent(identifier): the object that lies
    outside the pickle. Raises ValueError that names what is not admitted, and for damaged data.
    """
    machine = _Machine(functions, is_inert, persistent)
    place = 0
    try:
        for _ in range(MOST_OPERATIONS):
            code = data[place : place + 1]
            if code and code not in _OPERATIONS:
                raise ValueError(
                    f"the pickle holds the operation {code!r}, which no checkpoint needs: refused"
                )
            read_argument, act = _OPERATIONS[code]
            argument, place = read_argument(data, place + 1)
            act(machine, argument)
            if machine.stopped:
                return machine.stack[-1]
    except (IndexError, KeyError, TypeError, struct.error, UnicodeDecodeError) as error:
        raise ValueError(
            f"the pickle is damaged at byte {place} ({type(error).__name__})"
        ) from None
    raise ValueError(f"the pickle has more than {MOST_OPERATIONS} operations: refused")


class _Machine:
    """Stack, marks and memo.

    Each operation below is a function of the machine and the argument in the pickle.
    """

    def __init__(self, functions, is_inert, persistent):
        self.functions, self.is_inert, self.persistent = functions, is_inert, persistent
        self.stack, self.marks, self.memo, self.stopped = [], [], {}, False

    def push(self, value):
        self.stack.append(value)

    def pop(self, count):
        """The last `count` values, removed."""
        if count > len(self.stack):
            raise IndexError
        return [self.stack.pop() for _ in range(count)][::-1]

    def pop_to_mark(self):
        return self.pop(len(self.stack) - self.marks.pop())

    def name(self, name):
        if name not in self.functions and not self.is_inert(name):
            raise ValueError(
                f"the file names `{name}`, which is not among the things a checkpoint may hold:"
                " refused"
            )
        self.push(Inert(name))

    def construct(self, _):
        named, arguments = self.pop(2)
        if type(named) is not Inert or type(arguments) is not tuple:
            raise TypeError
        make = self.functions.get(named.name)
        self.push(make(arguments) if make else Inert(named.name, arguments))

    def set_state(self, _):
        (state,) = self.pop(1)
        if type(self.stack[-1]) is Inert:
            self.stack[-1].state = state

    def put(self, argument):
        self.memo[argument] = self.stack[-1]

    def append(self, items):
        target = self.stack[-1]
        if type(target) is list:
            target.extend(items)
        elif type(target) is not Inert:
            raise TypeError

    def set_items(self, items):
        target = self.stack[-1]
        if type(target) not in (dict, Inert) or len(items) % 2:
            raise TypeError
        if (
            type(target) is dict
        ):  # nested tuples as keys can take forever to hash, and no key that is used is one
            target.update(
                (key, value)
                for key, value in zip(items[::2], items[1::2], strict=True)
                if type(key) in (str, int)
            )

    def stop(self, _):
        if len(self.stack) != 1:
            raise IndexError
        self.stopped = True


def _nothing(data, place):
    return None, place


def _number(layout):
    """Reader of a number of a layout of the module struct.

    What it reads, and the place behind it.
    """
    form = struct.Struct(layout)
    return lambda data, place: (form.unpack_from(data, place)[0], place + form.size)


def _piece(data, start, length):
    if start + length > len(data):
        raise IndexError
    return data[start : start + length], start + length


def _text(data, place):
    piece, place = _piece(data, place + 4, *struct.unpack_from("<I", data, place))
    return piece.decode(), place


def _long(data, place):
    piece, place = _piece(data, place + 1, data[place])
    return int.from_bytes(piece, "little", signed=True), place


def _name(data, place):
    """Name of an object, `module.name`, from two lines."""
    lines = data[place : place + 1000].split(b"\n", 2)
    if len(lines) < 3:
        raise IndexError
    return f"{lines[0].decode()}.{lines[1].decode()}", place + len(lines[0]) + len(lines[1]) + 2


# code: (reader of the argument, what to do); the names are those of the module pickletools
_OPERATIONS = {
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
    b"h": (_number("<B"), lambda machine, key: machine.push(machine.memo[key])),  # BINGET
    b"j": (_number("<I"), lambda machine, key: machine.push(machine.memo[key])),  # LONG_BINGET
    b"c": (_name, _Machine.name),  # GLOBAL
    b"R": (_nothing, _Machine.construct),  # REDUCE
    b"\x81": (_nothing, _Machine.construct),  # NEWOBJ
    b"b": (_nothing, _Machine.set_state),  # BUILD
    b"Q": (
        _nothing,
        lambda machine, _: machine.push(machine.persistent(machine.pop(1)[0])),
    ),  # BINPERSID
}
