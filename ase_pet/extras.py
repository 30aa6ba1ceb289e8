"""How to install the optional dependencies of ase_pet, its extras."""

from __future__ import annotations


def how_to_install(extra: str) -> str:
    """Command that installs an extra, for error messages and help texts.

    The package is not on PyPI: a name that is not registered there must never be told to users, as
    anybody could register it.

    Parameters
    ----------
    extra:
        Name of the extra in setup.cfg, such as "train".
    """
    return f"pip install '.[{extra}]' in a clone of ase_pet"
