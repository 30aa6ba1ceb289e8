"""`ase-pet select`: structures of trajectories that are worth labelling."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options, screen
from ._labelling import require_extxyz
from ._results import require_writable

if TYPE_CHECKING:
    from ase import Atoms

Files = Annotated[list[str], typer.Argument(show_default=False)]
Number = Annotated[int, typer.Option(min=1)]
Known = Annotated[list[str] | None, typer.Option(show_default=False)]
OUTPUT = Path("selected.extxyz")


@options.with_options(options.structure_options(), options.calculator_options())
def command(
    files: Files,
    *,
    calculator: Annotated[str, typer.Option(show_default=False)],
    n: Number = 50,
    known: Known = None,
    layer: str = "last",
    output: Path = OUTPUT,
    json: options.Json = False,
    **chosen: Any,
) -> None:
    """Structures that are worth labelling: new to a model, and uncertain.

    Farthest points in the features of the model, weighted with its uncertainty where it has one.
    The file holds the structures in the order of selection, without labels; their info says
    source, index, and why.

    Parameters
    ----------
    files:
        Files of structures, or folders of runs.
    calculator:
        Name, calculator folder or checkpoint whose features are used.
    n:
        Number of structures to select.
    known:
        File of structures that are labelled already, such as the training set; may be repeated.
    layer:
        Layer of the features: last, 1, 2, ...
    output:
        File to write (extxyz); it must not exist.
    json:
        Print JSON for programs.
    chosen:
        Format of the files, and options of the calculator, `options.CALCULATOR`.

    Examples
    --------
    Example: ase-pet select run/trajectory.traj --n 50 --calculator runs/mine --known train.extxyz
    """
    from ..extxyz import write
    from ..staging import staged
    from ..uncertainty.selection import select
    from ._plausible import require_supported

    if output.exists():
        raise ValueError(f"`output` {output} exists: name another file")
    require_extxyz(output)
    require_writable(output.parent)
    # structures are read before a model is loaded
    frames, sources = _read(files, chosen.pop("format"))
    labelled, known_sources = _read(known or [], None)
    loaded = options.load_calculator(calculator, None, **chosen)
    places = [f"`{source}`, structure {index}" for source, index in sources + known_sources]
    require_supported(loaded, frames + labelled, places)
    choices = select(loaded, frames, n, labelled, layer)
    if not choices:
        raise ValueError("no structure differs from the known ones: there is nothing to label")
    if len(choices) < n:
        same = len(frames) - len(choices)
        copies = f", of which {same} are the same as selected or known ones" if same else ""
        short = f"{len(choices)} instead of {n} structures"
        screen.note(f"ase-pet: note: {short}: there are {len(frames)}{copies}")
    selected = []
    rows = []
    for choice in choices:
        source, index = sources[choice.index]
        atoms = _without_results(frames[choice.index])
        atoms.info |= {"source": source, "source_index": index, "selected": choice.reason}
        selected.append(atoms)
        rows.append({"source": source, "index": index, "reason": choice.reason})
    with staged(output.parent) as stage:
        write(stage / output.name, selected)
    if json:
        screen.print_json({"file": str(output), "candidates": len(frames), "selected": rows})
        return
    for row in rows:
        screen.say(f"{row['source']} {row['index']}: {row['reason']}")
    screen.say(f"{output}: {len(selected)} of {len(frames)} structures")


def _read(paths: list[str], format: str | None) -> tuple[list[Atoms], list[tuple[str, int]]]:
    """Structures of files, and the file and number of each."""
    frames = []
    sources = []
    for path in paths:
        file = Path(path)
        run = file / "trajectory.traj"
        read = options.read_structures(str(run if run.is_file() else file), ":", format)
        frames += read
        sources += [(path, index) for index in range(len(read))]
    return frames, sources


def _without_results(atoms: Atoms) -> Atoms:
    """Copy of a structure without labels: those of a run are predictions."""
    from ..extxyz import without_labels

    copy: Atoms = atoms.copy()
    without_labels(copy)
    return copy
