"""`ase-pet convert`: a checkpoint of another program into a calculator folder."""

from __future__ import annotations

from pathlib import Path

from . import options, screen


def command(
    checkpoint: str, folder: Path, *, name: str | None = None, json: options.Json = False
) -> None:
    """Convert a checkpoint of another program into a calculator folder.

    The calculator folder reproduces the results of the checkpoint.

    Parameters
    ----------
    checkpoint:
        Path, or name of a published checkpoint.
    folder:
        Calculator folder to write; must not exist.
    name:
        Name of the calculator; default: that of the file.
    json:
        Print JSON for programs.
    """
    from .. import store

    written = store.convert(checkpoint, folder, name)
    files = sorted(path.name for path in written.iterdir())
    if json:
        screen.print_json({"folder": str(written), "files": files})
    else:
        screen.say(f"written: {', '.join(str(written / file) for file in files)}")
