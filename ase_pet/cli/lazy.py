"""Commands that are imported when they are called, so that `ase-pet --help` is quick.

The command NAME is the function `command` of the file `NAME.py`. Its docstring is its help: the
text before the first section, the meaning of each option from the section "Parameters" (or, if it
is computed, from the option itself), and the text at the end from the section "Examples".
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup, TyperOption

from . import INTERRUPTED, screen

COMMANDS = {  # name: first line of its help
    "list": "List the shipped calculators, or the published checkpoints.",
    "info": "Describe a calculator and, with a structure, evaluate it once.",
    "eval": "Errors of a calculator against the labels in a data file.",
    "check": "Check a calculator against the laws of physics; exit status 1 if a check fails.",
    "download": "Download a published checkpoint and print its path.",
    "convert": "Convert a checkpoint of another program into a calculator folder.",
    "data": "Describe files of labelled structures, or the data of a recipe by split.",
    "init": "Write a recipe that fits to the data, with comments, to train from.",
    "train": "Train the calculator that a recipe describes.",
    "uncertainty": "Add uncertainties (LLPR) to a calculator folder: one pass over its data.",
    "calibration": "Compare expected with observed errors of a calculator with uncertainties.",
    "select": "Structures that are worth labelling: new to a model, and uncertain.",
    "md": "Run molecular dynamics in a folder, from which it can be restarted.",
    "analyse": "Structure, motion, vibrations and thermodynamics of a trajectory.",
    "bench": "Measure the time of an evaluation and of an MD step, ns/day, and the peak memory.",
    "relax": "Relax a structure within its space group.",
    "phonons": "Phonons of a crystal: imaginary modes, bands, density of states, heat capacity.",
    "elastic": "Elastic constants and moduli (GPa) of a crystal, and its equation of state.",
    "qha": "Quasi-harmonic crystal: thermal expansion, Gibbs energy, bulk modulus against T.",
    "conductivity": "Thermal conductivity (W/m/K) of a crystal by phono3py.",
    "vibrations": "Vibrations of a molecule or adsorbate: frequencies, infrared, thermochemistry.",
    "lammps": "Run an input of LAMMPS with a calculator, on one process or on many (mpiexec).",
    "neb": "Minimum-energy path and barrier between two structures, by nudged elastic bands.",
    "ipi": "Energies, forces and virials for i-PI over a socket, until i-PI ends.",
    "label": "Training data: structures with labels of a calculator, and a split.",
    "singlepoint": "Label structures: energies, forces, stresses, uncertainties of the model.",
}


HELP = {"help_option_names": ["--help", "-h"]}
PANEL = "General"  # heading of the options of all commands


def _print_version(value: bool) -> None:
    """Print the version and exit, where --version is given."""
    if value:
        # the package itself is the last room: nothing imports from it
        screen.say(f"ase-pet {importlib.import_module('ase_pet').__version__}")
        raise typer.Exit


def _set_verbose(value: bool) -> None:
    """Remember that -v was given."""
    if value:
        screen.verbosity.verbose = True


def _set_quiet(value: bool) -> None:
    """Remember that -q was given."""
    if value:
        screen.verbosity.quiet = True


def _flag(*names: str, callback: Callable[[bool], None], meaning: str) -> Any:
    """Option without a value, which calls a function."""
    return typer.Option(
        *names,
        is_eager=True,
        callback=callback,
        metavar="",  # a flag has no type
        help=meaning,
        rich_help_panel=PANEL,
    )


VERSION = "Print the version and exit."
Version = Annotated[bool, _flag("--version", callback=_print_version, meaning=VERSION)]
Verbose = Annotated[
    bool,
    _flag(
        "--verbose",
        "-v",
        callback=_set_verbose,
        meaning="Show tracebacks of errors and the origin of notes.",
    ),
]
Quiet = Annotated[
    bool,
    _flag(
        "--quiet",
        "-q",
        callback=_set_quiet,
        meaning="Show no start line and no progress; results, notes and errors remain.",
    ),
]
GENERAL = {"verbose": Verbose, "quiet": Quiet, "version": Version}


class Command(TyperCommand):
    """Command whose flags are shown without a type."""

    def get_params(self, ctx: Any) -> Any:
        """Arguments and options, with those of all commands last.

        Parameters
        ----------
        ctx:
            Context of the command.
        """
        return [_arranged(parameter) for parameter in super().get_params(ctx)]


class LazyGroup(TyperGroup):
    """Group whose help lists placeholders, and that imports a command when it is called."""

    def get_params(self, ctx: Any) -> Any:
        """Options of the group.

        Parameters
        ----------
        ctx:
            Context of the group.
        """
        return [_arranged(parameter) for parameter in super().get_params(ctx)]

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Name, command and remaining arguments of a command line.

        Parameters
        ----------
        ctx:
            Context of the group.
        args:
            Arguments after the options of the group.
        """
        close = difflib.get_close_matches(args[0], COMMANDS, n=1)
        if close and args[0] not in COMMANDS and not ctx.resilient_parsing:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {close[0]!r}?")
        name, command, rest = super().resolve_command(ctx, args)
        return name, command if name is None else load(name), rest

    def get_command(self, ctx: Any, name: str) -> Any:
        """Command of a name: a placeholder, or the command itself to complete its options.

        Parameters
        ----------
        ctx:
            Context of the group.
        name:
            Key of COMMANDS.
        """
        known = name in COMMANDS and ctx.resilient_parsing
        return load(name) if known else super().get_command(ctx, name)

    def make_context(self, *arguments: Any, **more: Any) -> Any:
        """Context of a command line, which starts with the verbosity of the environment.

        Parameters
        ----------
        arguments:
            As for typer.
        more:
            As for typer.
        """
        screen.verbosity.reset()
        with _guarded():
            return super().make_context(*arguments, **more)

    def invoke(self, ctx: Any) -> Any:
        """Result of a command.

        Parameters
        ----------
        ctx:
            Context of the group.
        """
        with _guarded():
            return super().invoke(ctx)


@contextlib.contextmanager
def _guarded() -> Iterator[None]:
    """Treat Ctrl-C and a closed pipe before typer, which would end without a word."""
    try:
        yield
    except KeyboardInterrupt:
        screen.complain("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError as error:
        raise screen.BrokenPipe(str(error)) from error


def _arranged(parameter: Any) -> Any:
    """A parameter; a flag without a type, and --help with the options of all commands."""
    if isinstance(parameter, TyperOption):
        if parameter.is_flag or parameter.opts[0].endswith("-completion"):
            parameter.metavar = ""
        if parameter.name in ("help", "install_completion", "show_completion"):
            parameter.rich_help_panel = PANEL
    return parameter


def placeholder() -> None:
    """Stand in for a command in the help of the group."""


def function(name: str) -> Callable[..., None]:
    """Function of a command.

    Parameters
    ----------
    name:
        Key of COMMANDS.
    """
    command: Callable[..., None] = importlib.import_module(f"{__package__}.{name}").command
    return command


def load(name: str) -> Any:
    """Command of a name, with its help.

    Parameters
    ----------
    name:
        Key of COMMANDS.
    """
    called = function(name)
    # the mode is named, as versions of typer differ in their default
    app = typer.Typer(add_completion=False, rich_markup_mode="rich")
    app.command(name, cls=Command, context_settings=HELP)(_with_general_options(called))
    command: Any = typer.main.get_command(app)

    # rich would read `[train]` as a style and print nothing: brackets are escaped
    sections = _sections(inspect.getdoc(called) or "")
    command.short_help = COMMANDS[name]
    command.help = escape(_unwrapped(sections.pop("")))
    command.epilog = escape(_unwrapped(sections.pop("Examples", "")))
    meanings = _entries(sections.pop("Parameters", ""))
    for parameter in command.params:
        # a text in the docstring comes before one that is computed, such as a list of names
        texts = [meanings.get(parameter.name), parameter.help]
        parameter.help = escape(" ".join(text for text in texts if text))
    return command


def _with_general_options(called: Callable[..., None]) -> Callable[..., None]:
    """A command with the options that all of them have."""

    @functools.wraps(called)
    def command(*arguments: Any, **more: Any) -> None:
        # their callbacks have done all
        called(*arguments, **{name: more[name] for name in more if name not in GENERAL})

    signature = inspect.signature(called, eval_str=True)
    parameters = list(signature.parameters.values())
    for name, annotation in GENERAL.items():
        parameter = inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation
        )
        parameters.append(parameter)
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
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
