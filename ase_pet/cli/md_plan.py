"""What `ase-pet md` starts from: a new run, or the one in a folder."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..md.settings import Settings
from . import options, screen

if TYPE_CHECKING:
    from ase import Atoms

SETTINGS = [field.name for field in dataclasses.fields(Settings)]
# options of the calculator, which are remembered for a restart
CALCULATOR_OPTIONS = (*options.CALCULATOR, "uncertainty", "uncertainty_threshold")
COMMAND = ("calc", "structure", "calculator", "fast", "inner", "repeat", *CALCULATOR_OPTIONS)
NAMED = ("calc", "calculator", "fast", "inner")  # names and paths that are loaded or imported
PLAIN = "plain"  # value of --inner that loads nothing else than CALC


@dataclasses.dataclass
class Plan:
    """What a run starts from."""

    atoms: Atoms  # with their calculator
    fast: Any  # ASE calculator of cheap forces for multiple time steps, or None
    settings: dict[str, Any]  # arguments of Settings
    command: dict[str, Any]  # what settings.toml remembers of the command line


def new(params: dict[str, Any], given: dict[str, Any]) -> Plan:
    """Plan of a new run.

    Parameters
    ----------
    params:
        Arguments of the command.
    given:
        Those that were given on the command line: a run refuses settings that it would ignore.
    """
    calc, structure = options.calc_and_structure(
        params["calc"], params["structure"], params["calculator"]
    )
    command = {name: params[name] for name in (*NAMED[1:], *CALCULATOR_OPTIONS)}
    command |= {"calc": calc, "structure": structure, "repeat": params["repeat"]}
    settings = {name: given[name] for name in SETTINGS if name in given}
    _note_temperature(settings)
    if params["compile"] and settings.get("ensemble") == "npt":
        screen.note(
            "ase-pet: note: --compile has no effect in npt: the cell changes at each step, and the"
            " neighbours are searched again"
        )
    atoms = options.read_structures(structure, -1, params["format"])
    return _plan(_repeated(atoms, params["repeat"]), settings, command)


def _note_temperature(settings: dict[str, Any]) -> None:
    """Say that nothing uses a temperature where momenta are kept and there is no thermostat."""
    if "temperature" not in settings:
        return
    chosen = Settings(**settings)
    if chosen.momenta == "keep" and chosen.ensemble == "nve" and not chosen.equilibrate:
        screen.note(
            "ase-pet: note: --temperature is not used: nve has no thermostat, and the momenta are"
            " those of the structure (--momenta keep)"
        )


def _repeated(atoms: Atoms, repeat: str | None) -> Atoms:
    """Supercell of a structure; its constraints are repeated too."""
    if repeat is None:
        return atoms
    from ..constraints import describe

    numbers = options.integers("repeat", repeat, (3,))
    options.check_positive(repeat=min(numbers))
    try:
        supercell: Atoms = atoms.repeat(numbers)
    except NotImplementedError:
        raise ValueError(
            f"`--repeat`: the constraints of the structure ({describe(atoms)}) cannot be repeated:"
            " remove them, or write the supercell with its constraints into a file"
        ) from None
    return supercell


def continued(folder: Path, given: dict[str, Any]) -> Plan:
    """Plan of the run in a folder; options that are given now replace those given then.

    The folder may come from someone else: nothing that its files name is imported or loaded,
    except calculators that are known by name.

    Parameters
    ----------
    folder:
        Folder of the run.
    given:
        Options that were given on the command line.
    """
    from ..md import fingerprints, folders

    atoms = folders.beginning(folder)
    stored = folders.read(folder)
    command = folders.command(folder, COMMAND)
    if command is None:
        raise ValueError(
            f"`output` {folder} holds a run that was not begun by `ase-pet md`: give CALC STRUCTURE"
            " and its settings with --restart"
        )
    if command.get("symmetrise"):
        # the full name, where it is known: the short one had another meaning in version 0.2
        texts = fingerprints.parameters_of(stored.get("calculator", {}))
        command["symmetrise"] = texts.get("symmetrise", command["symmetrise"]).strip("'")
    # what is given now replaces what was given then; `folders` checks what may change
    settings = dict(stored["settings"])
    for name in NAMED:
        _require_repeated(folder, name, command.get(name), given.get(name))
    if given.get("repeat") is not None:
        _require_repeated(folder, "repeat", command.get("repeat"), given["repeat"])
    for name, value in given.items():
        if name in SETTINGS:
            settings[name] = value
        elif name in CALCULATOR_OPTIONS:
            command[name] = value
    return _plan(atoms, settings, command)


def _require_repeated(folder: Path, name: str, stored: Any, given: Any) -> None:
    """Raise ValueError unless what a file names is given again, or is the name of a calculator."""
    label = "CALC" if name == "calc" else f"`--{name}`"
    if given is not None and given != stored:
        raise ValueError(f"{label} is {given!r}, but the run in {folder} has {stored!r}")
    if stored is None or given is not None:
        return
    if name == "inner" and stored == PLAIN:
        return
    if name in ("calc", "inner") and _is_known(stored):
        return
    raise ValueError(
        f"the run in {folder} used {label} {stored!r}: repeat it with --restart. A restart imports"
        " and loads nothing that only a file names"
    )


def _is_known(calc: str) -> bool:
    """Whether a text is the name of a shipped or published calculator, and not a path."""
    from .. import published, store

    if calc in store.shipped():
        return True
    return published.is_name(calc) and not Path(calc).exists()


def again(plan: Plan, output: Path) -> str:
    """Command that continues a run.

    Parameters
    ----------
    plan:
        Plan of the run.
    output:
        Its folder.
    """
    words = ["ase-pet", "md", "--restart"]
    calc = plan.command.get("calc")
    if calc is not None and not _is_known(calc):
        words.append(calc)
    for name in NAMED[1:]:
        stored = plan.command.get(name)
        by_name = name == "inner" and (stored == PLAIN or _is_known(stored or ""))
        if stored is not None and not by_name:
            words += [f"--{name}", plan.command[name]]
    return shlex.join([*words, "--output", str(output)])


def _plan(atoms: Atoms, settings: dict[str, Any], command: dict[str, Any]) -> Plan:
    """Plan with the calculators loaded."""
    Settings(**settings)  # bad settings fail before a model is loaded
    command = {name: value for name, value in command.items() if value is not None}
    calc = command.get("calc")
    multiple = settings.get("multiple", 1)
    _check_inner(command, multiple)
    chosen = {name: command[name] for name in CALCULATOR_OPTIONS if name in command}
    atoms.calc = options.load_calculator(calc, command.get("calculator"), **chosen)
    options.announce(calc or command.get("calculator"), atoms.calc, [atoms])

    fast = None
    if "fast" in command:
        fast = options.load_calculator(None, command["fast"], option="fast")
    elif "inner" in command:
        from ..md import inner

        fast = inner.calculator(command["inner"], atoms.calc)
    elif multiple > 1:
        fast = _direct(calc, chosen)
    return Plan(atoms, fast, settings, command)


def _direct(calc: str | None, chosen: dict[str, Any]) -> Any:
    """Calculator of the direct forces of the same model, plain and without its uncertainties.

    Dispersion is left out, too, and then part of the difference.
    """
    for name in ("symmetrise", "uncertainty", "uncertainty_threshold", "d3"):
        chosen.pop(name, None)
    try:
        return options.load_calculator(
            calc, None, non_conservative="forces", symmetrise="none", **chosen
        )
    except ValueError as error:
        raise ValueError(
            f"`--inner-steps` without --inner: {error}. Give --inner plain for {calc} without its"
            " symmetriser, --inner NAME, or --fast module:factory"
        ) from None


def _check_inner(command: dict[str, Any], multiple: int) -> None:
    """Raise ValueError unless --inner-steps and a calculator of cheap forces fit together."""
    if "inner" in command and "fast" in command:
        raise ValueError("`--inner` and `--fast` are both given: they are the same calculator")
    if "inner" in command and multiple == 1:
        raise ValueError(
            "`--inner` needs --inner-steps, the number of inner steps: expected 2 or more"
        )
    if multiple > 1 and not {"calc", "inner", "fast"} & set(command):
        raise ValueError(
            "`--multiple` (--inner-steps) with --calculator: give --fast module:factory, the"
            " calculator of cheap forces, or --inner NAME"
        )
