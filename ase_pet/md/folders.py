"""The folder of a run.

What settings.toml says of it, and whether what is asked for now is the same run.
"""

import tomllib
from importlib import metadata

import ase
import ase.io
import tomli_w

from . import state as states
from .outputs import SETTINGS, TEXT, THERMO, TRAJECTORY

FILES = (SETTINGS, TRAJECTORY, TEXT, THERMO, states.FILE)
FIRST_ROWS = 2  # lines of thermo.csv, names and step 0, before there is a state
ADDRESS = " at 0x"  # in texts of Python objects: another one in each process


def describe(settings, atoms, fast):
    """{table: content} of settings.toml: what the run is told, of what, with what."""
    content = {
        "settings": settings.as_dict(),
        "structure": {
            "formula": str(atoms.symbols),
            "atoms": len(atoms),
            "pbc": atoms.pbc.tolist(),
        },
        "calculator": _named(atoms.calc),
        "programs": {"ase": ase.__version__, "ase_pet": _version()},
    }
    return content if fast is None else content | {"fast": _named(fast)}


def write(folder, description):
    """Replace settings.toml at once."""
    temporary = folder / (SETTINGS + ".tmp")
    temporary.write_text(tomli_w.dumps(description), encoding="utf-8")
    temporary.replace(folder / SETTINGS)


def read(folder):
    """{table: content} of the settings.toml in a folder.

    Raises ValueError or OSError that names it.
    """
    try:
        with open(folder / SETTINGS, "rb") as file:
            return tomllib.load(file)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"`{folder / SETTINGS}` cannot be read: {error}") from None


def beginning(folder):
    """Atoms as they were when the run in a folder began, without a calculator.

    Raises ValueError where there is none.
    """
    if not (folder / states.FILE).exists():
        raise ValueError(
            f"`output` {folder} holds no run to be continued ({states.FILE} is missing)"
        )
    atoms = ase.io.read(folder / TRAJECTORY, 0)
    for name in ("step", "time_ps"):  # written by the run
        del atoms.info[name]
    atoms.calc = None
    return atoms


def stored(folder, description, restart):
    """State and sizes of the run in a folder, (None, None) for a new one.

    Raises FileExistsError where a run is in the way, ValueError where it is not the one described,
    but for its `time`.
    """
    there = [name for name in FILES if (folder / name).exists()]
    if not restart and there:
        raise FileExistsError(
            f"`output` {folder} holds a run ({', '.join(there)}): continue it with restart=True "
            "(--restart), or use another folder"
        )
    state, sizes = states.read(folder) if restart else (None, None)
    if state is not None:
        _compare(folder, description)
    elif restart:
        _refuse_to_overwrite(folder)
    return state, sizes


def _refuse_to_overwrite(folder):
    """A run without a state was killed before its first step, and is begun again.

    A longer one has lost its state.
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


def _compare(folder, description):
    """Raise ValueError where settings or calculators in a folder are others."""
    before = read(folder)
    _same(folder, before["settings"], description["settings"])
    for table in ("calculator", "fast"):
        old, now = before.get(table, {}), description.get(table, {})
        _same(folder, {table: old.get("class")}, {table: now.get("class")})
        _same(folder, old.get("parameters", {}), now.get("parameters", {}), f" of the {table}")


def _same(folder, before, now, whose=""):
    for name in dict.fromkeys([*before, *now]):
        old, new = before.get(name), now.get(name)
        if name != "time" and old != new and not (ADDRESS in str(old) and ADDRESS in str(new)):
            raise ValueError(
                f"`{name}`{whose} is {new!r}, but the run in {folder} has {old!r}: only `time` may"
                " change when a run is continued"
            )


def _named(calculator):
    parameters = {
        str(name): repr(value) for name, value in getattr(calculator, "parameters", {}).items()
    }
    return {
        "class": f"{type(calculator).__module__}.{type(calculator).__qualname__}",
        "parameters": parameters,
    }


def _version():
    try:
        return metadata.version("ase_pet")
    except metadata.PackageNotFoundError:
        return "not installed"
