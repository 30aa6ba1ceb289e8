"""The training loop: epochs, averaged weights, validation, and a state that resumes bit for bit."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from .. import rotations
from ..evaluation import Evaluation
from ..symmetrisers import Seeds, SeedStream, of_file, sampled, symmetrise
from . import continuation, distributed, progress
from .data import Sample
from .distributed import ALONE, Ranks
from .fine_tuning import Start
from .loss import Diverged, Part, energy_errors, heads_of, weighted_loss, whole_batch
from .optimisers import rate_factor, set_rates, sum_gradients
from .parts import parts_of
from .prediction import compare, evaluation, refit_composition
from .progress import OnUpdate, RunningErrors, Update, score
from .recipe import Recipe
from .replay import Replay
from .trained_weights import TrainedWeights

STATE = "state.pt"
HISTORY = "history.jsonl"


class Trainer:
    """Trains a model on samples; `run` yields a record after each validation.

    Every epoch draws its order and rotations from a generator seeded by (seed, epoch), and the
    whole state is written at the end of an epoch, so that a run that was killed continues to the
    same weights, bit for bit. Trained in frames, a generator of the seed alone draws the frames
    in which composition energies are fitted, which therefore differ by the weights only; the model
    is validated as it is used, with the mean over all frames.

    Several ranks have the same weights and the same order of structures, and share each batch.

    Parameters
    ----------
    recipe:
        Recipe.
    model:
        Model with its initial weights and its scales.
    splits:
        Samples without composition energies, {split: sequence of Sample}.
    label_rms:
        Units of the loss, see `data.label_rms`.
    composition:
        Composition energies that were removed from the samples, {Z: eV}.
    folder:
        Folder of state and history.
    device:
        Device of the training.
    dtype:
        Precision of the training.
    """

    def __init__(
        self,
        recipe: Recipe,
        model: Any,
        splits: dict[str, Sequence[Sample]],
        label_rms: dict[str, float],
        composition: dict[int, float],
        folder: Path,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.recipe = recipe
        self.splits = splits
        self.label_rms = label_rms
        self.composition = composition
        self.folder = folder
        self.device = device
        self.dtype = dtype
        self.model = model.to(device, dtype)
        self.average = copy.deepcopy(self.model).requires_grad_(False)  # of the weights over steps
        options = recipe.optimiser
        self.head = model.energy_head  # that is trained
        self.weights = TrainedWeights(self.model, self.average, recipe.fine_tuning)
        self.optimisers = self.weights.optimisers(options)
        self.steps_per_epoch = math.ceil(len(splits["train"]) / options.batch_size)
        self.epoch = 0
        self.step = 0
        self.best = math.inf  # lowest score of a validation
        self.best_weights = copy.deepcopy(self.average.state_dict())
        self.best_composition: dict[int, float] = {}
        self.first_loss = math.inf
        self.history: list[dict[str, Any]] = []  # records of all validations
        self.untrained_species: list[int] = []  # atomic numbers that no training structure has
        self.absent_species: list[int] = []  # those, and others that only `start` knows
        self.keeps_energies = recipe.E0s == "start"
        self.start: Start | None = None
        self.replay: Replay | None = None
        self.fingerprint: dict[str, str] = {}  # of the files, see `continuation`
        self.ranks: Ranks = ALONE
        self.on_update: OnUpdate | None = None  # called after each update of the weights
        self.running = RunningErrors(recipe.loss)  # of the present epoch
        self.known: dict[str, int] = {}  # number of training structures with forces, with stress

    def begin_from(self, start: Start, replay: Replay | None) -> None:
        """Train those weights of a start that the recipe names.

        Parameters
        ----------
        start:
            Calculator that the training starts from.
        replay:
            Structures that it must not forget; None without any.
        """
        self.start = start
        self.replay = replay
        self.weights = start.trained(self.recipe, self.model, self.average)
        options = self.recipe.optimiser
        self.optimisers = self.weights.optimisers(options)
        n_new = len(self.splits["train"])
        n_structures = n_new + (replay.per_epoch(n_new) if replay else 0)
        self.steps_per_epoch = math.ceil(n_structures / options.batch_size)

    def run(self) -> Iterator[dict[str, Any]]:
        """Yield {epoch, loss, rate, score, val} after each validation until the last epoch.

        Raises
        ------
        Diverged
            The loss or the weights are not finite, or have exploded.
        """
        options = self.recipe.optimiser
        if self.epoch == 0 and self.ranks.leads:
            # of a run that was killed before its first state
            (self.folder / HISTORY).unlink(missing_ok=True)
        while self.epoch < options.epochs:
            loss = self._train_epoch()
            place = f"on average over epoch {self.epoch + 1}"
            progress.check_loss(loss, progress.LOST, self.first_loss, place, self.recipe)
            self.epoch += 1
            record = None
            last = self.epoch == options.epochs
            if last or self.epoch % options.validate_every == 0:
                record = self._validate(loss)
            self.save()
            if record is not None:
                yield record

    def rate(self) -> float:
        """Factor on the learning rate at the present step."""
        return rate_factor(self.step, self.steps_per_epoch, self.recipe.optimiser)

    def save(self) -> None:
        """Write the whole state; a run that is killed meanwhile keeps the old one."""
        distributed.check_same_weights(self.model, self.ranks)
        if not self.ranks.leads:
            return
        state = {
            "epoch": self.epoch,
            "step": self.step,
            "best": self.best,
            "best_weights": self.best_weights,
            "best_composition": self.best_composition,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "factors": self.weights.state(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "first_loss": self.first_loss,
            "history": self.history,
            "fingerprint": self.fingerprint,
            "ranks": self.ranks.size,
        }
        continuation.save_state(state, self.folder / STATE)

    def resume(self) -> bool:
        """Continue from the state in the folder; returns False where there is none.

        Raises
        ------
        ValueError
            The state is damaged, or of a run with other files.
        """
        # of rank 0: the folder may be on its machine only
        state = self.ranks.shared(self._saved_state() if self.ranks.leads else None)
        if state is None:
            return False
        continuation.note_ranks(self.folder, state.get("ranks", 1), self.ranks.size)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.weights.load(state.get("factors", {}))
        for optimiser, saved_optimiser in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved_optimiser)
        self.epoch = state["epoch"]
        self.step = state["step"]
        self.best = state["best"]
        best = state["best_weights"]
        self.best_weights = {name: value.to(self.device) for name, value in best.items()}
        self.best_composition = state["best_composition"]
        self.first_loss = state.get("first_loss", math.inf)
        if self.ranks.leads:
            path = self.folder / HISTORY
            self.history = continuation.restore_history(path, self.epoch, state.get("history"))
        self.history = self.ranks.shared(self.history)
        return True

    def _saved_state(self) -> dict[str, Any] | None:
        """State in the folder, None where there is none."""
        path = self.folder / STATE
        if not path.is_file():
            return None
        # several ranks have different devices
        device = self.device if self.ranks.size == 1 else torch.device("cpu")
        state = continuation.load_state(path, device)
        continuation.check_same(state.get("fingerprint", {}), self.fingerprint, self.folder)
        return state

    def _train_epoch(self) -> float:
        """Mean loss of an epoch of updates."""
        samples = self.splits["train"]
        size = self.recipe.optimiser.batch_size
        # each epoch has its seed, so that a continued run draws the same numbers
        seed = 1_000_003 * self.recipe.seed + self.epoch
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(samples), generator=generator).tolist()
        if self.replay is not None:
            order = self.replay.mixed(order, generator)
        starts = range(0, len(order), size)
        rotating = self.recipe.augmentation == "rotations"
        self.running = RunningErrors(self.recipe.loss)
        total = 0.0
        for start in starts:
            begin = time.perf_counter()
            indices = order[start : start + size]
            # one generator draws order, rotations and frames: the order of the draws matters
            rotation = rotations.random_orthogonal(len(indices), generator) if rotating else None
            parts = self._parts(indices, rotation)
            loss = self._update(parts, len(indices), generator)
            total += loss
            if self.on_update:
                self.on_update(self._last_update(parts, loss, time.perf_counter() - begin))
        return total / self.steps_per_epoch

    def _last_update(self, parts: list[Part], loss: float, seconds: float) -> Update:
        """What is shown of an update."""
        epochs = self.recipe.optimiser.epochs
        atoms = sum(len(part.batch.forces) for part in parts) * self.ranks.size
        steps = epochs * self.steps_per_epoch
        return Update(self.epoch + 1, epochs, self.step, steps, loss, atoms, seconds)

    def _parts(self, indices: Sequence[int], rotation: torch.Tensor | None) -> list[Part]:
        """Parts of a batch that this rank evaluates; rotation (B, 3, 3) is of all structures."""
        return parts_of(self, indices, rotation)

    def _update(self, parts: list[Part], n_structures: int, generator: torch.Generator) -> float:
        """Loss of a batch, before the update of the weights that it makes."""
        options = self.recipe.optimiser
        set_rates(self.optimisers, options.learning_rate * self.rate())
        with self.model.on_drawn_axes(generator):
            loss = self._backward(parts, n_structures, generator)
        self._check_loss(loss)
        self.step += 1
        # a short memory at first: the average forgets the initial weights
        decay = min(options.ema, (1 + self.step) / (10 + self.step))
        self.weights.update(self.optimisers, options.gradient_clip, decay)
        return loss

    def _backward(self, parts: list[Part], n_structures: int, generator: torch.Generator) -> float:
        """Loss of a batch of B structures, all ranks; leaves its gradient in the weights."""
        models = self._models(parts, n_structures, generator)
        evaluated = partial(evaluation, training=True, heads=heads_of(self.recipe.loss))
        self.model.zero_grad()
        # The median error is of the batch: of several parts all energies come first.
        first: Evaluation | None = None
        errors = [torch.empty(0, dtype=torch.float64, device=self.device)]
        for model, part in zip(models, parts, strict=True):
            self.model.set_energy_head(part.head)
            if len(parts) > 1:
                first = Evaluation(model, part.batch.graph)
            else:
                first = evaluated(model, part.batch)
                _ = first.forces  # the same run of the model gives the energies
            errors.append(energy_errors(first, part.batch).detach().double())
        whole = whole_batch(torch.cat(errors), parts, n_structures, self.ranks)
        whole = dataclasses.replace(whole, centred=not self.keeps_energies)

        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for model, part in zip(models, parts, strict=True):
            self.model.set_energy_head(part.head)
            results = first if first and len(parts) == 1 else evaluated(model, part.batch)
            loss = weighted_loss(
                results, part.batch, self.label_rms, self.recipe.loss, whole, part.places
            )
            loss.backward()
            total += loss.detach()
            self.running.add(results, part.batch)
        return float(sum_gradients(self.model, total, self.ranks))

    def _check_loss(self, loss: float) -> None:
        """Stop before an update by a loss that has no meaning."""
        if math.isinf(self.first_loss):
            self.first_loss = loss
        place = f"in step {self.step + 1} (epoch {self.epoch + 1})"
        progress.check_loss(loss, progress.EXPLODED, self.first_loss, place, self.recipe)

    def _models(
        self, parts: list[Part], n_structures: int, generator: torch.Generator
    ) -> list[Any]:
        """The model that each part is evaluated by; the seeds of frames are of all B structures."""
        if self.recipe.augmentation == "rotations":
            return [self.model] * len(parts)
        seeds = SeedStream(generator)(n_structures)
        models = []
        for part in parts:
            own = seeds[part.places.cpu()]
            models.append(self._training_model(self.model, partial(_same, own)))
        return models

    def _training_model(self, model: Any, seeds: Seeds) -> Any:
        """The model that is trained: itself, or seen in frames that are drawn by seeds."""
        if self.recipe.augmentation == "rotations":
            return model
        return sampled(model, of_file(self.recipe.symmetrise), seeds, self.recipe.draws)

    def averaged_model(self) -> Any:
        """The averaged weights, in frames if they are trained in frames."""
        generator = torch.Generator().manual_seed(self.recipe.seed)
        seeds = SeedStream(generator, self.ranks.rank, self.ranks.size)
        return self._training_model(self.average, seeds)

    def _inference_model(self, model: Any) -> Any:
        """The model that is validated: itself, or the mean over all frames if trained in frames."""
        if self.recipe.augmentation == "rotations":
            return model
        return symmetrise(model, of_file(self.recipe.symmetrise))

    def fitted_composition(self, model: Any) -> dict[int, float]:
        """Composition energies, {Z: eV}, to add to those that were removed; 0 for those kept.

        Parameters
        ----------
        model:
            The model, as it is trained.
        """
        if self.keeps_energies:
            return dict.fromkeys(model.species, 0.0)
        place = (self.dtype, self.device)
        fitted = refit_composition(model, self.splits["train"], model.species, *place, self.ranks)
        return {z: 0.0 if z in self.absent_species else energy for z, energy in fitted.items()}

    def _validate(self, loss: float) -> dict[str, Any]:
        """Record of the errors of the averaged weights, which are kept if they are the best."""
        model = self.averaged_model()
        composition = self.fitted_composition(model)
        self.average.compositions = {self.average.energy_head: composition}
        inference = self._inference_model(self.average)
        validation = self.splits["val"]
        table, _ = compare(inference, validation, self.dtype, self.device, self.ranks)

        value = score(table, self.recipe.loss)
        old: dict[str, dict[str, float]] = {}
        if self.replay is not None:
            inference.energy_head = self.replay.head
            old, _ = compare(inference, self.replay.val, self.dtype, self.device, self.ranks)
            inference.energy_head = self.head
            value = self.replay.score(value, score(old, self.recipe.loss))
        if not math.isfinite(value):
            raise Diverged(
                f"the errors of the validation after epoch {self.epoch} are not finite: the"
                " training diverged. Lower `optimiser.learning_rate`"
            )
        if value < self.best:
            self.best = value
            self.best_weights = copy.deepcopy(self.average.state_dict())
            self.best_composition = composition

        record = {
            "epoch": self.epoch,
            "loss": loss,
            "rate": self.rate(),
            "score": value,
            "train": self.running.metrics(self.ranks),
            "val": table,
            **({"old": old} if old else {}),
            **self.running.frame_deviation(self.ranks),
        }
        self.history.append(record)
        if self.ranks.leads:
            continuation.append_record(self.folder / HISTORY, record)
        return record


def _same(seeds: torch.Tensor, _: int) -> torch.Tensor:
    """Seeds (n_structures,) of a part of a batch, for each evaluation of it."""
    return seeds
