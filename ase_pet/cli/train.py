"""`ase-pet train`: a recipe and data in, a calculator folder out."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options, screen

if TYPE_CHECKING:
    from ..train.progress import Update


def command(
    recipe: Annotated[str | None, typer.Argument(show_default=False)] = None,
    *,
    output: Path | None = None,
    resume: options.Restart = False,
    device: str | None = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard")] = False,
    template: Annotated[bool, typer.Option("--template")] = False,
    json: options.Json = False,
) -> None:
    """Train the calculator that a recipe describes.

    A recipe is a TOML file; --template prints one with all keys and their meanings. Needs the extra
    `train`: pip install '.[train]' in a clone of ase_pet. On several processors or GPUs:
    torchrun --nproc-per-node 4 -m ase_pet train recipe.toml --output FOLDER

    Parameters
    ----------
    recipe:
        Path of the recipe; required unless --template is given.
    output:
        Calculator folder to write; required unless --template is given.
    resume:
        Continue an interrupted run; --resume is an alias.
    device:
        Device: auto (CUDA if there is one), cpu, cuda, cuda:1, ...; default: that of the recipe.
    tensorboard:
        Write loss and errors for TensorBoard, too, into FOLDER/tensorboard; needs the extra
        `tensorboard`.
    template:
        Print a recipe to start from, with all keys, and exit.
    json:
        Print the errors of the calculator as JSON.

    Examples
    --------
    Example: ase-pet train --template > recipe.toml, edit it, then
    ase-pet train recipe.toml --output runs/first
    """
    if template:
        from ..train.template import template as example

        screen.say(example().rstrip("\n"))
        return
    if recipe is None or output is None:
        raise ValueError("give RECIPE and --output, or --template")
    from .. import train as training
    from ..train import distributed, forgetting
    from ..train.report import errors_table
    from ..train.tensorboard import Events
    from ._training import TrainingScreen

    leads = distributed.rank() == 0
    screen.verbosity.quiet |= not leads
    if distributed.launched():
        screen.verbosity.speaker = f"rank {distributed.rank()}: "
    events = Events(output) if tensorboard and leads else None
    with screen.progress("reading data") as report:
        shown = TrainingScreen(report)

        def on_record(record: dict[str, Any]) -> None:
            shown.on_record(record)
            if events:
                events.record(record)

        def on_update(update: Update) -> None:
            shown.on_update(update)
            if events:
                events.update(update)

        try:
            metrics = training.train(
                recipe,
                output,
                resume=resume,
                device=device,
                on_start=shown.on_start,
                on_record=on_record,
                on_update=on_update,
            )
        except KeyboardInterrupt:
            screen.note(_how_to_go_on(recipe, output))
            raise
    if not leads:
        return
    if json:
        screen.print_json(metrics)
        return
    screen.say(errors_table(metrics))
    if forgetting.AFTER in metrics:
        screen.say(forgetting.line(metrics[forgetting.BEFORE], metrics[forgetting.AFTER]))
    screen.say(f"wrote {output}")


def _how_to_go_on(recipe: str, output: Path) -> str:
    """Line on what an interrupted training has left."""
    from ..train.loop import STATE

    if not (output / STATE).exists():
        return "no epoch was complete: nothing is kept"
    words = ["ase-pet", "train", recipe, "--output", str(output), "--resume"]
    return f"{output} holds the last complete epoch; to go on from there: {shlex.join(words)}"
