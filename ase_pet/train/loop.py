"""The training loop: epochs, averaged weights, validation, and a state that resumes bit for bit."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ..symmetrisers import of_file, sampled, symmetrise
from . import continuation
from .data import Batch, Sample, collate
from .loss import Diverged, weighted_loss
from .optimisers import optimisers, rate_factor
from .prediction import errors, evaluation, predict, refit_composition
from .recipe import Recipe

STATE = "state.pt"
HISTORY = "history.jsonl"
EXPLODED = 1e6  # loss of a batch in units of the first one: no training comes back from there


class Trainer:
    """Trains a model on samples; `run` yields a record after each validation.

    Every epoch draws its order and rotations from a generator seeded by (seed, epoch), and the
    whole state is written at the end of an epoch, so that a run that was killed continues to the
    same weights, bit for bit. Trained in frames, a generator of the seed alone draws the frames
    in which composition energies are fitted, which therefore differ by the weights only; the model
    is validated as it is used, with the mean over all frames.

    Parameters
    ----------
    recipe:
        Recipe.
    model:
        Model with its initial weights and its scales.
    splits:
        Samples without composition energies, {split: list of Sample}.
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
        splits: dict[str, list[Sample]],
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
        self.optimisers = optimisers(self.model, options)
        self.steps_per_epoch = math.ceil(len(splits["train"]) / options.batch_size)
        self.epoch = 0
        self.step = 0
        self.best = math.inf  # lowest score of a validation
        self.best_weights = copy.deepcopy(self.average.state_dict())
        self.best_composition: dict[int, float] = {}
        self.first_loss = math.inf
        self.history: list[dict[str, Any]] = []  # records of all validations
        self.untrained_species: list[int] = []  # atomic numbers that no training structure has
        self.fingerprint: dict[str, str] = {}  # of the files, see `continuation`

    def run(self) -> Iterator[dict[str, Any]]:
        """Yield {epoch, loss, rate, score, val} after each validation until the last epoch.

        Raises
        ------
        Diverged
            The loss or the weights are not finite, or have exploded.
        """
        options = self.recipe.optimiser
        if self.epoch == 0:
            # of a run that was killed before its first state
            (self.folder / HISTORY).unlink(missing_ok=True)
        while self.epoch < options.epochs:
            loss = self._train_epoch()
            self.epoch += 1
            record = None
            if self.epoch % options.validate_every == 0 or self.epoch == options.epochs:
                record = self._validate(loss)
            self.save()
            if record is not None:
                yield record

    def rate(self) -> float:
        """Factor on the learning rate at the present step."""
        return rate_factor(self.step, self.steps_per_epoch, self.recipe.optimiser)

    def save(self) -> None:
        """Write the whole state; a run that is killed meanwhile keeps the old one."""
        state = {
            "epoch": self.epoch,
            "step": self.step,
            "best": self.best,
            "best_weights": self.best_weights,
            "best_composition": self.best_composition,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "first_loss": self.first_loss,
            "history": self.history,
            "fingerprint": self.fingerprint,
        }
        temporary = self.folder / (STATE + ".part")
        torch.save(state, temporary)
        os.replace(temporary, self.folder / STATE)

    def resume(self) -> bool:
        """Continue from the state in the folder; returns False where there is none.

        Raises
        ------
        ValueError
            The state is damaged, or of a run with other files.
        """
        path = self.folder / STATE
        if not path.is_file():
            return False
        state = continuation.load_state(path, self.device)
        saved = state.get("fingerprint", {})
        continuation.check_same(saved, self.fingerprint, self.folder)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        for optimiser, saved_optimiser in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved_optimiser)
        self.epoch = state["epoch"]
        self.step = state["step"]
        self.best = state["best"]
        self.best_weights = state["best_weights"]
        self.best_composition = state["best_composition"]
        self.first_loss = state.get("first_loss", math.inf)
        self._restore_history(state.get("history"))
        return True

    def _train_epoch(self) -> float:
        """Mean loss of an epoch of updates."""
        samples = self.splits["train"]
        size = self.recipe.optimiser.batch_size
        # each epoch has its seed, so that a continued run draws the same numbers
        seed = 1_000_003 * self.recipe.seed + self.epoch
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(samples), generator=generator).tolist()
        starts = range(0, len(order), size)
        rotating = generator if self.recipe.augmentation == "rotations" else None
        total = 0.0
        for start in starts:
            indices = order[start : start + size]
            chosen = [samples[index] for index in indices]
            # one generator draws order, rotations and frames: the order of the draws matters
            batch = collate(chosen, self.dtype, self.device, rotating)
            loss = self._update(batch, generator)
            total += loss
        return total / self.steps_per_epoch

    def _update(self, batch: Batch, generator: torch.Generator) -> float:
        """Loss of a batch, before the update of the weights that it makes."""
        options = self.recipe.optimiser
        learning_rate = options.learning_rate * self.rate()
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = learning_rate

        model = self._training_model(self.model, generator)
        results = evaluation(model, batch, training=True)
        loss = weighted_loss(results, batch, self.label_rms, self.recipe.loss)
        self._check_loss(float(loss.detach()))
        self.model.zero_grad()
        loss.backward()
        weights = list(self.model.parameters())
        torch.nn.utils.clip_grad_norm_(weights, options.gradient_clip)
        for optimiser in self.optimisers:
            optimiser.step()

        self.step += 1
        # a short memory at first: the average forgets the initial weights
        decay = min(options.ema, (1 + self.step) / (10 + self.step))
        averaged = list(self.average.parameters())
        with torch.no_grad():
            torch._foreach_lerp_(averaged, weights, 1 - decay)
        return float(loss.detach())

    def _check_loss(self, loss: float) -> None:
        """Stop before an update by a loss that has no meaning."""
        if math.isinf(self.first_loss):
            self.first_loss = loss
        # a first loss of 0, of labels that are all 0, is no measure
        weights = self.recipe.loss
        usual = max(self.first_loss, weights.energy + weights.forces + weights.stress)
        if not math.isfinite(loss) or loss > EXPLODED * usual:
            rate = self.recipe.optimiser.learning_rate
            raise Diverged(
                f"the loss is {loss:.3g} in step {self.step + 1} (epoch {self.epoch + 1}), at first"
                f" {self.first_loss:.3g}: the training diverged. Lower `optimiser.learning_rate`,"
                f" which is {rate}, or look for wrong labels"
            )

    def _training_model(self, model: Any, generator: torch.Generator) -> Any:
        """The model that is trained: itself, or seen in frames that the generator draws."""
        if self.recipe.augmentation == "rotations":
            return model
        return sampled(model, self.recipe.symmetrise, generator, self.recipe.draws)

    def _inference_model(self, model: Any) -> Any:
        """The model that is validated: itself, or the mean over all frames if trained in frames."""
        if self.recipe.augmentation == "rotations":
            return model
        return symmetrise(model, of_file(self.recipe.symmetrise))

    def _validate(self, loss: float) -> dict[str, Any]:
        """Record of the errors of the averaged weights, which are kept if they are the best."""
        model = self._training_model(self.average, torch.Generator().manual_seed(self.recipe.seed))
        composition = refit_composition(
            model, self.splits["train"], model.species, self.dtype, self.device
        )
        self.average.compositions = {self.average.energy_head: composition}
        inference = self._inference_model(self.average)
        table = errors(predict(inference, self.splits["val"], self.dtype, self.device))

        # squares of errors, relative to the labels and weighted as in the loss
        weights = dataclasses.asdict(self.recipe.loss)
        score = 0.0
        for name, value in table.items():
            score += weights[name] * (value["rmse"] / value["rms"]) ** 2
        if not math.isfinite(score):
            raise Diverged(
                f"the errors of the validation after epoch {self.epoch} are not finite: the"
                " training diverged. Lower `optimiser.learning_rate`"
            )
        if score < self.best:
            self.best = score
            self.best_weights = copy.deepcopy(self.average.state_dict())
            self.best_composition = composition

        record = {
            "epoch": self.epoch,
            "loss": loss,
            "rate": self.rate(),
            "score": score,
            "val": table,
        }
        self.history.append(record)
        with open(self.folder / HISTORY, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        return record

    def _restore_history(self, saved: list[dict[str, Any]] | None) -> None:
        """Write the records up to the state anew: those after it, or half a line, may be there."""
        path = self.folder / HISTORY
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        read: list[dict[str, Any]] = []
        damaged = 0
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:
                damaged += 1
                continue
            if record["epoch"] <= self.epoch:
                read.append(record)
        # states of earlier versions do not hold the records
        self.history = read if saved is None else saved
        lost = [record for record in self.history if record not in read]
        if damaged or lost:
            repaired = "written anew from the state" if saved is not None else "left out"
            warnings.warn(
                f"`{path}` was damaged ({damaged} bad lines, {len(lost)} missing): {repaired}",
                stacklevel=4,
            )
        path.write_text("".join(json.dumps(record) + "\n" for record in self.history))
