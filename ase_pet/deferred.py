"""Public names of a package that are imported when they are first used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import Any


def attribute(package: str, name: str, modules: Mapping[str, str]) -> Any:
    """Attribute of a package, from the module that defines it; for its function `__getattr__`.

    It becomes a global name of the package, so that this is called once for each name.

    Parameters
    ----------
    package:
        Name of the package.
    name:
        Name of the attribute.
    modules:
        {name: module of the package, with another name there after a colon}.

    Raises
    ------
    AttributeError
        The package has no such name.
    """
    if name not in modules:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    module, _, original = modules[name].partition(":")
    value = getattr(importlib.import_module(f".{module}", package), original or name)
    setattr(sys.modules[package], name, value)
    return value
