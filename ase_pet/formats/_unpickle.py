"""Pickles read as data: containers, numbers, text, and inert stand-ins for whatever else they name.

A pickle is a program for a small stack machine. The machine here knows the operations that build containers and no
others. It never imports, looks up or calls what a pickle names: a name must be on a list, and what comes out is a
stand-in that holds the arguments, or what one of our own functions makes of them. So nothing from a file can run.
"""

import itertools
import pickletools

MOST_OPERATIONS = 2_000_000  # a checkpoint of 10^9 parameters has some 10^5


class Inert:
    """What a pickle names and this package does not have: the name, its arguments and its state, nothing that runs."""

    __slots__ = ("arguments", "name", "state")

    def __init__(self, name, arguments=()):
        self.name, self.arguments, self.state = name, arguments, None


def unpickle(data, functions, is_inert, persistent):
    """Object that a pickle describes.

    data: bytes; functions {"module.name": function of the arguments}; is_inert(name): whether a name may stand in the
    pickle without effect; persistent(identifier): the object that lies outside the pickle.
    Raises ValueError that names what is not admitted, and for damaged data.
    """
    machine = _Machine(functions, is_inert, persistent)
    try:
        for opcode, argument, _ in itertools.islice(pickletools.genops(data), MOST_OPERATIONS):
            if opcode.name not in _OPERATIONS:
                raise ValueError(f"the pickle holds the operation {opcode.name}, which no checkpoint needs")
            _OPERATIONS[opcode.name](machine, argument)
    except (IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"the pickle is damaged: {type(error).__name__} at {opcode.name}") from None
    if not machine.stopped:
        raise ValueError(f"the pickle describes no single object in {MOST_OPERATIONS} operations")
    return machine.stack[-1]


class _Machine:
    """Stack, marks and memo; each operation below is a function of the machine and the argument in the pickle."""

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

    def name(self, argument):
        name = ".".join(argument.split(" ", 1))
        if name not in self.functions and not self.is_inert(name):
            raise ValueError(f"the file names `{name}`, which is not among the things a checkpoint may hold: refused")
        self.push(Inert(name))

    def construct(self, _):
        named, arguments = self.pop(2)
        if type(named) is not Inert or type(arguments) is not tuple:
            raise TypeError
        make = self.functions.get(named.name)
        self.push(make(arguments) if make else Inert(named.name, arguments))

    def set_state(self, _):
        state, = self.pop(1)
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
        if type(target) is dict:  # nested tuples as keys can take forever to hash, and no key that is used is one
            target.update((key, value) for key, value in zip(items[::2], items[1::2], strict=True)
                          if type(key) in (str, int))

    def stop(self, _):
        self.stopped = len(self.stack) == 1


_OPERATIONS = {
    "PROTO": lambda machine, _: None,
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "STOP": _Machine.stop,
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"), _Machine.push),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_to_mark())),
    "TUPLE1": lambda machine, _: machine.push(tuple(machine.pop(1))),
    "TUPLE2": lambda machine, _: machine.push(tuple(machine.pop(2))),
    "TUPLE3": lambda machine, _: machine.push(tuple(machine.pop(3))),
    "SETITEM": lambda machine, _: machine.set_items(machine.pop(2)),
    "SETITEMS": lambda machine, _: machine.set_items(machine.pop_to_mark()),
    "APPEND": lambda machine, _: machine.append(machine.pop(1)),
    "APPENDS": lambda machine, _: machine.append(machine.pop_to_mark()),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _Machine.put),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda machine, key: machine.push(machine.memo[key])),
    "GLOBAL": _Machine.name,
    "REDUCE": _Machine.construct,
    "NEWOBJ": _Machine.construct,
    "BUILD": _Machine.set_state,
    "BINPERSID": lambda machine, _: machine.push(machine.persistent(machine.pop(1)[0])),
}
