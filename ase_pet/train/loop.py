"""The training loop.

Losses, optimiser, averaged weights, validation, and state that resumes bit for bit.
"""

import copy
import json
import math
import os

import numpy as np
import torch

from ..evaluation import Evaluation
from ..symmetrisers import sampled, symmetrise
from .data import collate, fit_composition

STATE, HISTORY = "state.pt", "history.jsonl"
EVALUATION_ATOMS = 128


def losses(results, batch, spreads, weights):
    """Scalar loss of an Evaluation against the targets of a Batch: weighted Huber errors in units
    of the spreads.

    The median error of the energy per atom over the batch is taken out: it is a composition energy,
    which a fit finds at each validation. Left in, this one stiff direction (each bias counts once
    per neighbour) hides the forces from the optimiser. It is not the mean, to which a few nuclei
    that nearly touch would contribute more than all the others.
    """
    forces = results.forces  # first: it makes the energies as well
    per_atom = (results.interaction - batch.energy) / batch.n_atoms
    errors = {
        "forces": forces - batch.forces,
        "energy": per_atom - per_atom.median() if len(per_atom) > 1 else per_atom,
        "stress": (results.virial - batch.virial) / batch.n_atoms[:, None, None],
    }
    if weights.dipole > 0 and batch.dipole.isfinite().any():
        errors["dipole"] = results.heads.total("dipole") - batch.dipole
    total = 0.0
    for name, error in errors.items():
        known = torch.isfinite(error.detach())
        if getattr(weights, name) and known.any():
            scaled = error[known] / spreads[name]
            huber = torch.nn.functional.huber_loss(
                scaled, torch.zeros_like(scaled), delta=weights.huber
            )
            total = total + getattr(weights, name) * huber / weights.huber
    return total


def predict(model, samples, dtype, device):
    """Arrays of reference and predicted values over samples, for errors and parity plots.

    {name: (2, count)} with energy in eV/atom (without composition energies), forces in eV/A, stress
    in eV/A^3 and dipole in e A.
    """
    rows = {"energy": [], "forces": [], "stress": [], "dipole": []}
    for chunk in chunks(samples, EVALUATION_ATOMS):
        batch = collate(chunk, dtype, device)
        results = _evaluation(model, batch)
        volume = batch.graph.volume[:, None, None]
        values = {
            "forces": (batch.forces, results.forces),
            "energy": (batch.energy / batch.n_atoms, results.energy / batch.n_atoms),
            "stress": (batch.virial / volume, results.virial / volume),
        }
        if results.heads.wanted:
            values["dipole"] = batch.dipole, results.heads.total("dipole")
        for name, pair in values.items():
            rows[name].append(np.stack([value.detach().cpu().numpy().ravel() for value in pair]))
    return {
        name: _finite(np.concatenate([np.empty((2, 0)), *parts], axis=1))
        for name, parts in rows.items()
    }


def _evaluation(model, batch, training=False):
    """Evaluation of a batch that reads the dipoles, where there are labels.

    In the same run as the energies.
    """
    heads = ("dipole",) if batch.dipole.isfinite().any() else ()
    return Evaluation(model, batch.graph, training=training, heads=heads)


def refit(model, samples, species, dtype, device):
    """{Z: eV} composition energies by a robust fit to what the model leaves of the energies of the
    samples.

    Robust as the loss is: a few structures with errors of an eV, nuclei that nearly touch, would
    shift all the others.
    """
    found = []
    for chunk in chunks(samples, EVALUATION_ATOMS):
        batch = collate(chunk, dtype, device)
        found.append((batch.energy - Evaluation(model, batch.graph).interaction).cpu().numpy())
    return fit_composition(
        [sample.structure.numbers for sample in samples],
        np.concatenate(found),
        species,
        robust=True,
    )


def _finite(pairs):
    return pairs[:, np.isfinite(pairs).all(0)]


def errors(pairs):
    """{name: {rmse, mae, rms}} of what `predict` returns, in its units.

    Rms is that of the reference.
    """
    table = {}
    for name, (reference, predicted) in pairs.items():
        if len(reference):
            difference = predicted - reference
            table[name] = {
                "rmse": float(np.sqrt(np.mean(difference**2))),
                "mae": float(np.mean(np.abs(difference))),
                "rms": float(np.sqrt(np.mean(reference**2))),
            }
    return table


def chunks(samples, atoms):
    """Samples in consecutive groups of at most `atoms` atoms, one at least."""
    group, size = [], 0
    for sample in samples:
        if group and size + len(sample.structure) > atoms:
            yield group
            group, size = [], 0
        group.append(sample)
        size += len(sample.structure)
    if group:
        yield group


class Trainer:
    """Trains a model on samples. `run` yields a record after each validation; its state lives in
    `folder`.

    Every epoch draws its order and rotations from a generator seeded by (seed, epoch), and the
    state is written whole at the end of an epoch, so that a run that was killed goes on to the same
    weights, bit for bit. A generator of the seed alone draws the frames in which composition
    energies are found, which therefore differ by the weights only; what is validated is the model
    as it is used.
    """

    def __init__(self, recipe, model, splits, spreads, composition, folder, device, dtype):
        self.recipe, self.splits, self.spreads, self.folder = recipe, splits, spreads, folder
        self.composition = composition  # taken out of the energies of the samples beforehand
        self.device, self.dtype = device, dtype
        self.model = model.to(device, dtype)
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        options = recipe.optimiser
        self.optimisers = optimisers(self.model, options)
        self.steps_per_epoch = math.ceil(len(splits["train"]) / options.batch_size)
        self.epoch, self.step = 0, 0
        self.best, self.best_weights, self.best_composition = (
            math.inf,
            copy.deepcopy(self.average.state_dict()),
            {},
        )

    def run(self):
        """Yield {epoch, loss, rate, val} records until the epochs of the recipe are done."""
        options = self.recipe.optimiser
        while self.epoch < options.epochs:
            loss = self._epoch()
            self.epoch += 1
            record = None
            if self.epoch % options.validate_every == 0 or self.epoch == options.epochs:
                record = self._validate(loss)
            self.save()
            if record is not None:
                yield record

    def _epoch(self):
        samples, size = self.splits["train"], self.recipe.optimiser.batch_size
        generator = torch.Generator().manual_seed(1_000_003 * self.recipe.seed + self.epoch)
        order = torch.randperm(len(samples), generator=generator).tolist()
        total = 0.0
        for start in range(0, len(order), size):
            chosen = [samples[k] for k in order[start : start + size]]
            turns = generator if self.recipe.augmentation == "rotations" else None
            total += self._update(collate(chosen, self.dtype, self.device, turns), generator)
        return total / self.steps_per_epoch

    def _update(self, batch, generator):
        options = self.recipe.optimiser
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = options.learning_rate * self.rate()
        model = self._seen(self.model, generator)
        loss = losses(
            _evaluation(model, batch, training=True), batch, self.spreads, self.recipe.loss
        )
        self.model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), options.gradient_clip)
        for optimiser in self.optimisers:
            optimiser.step()
        self.step += 1
        decay = min(options.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.average.parameters()), list(self.model.parameters()), 1 - decay
            )
        return float(loss.detach())

    def _seen(self, model, generator):
        """The model as the training sees it: in axes as they come, or in frames that are drawn."""
        if self.recipe.augmentation == "rotations":
            return model
        return sampled(model, self.recipe.symmetrise, generator, self.recipe.draws)

    def _used(self, model):
        """The model as it is used.

        Where it is trained in drawn frames, with the mean over all of them.
        """
        return (
            model
            if self.recipe.augmentation == "rotations"
            else symmetrise(model, self.recipe.symmetrise)
        )

    def rate(self):
        """Factor on the learning rate at the present step."""
        options = self.recipe.optimiser
        warmup, total = (
            options.warmup_epochs * self.steps_per_epoch,
            options.epochs * self.steps_per_epoch,
        )
        if self.step < warmup:
            return (self.step + 1) / warmup
        done = (self.step - warmup) / max(1, total - warmup)
        return options.final_rate + (1 - options.final_rate) * 0.5 * (1 + math.cos(math.pi * done))

    def _validate(self, loss):
        model = self._seen(self.average, torch.Generator().manual_seed(self.recipe.seed))
        composition = refit(model, self.splits["train"], model.species, self.dtype, self.device)
        self.average.compositions = {self.average.energy_head: composition}
        found = errors(
            predict(self._used(self.average), self.splits["val"], self.dtype, self.device)
        )
        weights = self.recipe.loss
        score = sum(
            getattr(weights, name) * (value["rmse"] / value["rms"]) ** 2
            for name, value in found.items()
        )
        if score < self.best:
            self.best, self.best_weights = score, copy.deepcopy(self.average.state_dict())
            self.best_composition = composition
        record = {
            "epoch": self.epoch,
            "loss": loss,
            "rate": self.rate(),
            "score": score,
            "val": found,
        }
        with open(self.folder / HISTORY, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        return record

    def save(self):
        """Write the whole state, replacing the old one at once."""
        state = {
            "epoch": self.epoch,
            "step": self.step,
            "best": self.best,
            "best_weights": self.best_weights,
            "best_composition": self.best_composition,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
        }
        temporary = self.folder / (STATE + ".part")
        torch.save(state, temporary)
        os.replace(temporary, self.folder / STATE)

    def resume(self):
        """Continue from the state in the folder; False where there is none."""
        path = self.folder / STATE
        if not path.is_file():
            return False
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.epoch, self.step = state["epoch"], state["step"]
        self.best, self.best_weights = state["best"], state["best_weights"]
        self.best_composition = state["best_composition"]
        records = (
            [
                line
                for line in (self.folder / HISTORY).read_text().splitlines()
                if json.loads(line)["epoch"] <= self.epoch
            ]
            if (self.folder / HISTORY).is_file()
            else []
        )
        (self.folder / HISTORY).write_text("".join(record + "\n" for record in records))
        return True


def optimisers(model, options):
    """Optimisers of all parameters of a model, as the recipe's [optimiser] says.

    Weight decay acts on matrices, not on vectors (biases, norms). Muon (K. Jordan, 2024) takes the
    matrices between two hidden layers; tables of species, maps from geometry and the last layers
    have no two hidden sides.
    """
    named = list(model.named_parameters())
    hidden = [
        p
        for name, p in named
        if options.method == "muon"
        and p.ndim == 2
        and "embedder" not in name
        and "last_layers" not in name
    ]
    chosen = {id(p) for p in hidden}
    rest = [p for _, p in named if id(p) not in chosen]
    groups = [
        {"params": [p for p in rest if p.ndim >= 2], "weight_decay": options.weight_decay},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
    ]
    found = [torch.optim.AdamW(groups, lr=options.learning_rate, betas=(0.9, 0.99), fused=True)]
    if hidden:
        if not hasattr(torch.optim, "Muon"):
            raise ValueError(
                "`method` 'muon' needs torch 2.9 or later: update torch or choose 'adam'"
            )
        found.append(
            torch.optim.Muon(
                hidden,
                lr=options.learning_rate,
                momentum=0.95,
                adjust_lr_fn="match_rms_adamw",
                weight_decay=options.weight_decay,
            )
        )
    return found
