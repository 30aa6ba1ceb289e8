"""The train command."""

import json as json_module

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..extras import how_to_install


def register(app):
    """Add the command to the application."""
    app.command("train")(train)


def train(
    recipe: str,
    output: str = typer.Option(..., "--output", help="calculator folder to write"),
    resume: bool = typer.Option(False, "--resume", help="continue a run that was stopped"),
    device: str = typer.Option(None, help="auto, cpu, cuda; default: what the recipe says"),
    json: bool = typer.Option(False, "--json", help="print the metrics as JSON"),
):
    """Train the calculator that a recipe describes."""
    try:
        from .. import train as training
    except ImportError as error:
        raise ValueError(
            f"training needs the extra `train` ({how_to_install('train')}): {error}"
        ) from None
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("reading data")

        def start(trainer):
            progress.update(
                task,
                description="training",
                total=trainer.recipe.optimiser.epochs,
                completed=trainer.epoch,
            )
            progress.console.print(_spreads(trainer))

        def record(found):
            progress.update(task, completed=found["epoch"], description=_describe(found["val"]))

        metrics = training.train(
            recipe, output, resume=resume, device=device, on_start=start, on_record=record
        )
    if json:
        print(json_module.dumps(metrics))
        return
    from ..train.report import errors_table

    print(errors_table(metrics))
    print(f"wrote {output}")


def _spreads(trainer):
    """Line of what the weights of the loss are in units of."""
    spreads = trainer.label_rms
    return (
        f"{len(trainer.splits['train'])} structures to train on; spreads, the units of the loss:"
        f" energy {spreads['energy']:.3g} eV/atom, forces {spreads['forces']:.3g} eV/A, virial"
        f" {spreads['stress']:.3g} eV/atom"
    )


def _describe(errors):
    from ..train.report import UNITS

    parts = [
        f"{name} {UNITS[name][1] * errors[name]['rmse']:.3g} {UNITS[name][0]}"
        for name in UNITS
        if name in errors
    ]
    return "val " + ", ".join(parts)
