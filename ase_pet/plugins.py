"""Plug-ins found by file name: one file in a plug-in folder is one plug-in."""

import functools
import importlib
import pkgutil


def names(package):
    """Sorted names of the plug-ins of a package.

    package: dotted name such as "ase_pet.models". Files whose name begins with an underscore are
    not plug-ins.
    """
    folder = importlib.import_module(package).__path__
    return sorted(
        found.name for found in pkgutil.iter_modules(folder) if not found.name.startswith("_")
    )


# a calculator loads its outputs at each step, and looking through folders takes 4 % of a small
# one
@functools.cache
def load(package, name):
    """Module of one plug-in.

    Raises ValueError that lists the valid names when there is no such plug-in.
    """
    known = names(package)
    if name not in known:
        kind = package.rsplit(".", 1)[-1]
        raise ValueError(f"`{name}` is not one of the {kind}: valid choices are {', '.join(known)}")
    return importlib.import_module(f"{package}.{name}")
