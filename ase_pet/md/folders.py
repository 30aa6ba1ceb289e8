"""Folder of a run: its settings.toml, and whether a run that is continued is the same one."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import ase
import ase.io
import tomli_w
from ase import Atoms

from . import state as states
from ._protocols import AseCalculator, HasParameters
from .outputs import SETTINGS, TEXT, THERMO, TRAJECTORY
from .settings import Settings

FILES = (SETTINGS, TRAJECTORY, TEXT, THERMO, states.FILE)
FIRST_ROWS = 2  # lines of thermo.csv, names and step 0, that are written before the first state
ADDRESS = " at 0x"  # in the text of Python objects; the address differs between processes

Description = dict[str, Any]


def describe(settings: Settings, atoms: Atoms, fast: AseCalculator | None) -> Description:
    """Content of settings.toml, as {table: content}.

    Parameters
    ----------
    settings:
        Settings of the run.
    atoms:
        Structure with its calculator.
    fast:
        Calculator of cheap forces, if any.
    """
    structure = {
        "formula": str(atoms.symbols),
        "atoms": len(atoms),
        "pbc": atoms.pbc.tolist(),
    }
    description = {
        "settings": settings.as_dict(),
        "structure": structure,
        "calculator": _describe_calculator(atoms.calc),
        "programs": {"ase": ase.__version__, "ase_pet": _version()},
    }
    if fast is not None:
        description["fast"] = _describe_calculator(fast)
    return description


def write(folder: Path, description: Description) -> None:
    """Replace the settings.toml of a `folder` by a `description`, in one step."""
    temporary = folder / (SETTINGS + ".tmp")
    temporary.write_text(tomli_w.dumps(description), encoding="utf-8")
    temporary.replace(folder / SETTINGS)


def read(folder: Path) -> Description:
    """Content of the settings.toml in a `folder`, as {table: content}.

    Raises
    ------
    ValueError, OSError
        The file cannot be read; the message names it.
    """
    try:
        with open(folder / SETTINGS, "rb") as file:
            return tomllib.load(file)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"`{folder / SETTINGS}` cannot be read: {error}") from None


def beginning(folder: Path) -> Atoms:
    """Structure at the beginning of the run in a `folder`, without a calculator.

    Raises
    ------
    ValueError
        The folder holds no run.
    """
    if not (folder / states.FILE).exists():
        raise ValueError(
            f"`output` {folder} holds no run to be continued ({states.FILE} is missing)"
        )
    atoms = ase.io.read(folder / TRAJECTORY, 0)
    assert isinstance(atoms, Atoms)  # one index is one structure
    for name in ("step", "time_ps"):  # added to each frame by `Outputs.write_frame`
        del atoms.info[name]
    atoms.calc = None
    return atoms


def stored(
    folder: Path, description: Description, restart: bool
) -> tuple[states.State, dict[str, int]] | tuple[None, None]:
    """State and output sizes of the run in a folder, (None, None) for a new run.

    Parameters
    ----------
    folder:
        Folder of the run.
    description:
        Description of the run that is asked for, see `describe`.
    restart:
        Whether to continue the run in the folder.

    Raises
    ------
    FileExistsError
        The folder holds a run, and `restart` is False.
    ValueError
        The run in the folder differs from the description in more than its `time`.
    """
    existing = [name for name in FILES if (folder / name).exists()]
    if not restart and existing:
        raise FileExistsError(
            f"`output` {folder} holds a run ({', '.join(existing)}): continue it with restart=True "
            "(--restart), or use another folder"
        )
    if not restart:
        return None, None
    saved = states.read(folder)
    if saved[0] is None:
        _refuse_to_overwrite(folder)
    else:
        _compare(folder, description)
    return saved


def _refuse_to_overwrite(folder: Path) -> None:
    """Raise ValueError if the folder holds a run longer than one step that has lost its state.

    A run that was killed before its first step has no state either: it is begun again.
    """
    table = folder / THERMO
    if not table.exists():
        return
    with open(table, "rb") as file:
        rows = sum(1 for _ in file)
    if rows > FIRST_ROWS:
        raise ValueError(
            f"`output` {folder} holds a run whose {states.FILE} is missing: it cannot be continued,"
            " and to begin again would overwrite it; use another folder"
        )


def _compare(folder: Path, description: Description) -> None:
    """Raise ValueError if the settings or calculators of the run in the folder are different."""
    before = read(folder)
    _require_same(folder, before["settings"], description["settings"])
    for table in ("calculator", "fast"):
        # a run without cheap forces has no table "fast": both sides are then empty
        old = before.get(table, {})
        new = description.get(table, {})
        old_class = {table: old.get("class")}
        new_class = {table: new.get("class")}
        _require_same(folder, old_class, new_class)
        old_parameters = old.get("parameters", {})
        new_parameters = new.get("parameters", {})
        whose = f" of the {table}"
        _require_same(folder, old_parameters, new_parameters, whose)


def _require_same(
    folder: Path, before: dict[str, Any], now: dict[str, Any], whose: str = ""
) -> None:
    for name in dict.fromkeys([*before, *now]):
        old = before.get(name)
        new = now.get(name)
        # an object without `__repr__` is written with its address, which differs between processes
        addresses = ADDRESS in str(old) and ADDRESS in str(new)
        differs = old != new and not addresses
        if differs and name != "time":
            raise ValueError(
                f"`{name}`{whose} is {new!r}, but the run in {folder} has {old!r}: only `time` may"
                " change when a run is continued"
            )


def _describe_calculator(calculator: AseCalculator) -> dict[str, Any]:
    kind = type(calculator)
    parameters = calculator.parameters if isinstance(calculator, HasParameters) else {}
    return {
        "class": f"{kind.__module__}.{kind.__qualname__}",
        "parameters": {str(name): repr(value) for name, value in parameters.items()},
    }


def _version() -> str:
    try:
        return metadata.version("ase_pet")
    except metadata.PackageNotFoundError:
        return "not installed"
