"""Plug-ins found by file name: one file in a plug-in folder is one plug-in."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterable
from types import ModuleType

NOT_PLUGINS = ("base", "pytest_plugin")


def names(package: str) -> list[str]:
    """Sorted names of the plug-ins of a package.

    Parameters
    ----------
    package:
        Dotted name of the package, such as "ase_pet.models". `base` holds the contract of a
        package, `pytest_plugin` is one of pytest, and files whose names begin with an underscore
        are private: none of them are plug-ins.
    """
    modules = [module.name for module in pkgutil.iter_modules(_folders(package))]
    return sorted(name for name in modules if name not in NOT_PLUGINS and name[0] != "_")


def _folders(package: str) -> Iterable[str]:
    """Folders of a package, which is not imported: a list of names must not wait for torch."""
    if package in sys.modules:
        return sys.modules[package].__path__
    spec = importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(f"there is no package `{package}`")
    return spec.submodule_search_locations


# Cached, as a calculator loads its outputs at each step: listing the folders would take 4 % of the
# time of a step of a small structure.
@functools.cache
def load(package: str, name: str) -> ModuleType:
    """Module of one plug-in.

    Parameters
    ----------
    package:
        Dotted name of the package, such as "ase_pet.models".
    name:
        Name of the plug-in.

    Raises
    ------
    ValueError
        There is no such plug-in; the message lists the valid names.
    """
    known = names(package)
    if name not in known:
        kind = package.rsplit(".", 1)[-1]
        shown = repr(name).strip("'\"")  # without control characters
        choices = ", ".join(known)
        raise ValueError(f"`{shown}` is not one of the {kind}: valid choices are {choices}")
    return importlib.import_module(f"{package}.{name}")
