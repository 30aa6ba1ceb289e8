"""Rows of the summary of a run, for the terminal and report.html, and of its settings."""

from __future__ import annotations

import ast
import dataclasses
import shlex
from pathlib import Path
from typing import Any

from ..statistics import DRIFTING
from .settings import Settings
from .thermo import described

Rows = list[tuple[str, str, str]]

POSITIONAL = ("calc", "structure")
FOR_READERS = 5  # digits of a mean without an error
EMPTY = ("", "None", "{}", "[]")  # texts of values that say nothing


def of_summary(
    settings: Settings,
    means: dict[str, Any],
    equilibration: dict[str, Any],
    ramp: list[dict[str, float]],
) -> Rows:
    """Rows (quantity, value, unit) of equilibration, parts of a ramp, and means.

    Parameters
    ----------
    settings:
        Settings of the run.
    means:
        `Result.summary()`.
    equilibration:
        `Result.equilibration()`.
    ramp:
        `Result.ramp_parts()`.
    """
    rows: Rows = []
    for quantity, value, unit in described(equilibration):
        if quantity == "mean temperature":
            text = f"{value}; lengthen --equilibrate" if value == DRIFTING else value
            rows.append((f"equilibration, {settings.equilibrate:g} ps", text, unit))
    for part in ramp:
        name = f"{part['from_K']:g} to {part['to_K']:g} K"
        times = f"{part['begin_ps']:g} to {part['end_ps']:g} ps"
        mean = f"mean {part['mean_temperature_K']:.{FOR_READERS}g}"
        rows.append((f"{name}, {times}", mean, "K"))
    return rows + described(means)


def of_inner_steps(measured: dict[str, Any]) -> Rows:
    """Rows (quantity, value, unit) of what was measured about the inner steps of a run.

    Parameters
    ----------
    measured:
        `Result.inner_steps()`, {} without any.
    """
    rows: Rows = []
    if not measured:
        return rows
    outer = f"{measured['inner_steps']} inner steps, {measured['outer_step_fs']:g}"
    rows.append(("outer step", outer, "fs"))
    if measured["ratio"] is not None:
        text = f"{measured['rms_meV_per_atom']:.2g}, {measured['ratio']:.3g} times that of inner"
        rows.append(("RMS of the energy, first steps", text, "meV/atom"))
    doubles = measured["doubles_at_steps"]
    if doubles is not None:
        rows.append(("RMS doubles at about", f"{doubles}", "inner steps"))
    if measured["fastest_vibration_THz"] is not None:
        highest = measured["fastest_vibration_THz"]
        text = f"{highest:.3g}, half period {500 / highest:.3g} fs"
        rows.append(("fastest vibration", text, "THz"))
    return rows


def of_settings(settings: Settings) -> list[tuple[str, str]]:
    """Rows (name, value with unit) of the settings that the run uses.

    Parameters
    ----------
    settings:
        Settings of the run.
    """
    unused = settings.unused()
    units = {field.name: field.metadata["unit"] for field in dataclasses.fields(settings)}
    rows = []
    for name, value in settings.as_dict().items():
        if name not in unused:
            text = f"{_text(value)} {units[name] or ''}"
            rows.append((name, text.strip()))
    return rows


def of_table(content: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Rows (name, value) of a table of settings.toml, without what is empty.

    Parameters
    ----------
    content:
        Table; inner tables become rows of their own.
    prefix:
        Name of the table that this one is in, and a space.
    """
    rows = []
    for name, value in content.items():
        label = f"{prefix}{name}"
        if isinstance(value, dict):
            rows += of_table(value, f"{label} ")
            continue
        if isinstance(value, list) and any(isinstance(part, dict) for part in value):
            # parts of a sum of calculators
            parts = {str(number): part for number, part in enumerate(value)}
            rows += of_table(parts, f"{label} ")
            continue
        text = _without_quotes(value)
        if text not in EMPTY:
            rows.append((label, text))
    return rows


def command_line(command: dict[str, Any], settings: Settings, folder: Path) -> str:
    """Command that makes the run again, in one line.

    Parameters
    ----------
    command:
        Table "command" of settings.toml.
    settings:
        Settings of the run.
    folder:
        Folder of the run.
    """
    words = ["ase-pet", "md"]
    words += [str(command[name]) for name in POSITIONAL if name in command]
    options = {name: value for name, value in command.items() if name not in POSITIONAL}
    unused = settings.unused()
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        # the length is stated although it may be the default
        chosen = value != field.default or field.name == "time"
        if chosen and field.name not in unused:
            options[field.name] = value
    for name, value in options.items():
        if value is False:
            continue
        words.append(f"--{name.replace('_', '-')}")
        if value is not True:
            words.append(_text(value))
    return shlex.join([*words, "--output", str(folder)])


def _text(value: Any) -> str:
    """Text of a value as on the command line: points of a ramp are separated by colons."""
    if isinstance(value, list | tuple):
        return ":".join(_text(part) for part in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _without_quotes(value: Any) -> str:
    """Text of a value; of a text that was written by `repr`, the text itself."""
    if not isinstance(value, str):
        return str(value)
    try:
        inner = ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value
    return inner if isinstance(inner, str) else value
