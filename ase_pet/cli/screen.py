"""What commands show: JSON for programs, tables for people, progress on stderr."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as TimeLeftColumn

Report = Callable[[str, float, "float | None"], None]


def console(stderr: bool = False, width: int | None = None) -> Console:
    """Console that prints texts as they are: `[Si]` is no style.

    Parameters
    ----------
    stderr:
        Print to stderr instead of stdout.
    width:
        Columns; None for those of the terminal.
    """
    return Console(stderr=stderr, width=width, markup=False, emoji=False)


@contextlib.contextmanager
def progress(stage: str = "") -> Iterator[Report]:
    """Function report(stage, done, total) that moves a bar on stderr, where that is a terminal.

    `done` of `total` steps are complete; total is None where it is unknown.

    Parameters
    ----------
    stage:
        Text in front of the bar at first.
    """
    terminal = console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeLeftColumn(),
    )
    # in a log file a bar would be noise
    bar = Progress(*columns, console=terminal, transient=True, disable=not terminal.is_terminal)
    with bar:
        task = bar.add_task(stage, total=None)

        def report(stage: str, done: float, total: float | None) -> None:
            bar.update(task, description=stage, completed=done, total=total)

        yield report


def print_json(content: object) -> None:
    """Print an object as one line of JSON; what JSON cannot hold, such as a date, as its text.

    Parameters
    ----------
    content:
        Object.
    """
    print(json.dumps(content, default=str))


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write an object as JSON for people and programs, the folder being made if absent.

    Parameters
    ----------
    path:
        Path of the file.
    content:
        Object.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
