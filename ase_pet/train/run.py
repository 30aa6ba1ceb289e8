"""From a recipe to a calculator folder."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import json
import platform
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

from .. import arguments, plugins, store, symmetrisers
from ..calculator_info import CalculatorInfo
from . import (
    composition,
    continuation,
    distributed,
    fine_tuning,
    fine_tuning_checks,
    from_start,
    inspection,
    replay,
    report,
    schedule,
)
from .distributed import ALONE, Ranks
from .error_profile import left_out, of_split
from .label_statistics import label_statistics, shortest_distances, shortest_of_both
from .loop import STATE, Trainer
from .loss import Diverged
from .optimisers import check_method
from .prediction import compare
from .progress import OnUpdate
from .recipe import Recipe, model_settings, read
from .repulsion import without_repulsion
from .sources import inspected, read_samples, remove_composition
from .uncertainties import fitted

PLOTTED = 20_000  # structures of a split in a parity plot


def train(
    recipe_path: Path | str,
    output: Path | str,
    *,
    resume: bool = False,
    device: str | None = None,
    on_start: Callable[[Trainer], Any] | None = None,
    on_record: Callable[[dict[str, Any]], Any] | None = None,
    on_update: OnUpdate | None = None,
) -> dict[str, Any]:
    """Train a recipe's model, write a calculator folder, and return its errors by split.

    The errors are those of metrics.json: {split: {"structures": number, kind: {"rmse", "mae",
    "rms"}}}, energies in eV/atom, forces in eV/A, stresses in eV/A^3, dipoles in e A.

    Parameters
    ----------
    recipe_path:
        Path of the recipe.
    output:
        Folder to write, which holds the state of the training as well.
    resume:
        Continue a run that was stopped. Without it a folder with a state in it is refused, so that
        nothing is lost.
    device:
        Device of the training, such as "cpu"; None for that of the recipe.
    on_start:
        Called with the Trainer before the training.
    on_record:
        Called with the record of each validation.
    on_update:
        Called with each update of the weights, see `progress.Update`.

    Raises
    ------
    ValueError
        The recipe or its data are bad, the folder holds another run or is in use, or a package is
        missing.
    Diverged
        The loss has exploded; the folder holds the best weights before, if there are any.
    """
    with distributed.connected() as ranks, warnings.catch_warnings():
        if not ranks.leads:
            warnings.simplefilter("ignore")  # rank 0 has the same data, and gives the same notes
        recipe = read(recipe_path)
        output = Path(output)
        device = device or recipe.device
        # what would fail after minutes of reading or hours of training fails now
        report.figure_class()
        check_method(recipe.optimiser.method)
        place = distributed.local_device(arguments.device(device))
        with _own(output, Path(recipe_path), resume, ranks):
            trainer = _begun(recipe, Path(recipe_path), output, str(place), resume, ranks)
            if ranks.leads:
                trainer.on_update = on_update
            if on_start and ranks.leads:
                on_start(trainer)
            started = time.time()
            try:
                for record in trainer.run():
                    if on_record and ranks.leads:
                        on_record(record)
                    # clocks of processes differ
                    seconds = time.time() - started
                    ended = ranks.shared(schedule.end(trainer.history, recipe.optimiser, seconds))
                    if ended:
                        warnings.warn(ended, stacklevel=2)
                        break
            except Diverged as error:
                _keep_best(recipe, trainer, output, time.time() - started, error)
            return finish(recipe, trainer, output, time.time() - started)


@contextlib.contextmanager
def _own(output: Path, path: Path, resume: bool, ranks: Ranks) -> Iterator[None]:
    """Hold the folder of a training, on rank 0; the other ranks do not touch it."""
    if not ranks.leads:
        ranks.shared(None)
        yield
        return
    output.mkdir(parents=True, exist_ok=True)
    with continuation.locked(output):
        if (output / STATE).exists() and not resume:
            raise ValueError(
                f"`{output}` holds an unfinished or finished run: resume it or name another folder"
            )
        if not (output / STATE).exists():
            continuation.require_free(output, path)
        ranks.shared(None)
        yield


def _begun(
    recipe: Recipe, path: Path, output: Path, device: str, resume: bool, ranks: Ranks
) -> Trainer:
    """Trainer at its first epoch, or at that of the state in its folder."""
    longer = ranks.shared(resume and ranks.leads and _is_longer(recipe, path, output))
    trainer = prepare(recipe, output, device, ranks)
    # hashes of all files take a while, and one process is enough
    fingerprint = continuation.fingerprint(recipe, path) if ranks.leads else {}
    trainer.fingerprint = dict(fingerprint)
    if longer:
        trainer.fingerprint.pop("recipe", None)
    if resume:
        trainer.resume()
        schedule.check_length(recipe, trainer)
    trainer.fingerprint = fingerprint
    kept = output / continuation.RECIPE
    if ranks.leads and path.resolve() != kept.resolve():
        shutil.copyfile(path, kept)
    return trainer


def _keep_best(
    recipe: Recipe, trainer: Trainer, output: Path, seconds: float, error: Diverged
) -> NoReturn:
    """Write the calculator of a training that diverged, if it has been good; raise in any case."""
    if not trainer.history:
        raise Diverged(f"{error}. No weights are kept: none have been validated") from None
    finish(recipe, trainer, output, seconds, stopped=str(error))
    scores = {record["score"]: record["epoch"] for record in trainer.history}
    epoch = scores[min(scores)]
    raise Diverged(f"{error}. `{output}` holds the best weights before, of epoch {epoch}") from None


def prepare(recipe: Recipe, output: Path, device: str, ranks: Ranks = ALONE) -> Trainer:
    """Trainer of a recipe, with its model initialised and its data read.

    Parameters
    ----------
    recipe:
        Recipe.
    output:
        Folder of state and history.
    device:
        Device of the training: "auto", "cpu", "cuda", ...
    ranks:
        Processes that train together.
    """
    settings = model_settings(recipe)
    torch.manual_seed(recipe.seed)
    model = plugins.load("ase_pet.models", recipe.model).Model(settings)
    symmetrisers.symmetrise(model, recipe.symmetrise)  # a bad name fails now, not after training
    start = fine_tuning.load(recipe)
    if start:
        start.copy_to(model, recipe)
    with fine_tuning_checks.explained(recipe):
        splits = read_samples(recipe, model.species, model.cutoff, ranks)
    if ranks.leads:
        inspection.warn(inspected(splits), model.species)
    isolated = composition.take_isolated(recipe, splits)
    training = splits["train"]
    old = replay.read(recipe, start, model, training) if start else None
    recipe = schedule.resolved(recipe, training, old.per_epoch(len(training)) if old else 0)

    # The weights learn the labels without the fixed repulsion, whose energies of hundreds of eV
    # would distort composition energies and RMS.
    targets = without_repulsion(model, training[ranks.mine])
    statistics = label_statistics(targets, len(training), model.species, ranks)
    energies = composition.reference_energies(
        recipe, statistics, model.species, isolated, start.energies if start else None
    )
    absent = statistics.absent(model.species)
    untrained = [z for z in absent if start is None or z in start.info.untrained_species]
    from_start.warn_of_absent(absent, untrained, start)
    # of rank 0: least squares on another processor may differ in the last digits
    energies = ranks.shared(energies)
    # a spread about the mean, also where the energies of the start are far from it
    centre = statistics.composition(model.species) if start else energies
    label_rms = ranks.shared(statistics.label_rms(centre))

    for samples in splits.values():
        remove_composition(samples, energies)
    # scales set the unit in which the weights of the last layers predict: those of `start` stay
    if not recipe.start:
        model.scales = {model.energy_head: label_rms["forces"]}
    if not recipe.start and recipe.loss.dipole > 0:
        model.scales["dipole"] = label_rms["dipole"]
    trainer = Trainer(
        recipe,
        model,
        splits,
        label_rms,
        energies,
        output,
        arguments.device(device),
        store.dtype_of(recipe.dtype),
    )
    trainer.untrained_species = untrained
    trainer.absent_species = absent
    trainer.ranks = ranks
    trainer.known = statistics.known
    if start:
        trainer.begin_from(start, old)
        from_start.begin(start, trainer)
    return trainer


def finish(
    recipe: Recipe, trainer: Trainer, output: Path, seconds: float, stopped: str | None = None
) -> dict[str, Any]:
    """Write calculator, metrics, plots and README of the best weights; returns errors by split.

    Parameters
    ----------
    recipe:
        Recipe.
    trainer:
        Trainer after its last epoch.
    output:
        Folder to write to.
    seconds:
        Duration of the training in s, since it was last resumed.
    stopped:
        Why the training ended before its last epoch; None for one that did not.
    """
    model = trainer.average
    model.load_state_dict(trainer.best_weights)
    metrics, pairs = _errors(recipe, trainer, model)
    total = _total_composition(trainer)
    metrics |= from_start.errors_on_old(trainer, model, total)
    mine = trainer.ranks.mine
    used_in_training = itertools.chain(trainer.splits["train"][mine], trainer.splits["val"][mine])
    shortest = shortest_distances(used_in_training, trainer.ranks)
    if not trainer.ranks.leads:
        return metrics

    certain = fitted(recipe, trainer, model)
    model = certain.model
    start = trainer.start
    model.compositions = {**(start.compositions(total) if start else {}), trainer.head: total}
    if start:
        shortest = shortest_of_both(start.info.shortest_distances, shortest)
    config = CalculatorInfo(
        name=recipe.name,
        symmetrise=symmetrisers.of_file(recipe.symmetrise),
        dtype=recipe.dtype,
        shortest_distances=shortest,
        provenance=_provenance(recipe, trainer, seconds, metrics),
        untrained_species=tuple(trainer.untrained_species),
    )
    if stopped is not None:
        config.provenance["stopped"] = stopped
    certain.describe(config)
    store.save(output, model.cpu(), config)
    # what people read: numbers, plots, README
    (output / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    report.learning_curve(trainer.history, output / "learning_curve.png")
    report.parity(pairs, output / "parity.png")
    readme = report.readme(recipe, model, config, metrics)
    (output / "README.md").write_text(certain.write(output, readme))
    return metrics


def _errors(
    recipe: Recipe, trainer: Trainer, model: Any
) -> tuple[dict[str, Any], dict[str, dict[str, np.ndarray]]]:
    """Errors of each split that is not empty, and reference and predicted values to plot."""
    # composition energies of the elements were removed from the samples: the rest is left
    model.compositions = {model.energy_head: trainer.best_composition}
    chosen = symmetrisers.of_file(recipe.symmetrise)
    symmetrised = symmetrisers.symmetrise(model, chosen)
    metrics: dict[str, Any] = {}
    pairs = {}
    for split, samples in trainer.splits.items():
        if not samples:
            continue
        errors, pairs[split] = compare(
            symmetrised, samples, trainer.dtype, trainer.device, trainer.ranks, PLOTTED
        )
        metrics[split] = {"structures": len(samples), **errors}
        if trainer.ranks.leads:
            metrics[split] |= of_split(pairs[split])
    return metrics, pairs


def _total_composition(trainer: Trainer) -> dict[int, float]:
    """Composition energies of the calculator, {Z: eV}: the removed plus the refitted ones."""
    refitted = trainer.best_composition
    return {z: energy + refitted[z] for z, energy in trainer.composition.items()}


def _provenance(
    recipe: Recipe, trainer: Trainer, seconds: float, metrics: dict[str, Any]
) -> dict[str, Any]:
    """What calculator.toml says about how the calculator was made."""
    return {
        "date": datetime.date.today().isoformat(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "device": str(trainer.device),
        "augmentation": recipe.augmentation,
        "epochs": trainer.epoch,
        "seconds": round(seconds),
        "data": continuation.of_data(recipe),
        **from_start.origin(trainer),
        "errors": {split: left_out(errors) for split, errors in metrics.items()},
    }


def _is_longer(recipe: Recipe, path: Path, output: Path) -> bool:
    """Whether a run is resumed with a recipe that differs in its length only.

    Any other recipe is refused: the state would not fit, or silently mean something else.
    """
    first = output / continuation.RECIPE
    began = first.exists() and (output / STATE).exists()
    if not began or first.read_bytes() == path.read_bytes():
        return False
    before = read(first, recipe.folder)
    changed = schedule.differences(before, recipe)
    if changed:
        raise ValueError(
            f"`{path}` differs from `{first}`, with which this run was begun, in"
            f" {', '.join(changed)}: resume with that one; only {', '.join(schedule.LENGTHS)} and"
            " [card] may change"
        )
    return True
