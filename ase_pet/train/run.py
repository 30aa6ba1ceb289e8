"""From a recipe to a calculator folder."""

import datetime
import hashlib
import json
import platform
import shutil
import time
from dataclasses import replace
from pathlib import Path

import torch

from .. import plugins, store, symmetrisers
from ..evaluation import Evaluation
from ..models.base import AtomisticModel
from . import data, report
from .loop import EVALUATION_ATOMS, HISTORY, STATE, Trainer, chunks, errors, predict
from .recipe import model_settings, read

RECIPE = "recipe.toml"


def train(recipe_path, output, *, resume=False, device=None, on_start=None, on_record=None):
    """Train what a recipe says and write a calculator folder; returns the metrics, a dict of
    splits.

    output: folder, made if absent; holds the training state as well. resume: continue a run that
    was stopped; without it a folder with a state in it is refused, so that nothing is lost.
    on_start(trainer) and on_record(record): called before training and after each validation.
    """
    recipe, output = read(recipe_path), Path(output)
    if (output / STATE).exists() and not resume:
        raise ValueError(
            f"`{output}` holds an unfinished or finished run: resume it or name another folder"
        )
    _check_same(recipe_path, output, resume)
    output.mkdir(parents=True, exist_ok=True)
    if Path(recipe_path).resolve() != (output / RECIPE).resolve():
        shutil.copyfile(recipe_path, output / RECIPE)
    trainer = prepare(recipe, output, device or recipe.device)
    if resume:
        trainer.resume()
    if on_start:
        on_start(trainer)
    started = time.time()
    for record in trainer.run():
        if on_record:
            on_record(record)
    return finish(recipe, trainer, output, time.time() - started)


def prepare(recipe, output, device):
    """Trainer of a recipe with its model initialised and its data read."""
    settings = model_settings(recipe)
    torch.manual_seed(recipe.seed)
    model = plugins.load("ase_pet.models", recipe.model).Model(settings)
    splits = data.read(recipe, model.species, model.cutoff)
    learned = _learned(model, splits["train"])
    composition = data.fit_composition(
        [sample.structure.numbers for sample in learned],
        [sample.energy for sample in learned],
        model.species,
    )
    for samples in (*splits.values(), learned if learned is not splits["train"] else []):
        data.remove_composition(samples, composition)
    spreads = data.spreads(learned)
    model.scales = {model.energy_head: spreads["forces"]}
    if recipe.loss.dipole > 0:
        model.scales["dipole"] = spreads["dipole"]
    if recipe.start:
        _start(recipe, model)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return Trainer(
        recipe,
        model,
        splits,
        spreads,
        composition,
        output,
        torch.device(device),
        store.dtype_of(recipe.dtype),
    )


class _Repulsion(AtomisticModel):
    """The part of the energies of a model with `zbl` that has no weights."""

    def __init__(self, model):
        super().__init__(model.settings, model.cutoff, model.species)
        self.model = model

    def forward(self, graph):
        return self.model.repulsion(self.model.energy_head, graph)[:, 0]


def _learned(model, samples):
    """The samples with what weights have to learn of their labels: without the repulsion of a model
    with `zbl`.

    Composition energies and spreads are of these: repelled nuclei have hundreds of eV, and would
    set the scale of it all.
    """
    if not model.covalent_radii:
        return samples
    left = []
    for chunk in chunks(samples, EVALUATION_ATOMS):
        batch = data.collate(chunk, torch.float64, "cpu")
        found = Evaluation(_Repulsion(model), batch.graph)
        ends = batch.n_atoms.long().cumsum(0).tolist()
        for k, (sample, end) in enumerate(zip(chunk, ends, strict=True)):
            forces = found.forces[end - len(sample.structure) : end].numpy()
            left.append(
                replace(
                    sample,
                    energy=sample.energy - float(found.energy[k]),
                    forces=sample.forces - forces,
                    virial=sample.virial - found.virial[k].numpy(),
                )
            )
    return left


def _start(recipe, model):
    """Give the model the weights and scales of the calculator that the recipe starts from.

    Settings that hold no weights, as `zbl` and the cutoff, may differ: the training makes the
    weights fit to them.
    """
    folder = recipe.folder / recipe.start
    other, _ = store.load(folder if folder.exists() else recipe.start)
    if (
        type(other) is not type(model)
        or other.species != model.species
        or _shapes(other) != _shapes(model)
    ):
        raise ValueError(
            f"recipe `{recipe.name}`: `start` {recipe.start!r} has another model, other species or"
            " other sizes"
        )
    model.load_state_dict(other.state_dict())
    model.scales = dict(other.scales)


def _shapes(model):
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def finish(recipe, trainer, output, seconds):
    """Write calculator, metrics, plots and card of the best weights; returns the metrics."""
    model = trainer.average
    model.load_state_dict(trainer.best_weights)
    model.compositions = {model.energy_head: trainer.best_composition}
    symmetrised = symmetrisers.symmetrise(model, recipe.symmetrise)
    pairs = {
        split: predict(symmetrised, samples, trainer.dtype, trainer.device)
        for split, samples in trainer.splits.items()
        if samples
    }
    metrics = {
        split: {"structures": len(trainer.splits[split]), **errors(values)}
        for split, values in pairs.items()
    }
    everything = [sample for split in ("train", "val") for sample in trainer.splits[split]]
    model.compositions = {
        model.energy_head: {
            z: energy + trainer.best_composition[z] for z, energy in trainer.composition.items()
        }
    }
    provenance = {
        "date": datetime.date.today().isoformat(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "device": str(trainer.device),
        "augmentation": recipe.augmentation,
        "epochs": trainer.epoch,
        "seconds": round(seconds),
        "data": _hashes(recipe),
        "errors": metrics,
    }
    card = store.Card(
        recipe.name,
        recipe.symmetrise,
        recipe.dtype,
        data.shortest_distances(everything),
        provenance,
    )
    store.save(output, model.cpu(), card)
    (output / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    history = [json.loads(line) for line in (output / HISTORY).read_text().splitlines()]
    report.learning_curve(history, output / "learning_curve.png")
    report.parity(pairs, output / "parity.png")
    (output / "README.md").write_text(report.card(recipe, model, card, metrics))
    return metrics


def _hashes(recipe):
    names = [
        name for part in ("files", "train", "val", "test") for name in getattr(recipe.data, part)
    ]
    return {
        Path(name).name: hashlib.sha256((recipe.folder / name).read_bytes()).hexdigest()
        for name in names
    }


def _check_same(recipe_path, output, resume):
    """Refuse to resume a run with another recipe.

    Its state would not fit, or silently mean something else.
    """
    old = output / RECIPE
    if (
        resume
        and old.exists()
        and (output / STATE).exists()
        and old.read_bytes() != Path(recipe_path).read_bytes()
    ):
        raise ValueError(
            f"`{recipe_path}` differs from `{old}`, with which this run was begun: resume with"
            " that one"
        )
