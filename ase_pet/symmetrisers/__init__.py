"""Symmetrisers: one file each, with `wrap(model, argument) -> model`.

What comes out honours the model contract, so every output, check and the calculator work on it unchanged. The name in
`symmetrise=` is the file's name, with an argument after a colon where it takes one: "group:O".
"""

from .. import plugins
from ._cost import cost  # noqa: F401  (part of the interface)


def symmetrise(model, name):
    """The model, symmetrised as `name` says. Raises ValueError with the valid choices for an unknown name."""
    kind, _, argument = name.partition(":")
    known = plugins.names(__name__)
    if kind not in known:
        raise ValueError(f"`symmetrise` is {name!r}: valid choices are {', '.join(known)}")
    return plugins.load(__name__, kind).wrap(model, argument)
