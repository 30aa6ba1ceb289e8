"""Plug-ins found by file name: one file in a plug-in folder is one plug-in."""

import functools
import importlib
import pkgutil


def names(package):
    """Sorted names of the plug-ins of a package.

    package: dotted name such as "ase_pet.models". `base` holds the contract of a package, and files
    whose name begins with an underscore are private: neither are plug-ins.
    """
    folder = importlib.import_module(package).__path__
    files = [module.name for module in pkgutil.iter_modules(folder)]
    return sorted(name for name in files if name != "base" and not name.startswith("_"))


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
