"""What commands show: JSON for programs, tables for people, progress and notes on stderr.

Whatever is printed may hold text of a file, such as the name of a model or an error: `plain` makes
control characters visible, so that no text can steer the terminal.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import sys
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as TimeLeftColumn
from rich.segment import Segment
from rich.text import Text

from ..staging import staged

Report = Callable[[str, float, "float | None"], None]
# general categories of characters that are no text: controls, formats (such as marks that change
# the direction of writing), surrogates, and separators of lines and paragraphs
NO_TEXT = {"Cc", "Cf", "Cs", "Zl", "Zp"}
SECONDS_BETWEEN_LINES = 30.0  # of progress in a log file
SECONDS_BETWEEN_TENTHS = 5.0  # after a further 10 %


class BrokenPipe(Exception):
    """A pipe has no reader any more."""


@dataclasses.dataclass
class Verbosity:
    """What the options -v and -q ask for.

    Attributes
    ----------
    verbose:
        Show tracebacks, and where a warning comes from.
    quiet:
        Show neither progress nor what a command starts from.
    speaker:
        What stands in front of errors, such as which of several processes has them.
    """

    verbose: bool = False
    quiet: bool = False
    speaker: str = ""

    def reset(self) -> None:
        """Return to what the environment says."""
        self.verbose = os.environ.get("ASE_PET_DEBUG", "") not in ("", "0")
        self.quiet = False
        self.speaker = ""


documents: TextIO | None = None  # where JSON is printed; None for stdout
verbosity = Verbosity()
verbosity.reset()


def plain(text: object) -> str:
    r"""Text whose control characters are visible, such as `\x1b`; newlines and tabs stay.

    Parameters
    ----------
    text:
        Text, or an object to print.
    """
    text = str(text)
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_visible, text))


def _visible(character: str) -> str:
    """A character, or its escape sequence if it is a control character."""
    if character in "\n\t" or unicodedata.category(character) not in NO_TEXT:
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def say(*texts: object) -> None:
    """Print a line on stdout.

    Parameters
    ----------
    texts:
        What to print, separated by spaces.
    """
    print(*map(plain, texts))


def note(text: object) -> None:
    """Print a line on stderr.

    Parameters
    ----------
    text:
        What to print.
    """
    print(plain(text), file=sys.stderr, flush=True)


def complain(text: object) -> None:
    """Print an error, or why a command ended, as one line on stderr.

    Parameters
    ----------
    text:
        What to print.
    """
    note(f"ase-pet: {verbosity.speaker}" + " ".join(str(text).split()))


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning as one line on stderr, once; takes the place of `warnings.showwarning`.

    Parameters
    ----------
    message:
        The warning.
    category:
        Its class.
    filename:
        File that it comes from.
    lineno:
        Number of the line in that file.
    file:
        Where to print to instead.
    line:
        Ignored: text of that line.
    """
    text = " ".join(str(message).split())
    if verbosity.verbose:
        text += f" ({category.__name__}, {filename}:{lineno})"
    if text in _shown:
        return
    _shown.add(text)
    print(plain(f"ase-pet: note: {text}"), file=file or sys.stderr, flush=True)


_shown: set[str] = set()  # warnings that were printed


class PlainConsole(Console):
    """Console that prints control characters in texts as `plain` does."""

    def render_str(self, text: str, **settings: Any) -> Text:
        """Text to print, before its width is measured.

        Parameters
        ----------
        text:
            Text.
        settings:
            Arguments of rich.
        """
        return super().render_str(plain(text), **settings)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Pieces of text with a style.

        Parameters
        ----------
        renderable:
            What to print.
        options:
            Options of rich, such as a width.
        """
        for segment in super().render(renderable, options):
            # what rich itself tells the terminal, such as to move the cursor, is marked as such
            yield segment if segment.control else segment._replace(text=plain(segment.text))


def console(stderr: bool = False, width: int | None = None) -> Console:
    """Console that prints texts as they are: `[Si]` is no style.

    Parameters
    ----------
    stderr:
        Print to stderr instead of stdout.
    width:
        Columns; None for those of the terminal.
    """
    return PlainConsole(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)


@contextlib.contextmanager
def progress(stage: str = "") -> Iterator[Report]:
    """Function report(stage, done, total) that shows progress on stderr.

    `done` of `total` steps are complete; total is None where it is unknown. On a terminal and in a
    notebook a bar moves; in a log file there is a line now and then.

    Parameters
    ----------
    stage:
        Text in front of the bar at first.
    """
    terminal = console(stderr=True)
    if verbosity.quiet:
        yield lambda stage, done, total: None
        return
    if not (terminal.is_terminal or terminal.is_jupyter):
        yield _Lines().report
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeLeftColumn(),
    )
    with Progress(*columns, console=terminal, transient=True) as bar:
        task = bar.add_task(plain(stage), total=None)

        def report(stage: str, done: float, total: float | None) -> None:
            bar.update(task, description=plain(stage), completed=done, total=total)

        yield report


class _Lines:
    """Progress as lines of a log file, at most one in SECONDS_BETWEEN_TENTHS."""

    def __init__(self) -> None:
        self.begin = time.monotonic()
        self.last = self.begin  # time of the last line
        self.tenth = 0  # tenths of the work that were complete then

    def report(self, stage: str, done: float, total: float | None) -> None:
        """Print a line after 30 s, or after 10 % of the work if that took 5 s."""
        now = time.monotonic()
        tenth = int(10 * done / total) if total else 0
        waited = now - self.last
        further = tenth != self.tenth and waited >= SECONDS_BETWEEN_TENTHS
        if not further and waited < SECONDS_BETWEEN_LINES:
            return
        self.last = now
        self.tenth = tenth
        count = f"{done:g}/{total:g}" if total else f"{done:g}"
        note(f"{stage}: {count}, {now - self.begin:.0f} s")


def print_json(content: object) -> None:
    """Print an object as one line of JSON; what JSON cannot hold, such as a date, as its text.

    Parameters
    ----------
    content:
        Object.
    """
    print(json.dumps(_valid(content), default=str, allow_nan=False), file=documents)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write an object as JSON for people and programs, the folder being made if absent.

    Parameters
    ----------
    path:
        Path of the file.
    content:
        Object.
    """
    text = json.dumps(_valid(content), indent=1, allow_nan=False)
    with staged(path.parent) as stage:
        (stage / path.name).write_text(text + "\n", encoding="utf-8")


def _valid(content: Any) -> Any:
    """An object without numbers that JSON has not: nan and infinities are null."""
    if isinstance(content, dict):
        return {key: _valid(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_valid(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content
