"""The structures of a recipe: files and folders of files, and the split that each states."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ase

from ..display import printable
from .file_streams import stream
from .recipe import Recipe

SPLITS = ("train", "val", "test")
# files that are read from a folder, by their names
NAMES = re.compile(
    r".*\.(extxyz|xyz|traj|db|aselmdb|json)(\.(gz|bz2|xz))?"
    r"|vasprun\.xml(\.(gz|bz2|xz))?|OUTCAR(\.(gz|bz2|xz))?"
)
VASP = ("vasprun.xml", "OUTCAR")  # both hold the same


@dataclass(frozen=True)
class Row:
    """A structure of a recipe."""

    file: str  # name in the recipe
    index: int  # in the file
    atoms: ase.Atoms
    split: str  # "" if it is not stated
    path: str  # of the file in a folder, else the name in the recipe

    @property
    def where(self) -> str:
        """What messages call the structure."""
        return f"`{self.path}`, structure {self.index}"


def rows(recipe: Recipe) -> Iterator[Row]:
    """Structures of a recipe, with the split that they state or that their file has.

    Parameters
    ----------
    recipe:
        Recipe.

    Raises
    ------
    ValueError
        A file is missing, damaged, or a structure states no split although it has to.
    """
    data = recipe.data
    files_of = {"train": data.train, "val": data.val, "test": data.test}
    for split, names in files_of.items():
        for name in names:
            for path, index, atoms in _structures(recipe, name):
                yield Row(name, index, atoms, split, path)
    # files that hold several splits say in each structure to which it belongs
    automatic = data.val_fraction + data.test_fraction > 0
    for name in data.files:
        for path, index, atoms in _structures(recipe, name):
            stated = atoms.info.get(data.split_key)
            split = stated if stated in SPLITS else ""
            row = Row(name, index, atoms, split, path)
            if not row.split and (stated is not None or not automatic):
                raise ValueError(
                    f"{row.where}: `{data.split_key}` is {stated!r}, expected one of"
                    f" {', '.join(SPLITS)}, or `data.val_fraction` above 0 for structures without"
                    " a split"
                )
            yield row


def paths(folder: Path, name: str) -> list[Path]:
    """Files that a name in a recipe stands for: itself, or those of a folder in order of names.

    Parameters
    ----------
    folder:
        Folder of the recipe.
    name:
        Name in the recipe.

    Raises
    ------
    ValueError
        There is no such file, or the folder holds none that is read.
    """
    path = folder / name
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ValueError(f"there is no data file `{printable(str(path))}`")
    files = sorted(each for each in path.rglob("*") if NAMES.fullmatch(each.name))
    chosen = [each for each in files if each.is_file() and not _is_second(each, files)]
    if not chosen:
        raise ValueError(
            f"`{path}` holds no file of structures: expected .extxyz, .xyz, .traj, .db, .aselmdb,"
            " .json, vasprun.xml or OUTCAR"
        )
    return chosen


def _structures(recipe: Recipe, name: str) -> Iterator[tuple[str, int, ase.Atoms]]:
    """(name of the file, index in it, atoms) of what a name in a recipe stands for."""
    try:
        files = paths(recipe.folder, name)
    except ValueError as error:
        raise ValueError(f"recipe `{recipe.name}`: {error}") from None
    if (recipe.folder / name).is_dir():
        warnings.warn(f"`{name}`: {len(files)} files of the folder are read", stacklevel=2)
    for path in files:
        shown = name
        place = recipe.folder / name
        if path != place:
            inside = path.relative_to(place)
            shown = (Path(name) / inside).as_posix()
        for index, atoms in enumerate(stream(path)):
            yield shown, index, atoms


def _is_second(path: Path, files: list[Path]) -> bool:
    """Whether an OUTCAR has a vasprun.xml of the same calculation beside it."""
    first, second = VASP
    if not path.name.startswith(second):
        return False
    return any(each.parent == path.parent and each.name.startswith(first) for each in files)
