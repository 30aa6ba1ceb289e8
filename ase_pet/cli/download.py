"""`ase-pet download`: a published checkpoint into the cache."""

from __future__ import annotations

from . import options, screen


def command(name: str, *, json: options.Json = False) -> None:
    """Download a published checkpoint and print its path.

    The newest version of a PET is downloaded unless one is named; that needs the extra `hub`: pip
    install '.[hub]' in a clone of ase_pet. The licence of the weights is printed where it is known.

    Parameters
    ----------
    name:
        Name, such as pet-mad-s (its newest version), pet-mad-s-v1.5.0 or mace-mp-0-small.
    json:
        Print JSON for programs.
    """
    from .. import published, published_mace

    with screen.progress(name) as bar:
        path = published.download(name, lambda done, total: bar("MB", done // 10**6, _mb(total)))
    # only MACE files have a licence that is known here
    facts = published_mace.facts(path)
    content = {"name": path.stem, "path": str(path)}
    if facts:
        content["licence"] = str(facts["license"])
    if json:
        screen.print_json(content)
        return
    if facts:
        screen.note(f"licence of {name}: {facts['license']}")
    screen.say(path)


def _mb(size: int | None) -> int | None:
    """Number of bytes in MB."""
    return None if size is None else size // 10**6
