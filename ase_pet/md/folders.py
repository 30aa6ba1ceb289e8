"""Folder of a run: its settings.toml, and whether a run that is continued is the same one."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
import tomli_w
from ase import Atoms

from .. import toml_files
from . import fingerprints
from . import state as states
from ._protocols import AseCalculator
from .outputs import SETTINGS, TEXT, THERMO, TRAJECTORY, UNCERTAIN
from .rules import parse_temperature
from .settings import MAY_CHANGE, Settings

EQUILIBRATION = "equilibration"  # folder of the run before the run
FILES = (SETTINGS, TRAJECTORY, TEXT, THERMO, states.FILE, EQUILIBRATION)
FIRST_ROWS = 2  # lines of thermo.csv, names and step 0, that are written before the first state
ADDRESS = " at 0x"  # in the text of Python objects; the address differs between processes
SAME_PLACE = 1e-5  # A, difference of structures that are the same but for rounding
SAME_MOMENTA = 1e-6  # relative

TABLES = ("settings", "structure", "calculator", "programs")  # of settings.toml
FIELDS = dataclasses.fields(Settings)

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
        "fingerprints": fingerprints.of_structure(atoms),
    }
    description = {
        "settings": settings.as_dict(),
        "structure": structure,
        "calculator": fingerprints.of_calculator(atoms.calc),
        "programs": {"ase": ase.__version__, "ase_pet": _version()},
    }
    if fast is not None:
        description["fast"] = fingerprints.of_calculator(fast)
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
    path = folder / SETTINGS
    try:
        content = toml_files.read(path)
    except ValueError as error:
        raise ValueError(f"`{path}` cannot be read: {error}") from None
    for table in TABLES:
        if not isinstance(content.get(table), dict):
            raise ValueError(f"`{path}` is not of a run: it has no table [{table}]")
    _check_values(path, "settings", content["settings"], [field.name for field in FIELDS])
    return content


def _check_values(path: Path, table: str, values: Any, names: Sequence[str]) -> None:
    """Raise ValueError for entries of a table that are unknown or neither text nor numbers."""
    if not isinstance(values, dict):
        raise ValueError(f"`{path}` is not of a run: [{table}] is no table")
    for name, value in values.items():
        parts = value if isinstance(value, list) else [value]
        plain = all(isinstance(part, str | int | float) for part in parts)
        if name not in names or not plain:
            raise ValueError(f"`{path}` has an entry `{name}` in [{table}] that no run writes")


def command(folder: Path, names: Sequence[str]) -> dict[str, Any] | None:
    """Command line that began the run in a folder, None if it was not begun by one.

    Parameters
    ----------
    folder:
        Folder of the run.
    names:
        Names that a command line may have.
    """
    content = read(folder)
    if "command" not in content:
        return None  # of a run from Python
    _check_values(folder / SETTINGS, "command", content["command"], names)
    return dict(content["command"])


def beginning(folder: Path) -> Atoms:
    """Structure at the beginning of the run in a `folder`, without a calculator.

    Raises
    ------
    ValueError
        The folder holds no run.
    """
    holder = folder
    if not (folder / states.FILE).exists():
        holder = folder / EQUILIBRATION
    state, _ = states.read(holder)
    if state is None:
        raise ValueError(
            f"`output` {folder} holds no run to be continued ({states.FILE} is missing)"
        )
    # the format is stated: ASE would look into the file for others
    atoms = ase.io.read(holder / TRAJECTORY, 0, format="traj")
    assert isinstance(atoms, Atoms)  # one index is one structure
    for name in (
        "step",
        "time_ps",
        "energy_uncertainty_eV",
        UNCERTAIN,
    ):  # added by `Outputs.write_frame`
        atoms.info.pop(name, None)
    atoms.arrays.pop("energies_uncertainty_eV", None)
    atoms.calc = None
    if states.START + "positions" in state:
        # the trajectory begins after the equilibration, if there is one
        states.place(atoms, state, states.START)
    return atoms


def first_state(folder: Path, settings: Settings) -> states.State | None:
    """State of the run in a folder, or of its equilibration if it got no further; None without.

    Parameters
    ----------
    folder:
        Folder of the run.
    settings:
        Settings of the run.
    """
    state, _ = states.read(folder)
    if state is None and settings.equilibrate:
        state, _ = states.read(folder / EQUILIBRATION)
    return state


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
        The run in the folder differs from the description in more than may change.
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
        if (folder / EQUILIBRATION / states.FILE).exists():
            _compare(folder, description)
    else:
        _compare(folder, description)
    return saved


def compare_start(folder: Path, atoms: Atoms, state: states.State, keeps_momenta: bool) -> None:
    """Raise ValueError if a structure is neither the first nor the last one of the run in a folder.

    Parameters
    ----------
    folder:
        Folder of the run.
    atoms:
        Structure that is given to continue the run.
    state:
        State of the run.
    keeps_momenta:
        Whether the momenta of the first structure are those of the run.
    """
    if states.START + "positions" not in state:
        return  # of an earlier version
    places = (states.START, states.ATOMS, states.END)
    same = [prefix for prefix in places if _is_at(atoms, state, prefix)]
    begin = f"give the structure it began with (`{folder / TRAJECTORY}`, or its file)"
    if not same:
        start = state[states.START + "positions"]
        largest = np.abs(atoms.positions - start).max()
        raise ValueError(
            f"`positions` or cell of the structure differ from those at the beginning of the run in"
            f" {folder}, positions by up to {largest:.3g} A: {begin}"
        )
    if keeps_momenta and same == [states.START]:
        before = state[states.START + "momenta"]
        difference = np.abs(atoms.get_momenta() - before).max()
        if difference > SAME_MOMENTA * np.abs(before).max():
            raise ValueError(
                f"`momenta` of the structure differ from those at the beginning of the run in"
                f" {folder}: {begin}"
            )


def _is_at(atoms: Atoms, state: states.State, prefix: str) -> bool:
    """Whether positions and cell are those of a state, but for rounding."""
    if prefix + "positions" not in state:
        return False
    moved = np.abs(atoms.positions - state[prefix + "positions"]).max()
    strained = np.abs(atoms.cell.array - state[prefix + "cell"]).max()
    return bool(max(moved, strained) <= SAME_PLACE)


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
    """Raise ValueError if settings, structure or calculators of the run in the folder differ."""
    before = read(folder)
    # runs of earlier versions lack later settings, whose defaults are what they did
    defaults = {field.name: field.default for field in FIELDS}
    old_settings = defaults | before["settings"]
    old_settings["temperature"] = parse_temperature(old_settings["temperature"])
    _require_same(folder, old_settings, defaults | description["settings"])
    old_structure = before.get("structure", {})
    if "fingerprints" not in old_structure:
        warnings.warn(
            f"the run in {folder} was begun by an earlier version, which recorded no masses,"
            " constraints, charges or weights: they cannot be compared",
            stacklevel=5,
        )
    else:
        new = description["structure"]["fingerprints"]
        _require_same_hashes(folder, "structure", old_structure["fingerprints"], new)
    for table in ("calculator", "fast"):
        # a run without cheap forces has no table "fast": both sides are then empty
        _require_same_calculator(folder, table, before.get(table, {}), description.get(table, {}))
    _warn_of_versions(folder, before.get("programs", {}), description["programs"])


def _require_same_calculator(folder: Path, table: str, old: Any, new: Any) -> None:
    """Raise ValueError for the first difference of two descriptions of a calculator."""
    _require_same(folder, {table: old.get("class")}, {table: new.get("class")})
    whose = f" of the {table}"
    parameters = [fingerprints.parameters_of(part) for part in (old, new)]
    _require_same(folder, parameters[0], parameters[1], whose)
    if "files" not in old:
        return  # of an earlier version
    files = [
        {f"file of {name}": digest for name, digest in part["files"].items()} for part in (old, new)
    ]
    _require_same_hashes(folder, table, *files)
    hashes = [{"weights": part.get("fingerprint")} for part in (old, new)]
    _require_same_hashes(folder, table, *hashes)
    # of sums of calculators, which have as many factors as parts
    _require_same(folder, {"factors": old.get("factors")}, {"factors": new.get("factors")}, whose)
    parts = [part.get("parts", []) for part in (old, new)]
    for number, (first, second) in enumerate(zip(*parts, strict=True)):
        _require_same_calculator(folder, f"{table}, part {number}", first, second)


def _require_same_hashes(
    folder: Path, whose: str, before: dict[str, Any], now: dict[str, Any]
) -> None:
    for name in dict.fromkeys([*before, *now]):
        if before.get(name) != now.get(name):
            raise ValueError(
                f"`{name}` of the {whose} changed since the run in {folder} began: restart with the"
                f" {whose} of the run, or start a new run in another folder"
            )


def _require_same(
    folder: Path, before: dict[str, Any], now: dict[str, Any], whose: str = ""
) -> None:
    for name in dict.fromkeys([*before, *now]):
        old = before.get(name)
        new = now.get(name)
        # an object without `__repr__` is written with its address, which differs between processes
        addresses = ADDRESS in str(old) and ADDRESS in str(new)
        if old == new or addresses or (not whose and name in MAY_CHANGE):
            continue
        raise ValueError(
            f"`{name}`{whose} is {new!r}, but the run in {folder} has {old!r}: only `time` may"
            " change when a run is continued, and what it writes. Repeat what the run began with,"
            " or start a new run in another folder"
        )


def _warn_of_versions(folder: Path, before: dict[str, str], now: dict[str, str]) -> None:
    changes = [
        f"{name} {before[name]}, now {now[name]}"
        for name in now
        if name in before and before[name] != now[name]
    ]
    if changes:
        warnings.warn(
            f"the run in {folder} was begun with {'; '.join(changes)}: it may not be bit-exact",
            stacklevel=6,
        )


def _version() -> str:
    try:
        return metadata.version("ase_pet")
    except metadata.PackageNotFoundError:
        return "not installed"
