"""Symmetrisers: one file each, with `wrap(model, argument) -> model`.

What comes out honours the model contract, so every output, check and the calculator work on it
unchanged. The name in `symmetrise=` is the file's name, with an argument after a colon where it
takes one: "group:O".
"""

from .. import plugins
from ._sampled import KINDS as DRAWN  # symmetrisers whose frames can be drawn


def check(name):
    """Raise ValueError with the valid choices for an unknown name."""
    kind = name.partition(":")[0]
    known = plugins.names(__name__)
    if kind not in known:
        raise ValueError(f"`symmetrise` is {name!r}: valid choices are {', '.join(known)}")


def symmetrise(model, name):
    """The model, symmetrised as `name` says.

    Raises ValueError with the valid choices for an unknown name.
    """
    kind, _, argument = name.partition(":")
    check(name)
    return plugins.load(__name__, kind).wrap(model, argument)


def sampled(model, name, generator, draws=1):
    """The model as ECSE sees it in training: each environment in some frames, which a
    torch.Generator draws by weight.

    name: that of the symmetriser in the recipe, such as "ecse", "ecse:so3" or "ecse_layers", which
    draws anew for each layer.
    """
    return DRAWN[name.partition(":")[0]](model, symmetrise(model, name).options, generator, draws)
