"""Steps that the commands which label structures share."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from . import INTERRUPTED, options, screen

if TYPE_CHECKING:
    from ase import Atoms

    from ..labels import Failure

Files = Annotated[list[str] | None, typer.Argument(show_default=False)]
SUFFIXES = (".extxyz", ".xyz")
SHOWN = 10  # failures that are printed


def run(
    calc: str | None,
    files: list[str] | None,
    calculator: str | None,
    output: Path,
    *,
    restart: bool,
    workers: int,
    json: bool,
    chosen: dict[str, Any],
    prefix: str = "",
    marks: Callable[[int], list[str]] | None = None,
) -> None:
    """Label the structures of all files, and write them as they come.

    Parameters
    ----------
    calc:
        First argument of the command.
    files:
        Further arguments.
    calculator:
        Value of --calculator.
    output:
        File to write.
    restart:
        Continue a file.
    workers:
        Number of processes.
    json:
        Print JSON for programs.
    chosen:
        --format, and options of the calculator.
    prefix:
        Beginning of the names of labels, "" for those of ASE.
    marks:
        Function that returns the split of each of a number of structures; None for no split.
    """
    from .. import labels
    from ..executors import processes

    # structures are read before a model is loaded or downloaded
    paths = _paths(calc, files, calculator)
    if output.exists() and not restart:
        raise ValueError(
            f"`output` {output} exists: name another file, or continue it with --restart"
        )
    require_extxyz(output)
    structures, sources = _read(paths, chosen.pop("format"))
    if marks is not None:
        for atoms, part in zip(structures, marks(len(structures)), strict=True):
            atoms.info["split"] = part
    loaded = options.load_calculator(None if calculator else calc, calculator, **chosen)
    options.announce(calculator or calc, loaded, structures)
    done = 0
    failures = []
    written = 0
    has_begun = restart and output.exists()
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        with (
            processes(workers) as executor,
            output.open("a", encoding="utf-8") as file,
            screen.progress("structures") as report,
        ):
            _hold(file)
            if has_begun:
                done = labels.remaining(output, loaded, structures, sources, prefix)
            results = labels.label(loaded, structures[done:], sources[done:], executor)
            for count, result in enumerate(results, done + 1):
                if isinstance(result, labels.Failure):
                    failures.append(result)
                else:
                    _append(file, labels.renamed(result, prefix))
                    written += 1
                report("structures", count, len(structures))
    except KeyboardInterrupt:
        screen.complain(f"stopped after {done + written} structures; to continue: --restart")
        raise typer.Exit(INTERRUPTED) from None
    _finish(output, written, done, failures, json)


def require_extxyz(output: Path) -> None:
    """Raise ValueError if the name of a file says another format than the one that is written.

    Parameters
    ----------
    output:
        File to write.
    """
    if output.suffix not in ("", *SUFFIXES):
        raise ValueError(f"`output` is {str(output)!r}: expected a file {' or '.join(SUFFIXES)}")


def _hold(file: TextIO) -> None:
    """Keep other commands out of a file until it is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BlockingIOError(
            f"`output` {file.name} belongs to a command that is running: wait for it, or name"
            " another file"
        ) from None
    except OSError:
        pass  # some file systems of clusters have no locks


def _paths(calc: str | None, files: list[str] | None, calculator: str | None) -> list[str]:
    """Files of structures: with --calculator, the first argument is one of them."""
    paths = list(files or [])
    if calculator is not None and calc is not None:
        paths.insert(0, calc)
    if not paths or (calc is None and calculator is None):
        raise ValueError("give CALC FILES, or --calculator module:factory FILES")
    return paths


def _read(paths: list[str], format: str | None) -> tuple[list[Atoms], list[str]]:
    """All structures of the files, and the file and index of each."""
    # one name for each structure, for messages and for restarts
    structures: list[Atoms] = []
    sources = []
    for path in paths:
        frames = options.read_structures(path, ":", format)
        structures += frames
        # names of files may hold line breaks, the file of labels may not
        name = "".join(letter if letter.isprintable() else "?" for letter in path)
        sources += [f"{name}:{index}" for index in range(len(frames))]
    if not structures:
        raise ValueError(f"{', '.join(paths)}: no structures")
    if len(set(sources)) < len(sources):
        raise ValueError("a file is named twice")
    return structures, sources


def _append(file: Any, atoms: Atoms) -> None:
    """Write one structure; the file on disk then holds it, whatever happens."""
    from .. import extxyz

    extxyz.write(file, [atoms])
    file.flush()


def _finish(output: Path, written: int, done: int, failures: list[Failure], json: bool) -> None:
    """Report what was written; exit status 1 if structures have no labels."""
    # what failed is reported after what was done
    count = written + done + len(failures)
    if json:
        failed = [{"source": failure.source, "error": failure.error} for failure in failures]
        content = {"output": str(output), "labelled": written, "labelled_before": done}
        screen.print_json(content | {"failed": failed})
    else:
        before = f", {done} were done before" if done else ""
        screen.say(f"{output}: {written} of {count} structures labelled{before}")
    for failure in failures[:SHOWN]:
        screen.complain(f"{failure.source}: {failure.error}")
    if failures:
        shown = "" if len(failures) <= SHOWN else f" (the first {SHOWN} are listed)"
        screen.complain(f"without labels: {len(failures)} of {count}{shown}")
        raise typer.Exit(1)
