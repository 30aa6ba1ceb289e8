"""Commands that are imported when they are called, so that `ase-pet --help` is quick.

The command NAME is the function `command` of the file `NAME.py`. Its docstring is its help: the
text before the first section, the meaning of each option from the section "Parameters" (or, if it
is computed, from the option itself), and the text at the end from the section "Examples".
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable
from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup, TyperOption

COMMANDS = {  # name: first line of its help
    "list": "List the shipped calculators, or the published checkpoints.",
    "info": "Describe a calculator and, with a structure, evaluate it once.",
    "eval": "Errors of a calculator against the labels in a data file.",
    "check": "Check a calculator against the laws of physics; exit status 1 if a check fails.",
    "download": "Download a published checkpoint and print its path.",
    "convert": "Convert a checkpoint of another program into a calculator folder.",
    "train": "Train the calculator that a recipe describes.",
    "md": "Run molecular dynamics in a folder, from which it can be restarted.",
    "bench": "Measure the time of an evaluation and of an MD step, ns/day, and the peak memory.",
    "relax": "Relax a structure within its space group.",
    "phonons": "Phonons of a crystal: imaginary modes, bands, density of states, heat capacity.",
    "elastic": "Elastic constants and moduli (GPa) of a crystal, and its equation of state.",
    "conductivity": "Thermal conductivity (W/m/K) of a crystal by phono3py.",
}


class HelpWithoutType(TyperCommand):
    """Command whose option --help is shown without a type."""

    def get_help_option(self, ctx: Any) -> Any:
        """Option --help.

        Parameters
        ----------
        ctx:
            Context of the command.
        """
        option = super().get_help_option(ctx)
        if option is not None:
            option.metavar = ""
        return option


class LazyGroup(TyperGroup):
    """Group whose help lists placeholders, and that imports a command when it is called."""

    def get_help_option(self, ctx: Any) -> Any:
        """Option --help.

        Parameters
        ----------
        ctx:
            Context of the group.
        """
        option = super().get_help_option(ctx)
        if option is not None:
            option.metavar = ""
        return option

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Name, command and remaining arguments of a command line.

        Parameters
        ----------
        ctx:
            Context of the group.
        args:
            Arguments after the options of the group.
        """
        name, command, rest = super().resolve_command(ctx, args)
        return name, command if name is None else load(name), rest


def placeholder() -> None:
    """Stand in for a command in the help of the group."""


def load(name: str) -> Any:
    """Command of a name, with its help.

    Parameters
    ----------
    name:
        Key of COMMANDS.
    """
    function: Callable[..., None] = importlib.import_module(f"{__package__}.{name}").command
    # the mode is named, as versions of typer differ in their default
    app = typer.Typer(add_completion=False, rich_markup_mode="rich")
    app.command(name, cls=HelpWithoutType)(function)
    command: Any = typer.main.get_command(app)

    # rich would read `[train]` as a style and print nothing: brackets are escaped
    sections = _sections(inspect.getdoc(function) or "")
    command.short_help = COMMANDS[name]
    command.help = escape(_unwrapped(sections.pop("")))
    command.epilog = escape(_unwrapped(sections.pop("Examples", "")))
    meanings = _entries(sections.pop("Parameters", ""))
    for parameter in command.params:
        # a text in the docstring comes before one that is computed, such as a list of names
        texts = [meanings.get(parameter.name), parameter.help]
        parameter.help = escape(" ".join(text for text in texts if text))
        # a flag takes no value: typer would show it with the type <bool>
        if isinstance(parameter, TyperOption) and parameter.is_flag:
            parameter.metavar = ""
    return command


def _sections(docstring: str) -> dict[str, str]:
    """{title: text} of a docstring in numpydoc style, "" before its first section."""
    start, *parts = re.split(r"^(\w+)\n-+\n", docstring, flags=re.MULTILINE)
    return {"": start, **dict(zip(parts[::2], parts[1::2], strict=True))}


def _entries(section: str) -> dict[str, str]:
    """{name: meaning} of a section of entries `name:`, each followed by indented lines."""
    entries = re.findall(r"^(\w+):\n((?: {4}.*\n?)+)", section, flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def _unwrapped(text: str) -> str:
    """Paragraphs of a text, each on one line, as the width of the terminal is not known here."""
    paragraphs = text.strip().split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
