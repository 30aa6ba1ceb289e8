"""`ase-pet download`: a published checkpoint into the cache."""

from __future__ import annotations

from . import options, screen


def command(name: str, *, json: options.Json = False) -> None:
    """Download a published checkpoint and print its path.

    The newest version is downloaded unless one is named. Needs the extra `hub`: pip install
    '.[hub]' in a clone of ase_pet.

    Parameters
    ----------
    name:
        Name, such as pet-mad-s (its newest version) or pet-mad-s-v1.5.0.
    json:
        Print JSON for programs.
    """
    from .. import published

    path = published.download(name)
    if json:
        screen.print_json({"name": path.stem, "path": str(path)})
    else:
        screen.say(path)
