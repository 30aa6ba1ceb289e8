"""`ase-pet train`: a recipe and data in, a calculator folder out."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options, screen

if TYPE_CHECKING:
    from ..train.loop import Trainer


def command(
    recipe: Annotated[str | None, typer.Argument(show_default=False)] = None,
    *,
    output: Path | None = None,
    resume: options.Restart = False,
    device: str | None = None,
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
    from ..train import distributed
    from ..train.loop import STATE
    from ..train.report import errors_table
    from ..train.summary import line

    leads = distributed.rank() == 0
    screen.verbosity.quiet |= not leads
    if distributed.launched():
        screen.verbosity.speaker = f"rank {distributed.rank()}: "
    epochs = 0
    with screen.progress("reading data") as report:

        def on_start(trainer: Trainer) -> None:
            nonlocal epochs
            epochs = trainer.recipe.optimiser.epochs
            report("training", trainer.epoch, epochs)
            for change in trainer.start.changes if trainer.start else ():
                warnings.warn(f"`start`: {change}", stacklevel=2)
            # weights of the loss are chosen by these
            if not screen.verbosity.quiet:
                screen.note(_label_units(trainer))
                for split, samples in trainer.splits.items():
                    # data that are read piece by piece are not read once more for this
                    if samples and isinstance(samples, list):
                        screen.note(line(split, samples))

        def on_record(record: dict[str, Any]) -> None:
            report(_validation(record["val"]), record["epoch"], epochs)

        try:
            metrics = training.train(
                recipe, output, resume=resume, device=device, on_start=on_start, on_record=on_record
            )
        except KeyboardInterrupt:
            if (output / STATE).exists():
                screen.note(f"{output} holds the last complete epoch: --resume goes on from there")
            raise
    if not leads:
        return
    if json:
        screen.print_json(metrics)
        return
    screen.say(errors_table(metrics))
    screen.say(f"wrote {output}")


def _label_units(trainer: Trainer) -> str:
    """Line on the labels and on the units of their weights in the loss."""
    rms = trainer.label_rms
    forces = trainer.known["forces"]
    stresses = trainer.known["stress"]
    count = len(trainer.splits["train"])
    share = f" in {trainer.ranks.size} processes" if trainer.ranks.size > 1 else ""
    return (
        f"{count} structures to train on{share}, {forces} with forces, {stresses} with stress; RMS"
        f" of the labels, the units of the loss: energy {rms['energy']:.3g} eV/atom, forces"
        f" {rms['forces']:.3g} eV/A, virial {rms['stress']:.3g} eV/atom"
    )


def _validation(errors: dict[str, dict[str, float]]) -> str:
    """Line of the RMSE of a validation, {kind: {"rmse"}} in eV, A and e."""
    from ..train.report import UNITS

    parts = []
    for name, (unit, factor) in UNITS.items():
        if name in errors:
            parts.append(f"{name} {factor * errors[name]['rmse']:.3g} {unit}")
    return "val " + ", ".join(parts)
