"""Input of LAMMPS with a potential of this package: where it is attached, and where it ends."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ._ranks import Ranks
from .lammps import FAILED, RunFailed

# commands that evaluate forces: the potential is attached before the first of them
RUNNING = (
    "dynamical_matrix",
    "hyper",
    "minimize",
    "neb",
    "prd",
    "rerun",
    "run",
    "tad",
    "temper",
    "third_order",
)
START = "ase_pet_start"  # labels
END = "ase_pet_end"
DEEPEST = 20  # files that include each other


class Script(NamedTuple):
    """Input of LAMMPS in two parts.

    Attributes
    ----------
    setup:
        Commands before the first that evaluates forces.
    rest:
        All commands, of which those of the setup are jumped over; labels may be in both parts.
    fix:
        ID of the `fix external` of the input, None where there is none.
    skin:
        Skin of the input in A, None where it says none.
    """

    setup: str
    rest: str
    fix: str | None
    skin: float | None


def read_script(path: Path) -> Script:
    """Script of an input file.

    Parameters
    ----------
    path:
        File of LAMMPS commands.

    Raises
    ------
    ValueError
        It evaluates no forces, or removes the potential.
    OSError
        It cannot be read.
    """
    lines = list(_included(path, 0))
    first = next((k for k, line in enumerate(lines) if _evaluates(line)), None)
    if first is None:
        raise ValueError(f"{path} evaluates no forces: it has none of {', '.join(RUNNING)}")
    if any(_word(line) == "clear" for line in lines[first:]):
        raise ValueError(
            f"{path} has `clear` after its first run, which removes the potential: use one input"
            " for each system"
        )
    check = f'if "${{{FAILED}}} == 1" then "jump SELF {END}"'
    rest = [f"jump SELF {START}", *lines[:first], f"label {START}"]
    for line in lines[first:]:
        rest.append(line)
        if _evaluates(line):
            rest.append(check)  # nothing continues after a failure
    rest.append(f"label {END}")
    before = lines[:first]
    return Script(
        setup="\n".join(before) + "\n",
        rest="\n".join(rest) + "\n",
        fix=_fix(before),
        skin=_skin(before),
    )


def execute(script: Script, lmp: Any, attach: Callable[[], Any], ranks: Ranks) -> None:
    """Run a script in LAMMPS.

    Parameters
    ----------
    script:
        Commands.
    lmp:
        Instance of LAMMPS.
    attach:
        Function that attaches the potential, after the setup.
    ranks:
        Processes; the first one writes the files that LAMMPS reads.
    """
    with tempfile.TemporaryDirectory(prefix="ase-pet-lammps-") as folder:
        where = Path(folder)
        if ranks.comm is not None:
            where = ranks.comm.bcast(where)
        setup = where / "setup.lmp"
        rest = where / "input.lmp"
        # LAMMPS reads files on its first process only
        if ranks.rank == 0:
            setup.write_text(script.setup, encoding="utf-8")
            rest.write_text(script.rest, encoding="utf-8")
        with explained(lmp):
            lmp.file(str(setup))
        attach()
        with explained(lmp):
            lmp.file(str(rest))


@contextlib.contextmanager
def explained(lmp: Any) -> Iterator[None]:
    """Raise errors of LAMMPS itself in one line: of a run as RunFailed, of its input as ValueError.

    Parameters
    ----------
    lmp:
        Instance of LAMMPS.
    """
    try:
        yield
    except Exception as error:
        # as the Python module of LAMMPS raises them, if all processes met the error
        if type(error) is not Exception:
            raise
        text, is_of_input = _text(str(error))
        if is_of_input:
            raise ValueError(f"the input of LAMMPS is wrong: {text}") from None
        step = lmp.extract_global("ntimestep")
        raise RunFailed(f"LAMMPS stopped at step {step}: {text}") from None


def _text(message: str) -> tuple[str, bool]:
    """Text of an error of LAMMPS in one line, and whether it names a line of the input."""
    message, *rest = message.removeprefix("ERROR").lstrip(": ").split("Last input line:")
    lines = [re.sub(r"\(\S+\.(cpp|h):\d+\)", "", line).strip() for line in message.splitlines()]
    text = ". ".join(line.rstrip(".") for line in lines if line)
    if not rest:
        return text, False
    line = rest[0].strip().splitlines()[0].strip()
    return f"{text} (line: {line})", True


def _included(path: Path, depth: int) -> Iterable[str]:
    """Logical lines of a file, with those of the files that it includes by a plain name."""
    if depth > DEEPEST:
        raise ValueError(f"{path}: files of LAMMPS include each other without an end")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is no text in UTF-8: byte {error.start} is {error.object[error.start]:#04x};"
            " expected commands of LAMMPS"
        ) from None
    for line in _logical_lines(text):
        words = line.split()
        if _word(line) == "include" and len(words) > 1 and "$" not in words[1]:
            yield from _included(Path(words[1].strip("\"'")), depth + 1)
        else:
            yield line


def _logical_lines(text: str) -> Iterable[str]:
    """Lines of LAMMPS, each with its continuations (& or triple quotes)."""
    parts: list[str] = []
    for line in text.splitlines():
        parts.append(line)
        whole = "\n".join(parts)
        is_quoted = whole.count('"""') % 2 == 1
        if is_quoted or line.rstrip().endswith("&"):
            continue
        yield whole
        parts = []
    if parts:
        yield "\n".join(parts)


def _word(line: str) -> str:
    """First word of a line, "" for an empty line or a comment."""
    words = line.split("#", 1)[0].split()
    return words[0] if words else ""


def _evaluates(line: str) -> bool:
    """Whether a command evaluates forces, by itself or in an `if`."""
    word = _word(line).split("/")[0]
    commands = "|".join(RUNNING)
    inside = word == "if" and re.search(rf"[\"']\s*({commands})\b", line)
    return word in RUNNING or bool(inside)


def _fix(lines: list[str]) -> str | None:
    """ID of the last `fix ID all external pf/callback 1 1`."""
    found = None
    for line in lines:
        words = line.split("#", 1)[0].split()
        if words[:1] != ["fix"] or words[3:4] != ["external"]:
            continue
        if words[2] != "all" or words[4:7] != ["pf/callback", "1", "1"]:
            raise ValueError(
                f"`{line.strip()}`: expected `fix {words[1]} all external pf/callback 1 1`, as all"
                " atoms need forces at each step"
            )
        found = words[1]
    return found


def _skin(lines: list[str]) -> float | None:
    """Length of the last `neighbor LENGTH style` in A, None where it is no plain number."""
    found = None
    for line in lines:
        words = line.split("#", 1)[0].split()
        if words[:1] != ["neighbor"]:
            continue
        try:
            found = float(words[1])
        except (IndexError, ValueError):
            found = None
    return found
