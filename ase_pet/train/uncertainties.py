"""Last-layer uncertainty (LLPR) of a trained model: fitted after training, compared with errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import cards, symmetrisers
from ..calculator_info import CalculatorInfo
from ..evaluation import Evaluation
from ..evaluation.derivatives import sum_over_atoms
from ..models.base import AtomisticModel
from ..uncertainty import calibration, last_layer
from ..uncertainty.last_layer import Covariance
from .data import Sample, collate
from .loop import Trainer
from .prediction import chunks
from .recipe import Recipe

SECTION = "Uncertainty"
SPLITS = ("val", "test")  # the first one calibrates


@dataclass
class Fitted:
    """A model and its uncertainty, if it has one.

    Attributes
    ----------
    model:
        The model, with its uncertainty.
    reason:
        Why it has none.
    chosen:
        What was chosen in the fit, {} without an uncertainty.
    errors:
        {split: (standard deviations (n,), errors (n,)) of energies in eV}.
    """

    model: AtomisticModel
    reason: str = ""
    chosen: dict[str, float] = field(default_factory=dict)
    errors: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def describe(self, config: CalculatorInfo) -> None:
        """Write the choices and the comparisons into the provenance of a calculator.

        Parameters
        ----------
        config:
            What calculator.toml will hold.
        """
        if self.chosen:
            config.provenance["uncertainty"] = {
                **self.chosen,
                **{split: each.summary() for split, each in self._compared().items()},
            }

    def write(self, folder: Path, readme: str) -> str:
        """README with a section on the uncertainty; the picture of the calibration is written.

        Parameters
        ----------
        folder:
            Folder of the picture.
        readme:
            README without the section.
        """
        if not self.chosen:
            return cards.with_section(readme, SECTION, f"None: {self.reason}.")
        kinds = {f"energy, {split}": (*each, "eV") for split, each in self.errors.items()}
        calibration.plot(kinds, folder / calibration.PICTURE)
        return cards.with_section(readme, SECTION, section(self.chosen, self._compared()))

    def _compared(self) -> dict[str, calibration.Comparison]:
        return {split: calibration.compare(*each) for split, each in self.errors.items()}


def section(chosen: dict[str, float], compared: dict[str, calibration.Comparison]) -> str:
    """Markdown of the section of a card on the uncertainty.

    Parameters
    ----------
    chosen:
        What was chosen in the fit.
    compared:
        Comparisons of energies by split.
    """
    table = {split: (each, "meV", 1e3) for split, each in compared.items()}
    return "\n\n".join(
        [
            "Last-layer uncertainty (LLPR): covariance of the features over"
            f" {chosen['structures']} training structures, ridge {chosen['ridge']:g}, calibrated"
            f" on {chosen['validation']} validation energies; ensemble of {chosen['members']}"
            " members. Expected against observed errors of the energies of structures"
            f" (`docs/guides/uncertainty.md`, picture `{calibration.PICTURE}`):",
            calibration.markdown(table),
        ]
    )


def fitted(recipe: Recipe, trainer: Trainer, model: AtomisticModel) -> Fitted:
    """The model with its uncertainty, or without one and the reason, which the card states.

    Parameters
    ----------
    recipe:
        Recipe.
    trainer:
        Trainer after its training, whose samples lack the composition energies that it removed.
    model:
        Best model.
    """
    # a recipe that names `uncertainties` in [settings] has made some of no data
    model = last_layer.without(model)
    # of the samples, from which the energies of the elements were removed
    model.compositions = {model.energy_head: trainer.best_composition}
    if not recipe.uncertainty:
        return Fitted(model, "the recipe has `uncertainty = false`")
    try:
        return _fitted(recipe, trainer, model)
    # nothing that fails here may cost the trained model, such as a lack of memory
    except (ValueError, RuntimeError, MemoryError) as error:
        return Fitted(model, str(error))


def _fitted(recipe: Recipe, trainer: Trainer, model: AtomisticModel) -> Fitted:
    """The model with its uncertainty; ValueError where there can be none."""
    made = last_layer.extended(model, recipe.uncertainty_members)
    layer = made.uncertainty
    assert layer is not None  # `extended` makes it
    kind = symmetrisers.of_file(recipe.symmetrise)
    symmetrised = symmetrisers.symmetrise(made, kind)
    if not symmetrised.n_features:
        raise ValueError(f"`symmetrise` {recipe.symmetrise!r} has no features of a last layer")
    covariance = Covariance(made.n_features)
    training = trainer.splits["train"]
    for features, n_atoms, errors in _tables(symmetrised, training, trainer):
        known = torch.isfinite(errors)
        # a structure with forces only says nothing about energies
        covariance.add(features[known], n_atoms[known])
    held = {name: _joined(symmetrised, trainer.splits[name], trainer) for name in SPLITS}
    features, errors = held["val"]
    chosen = last_layer.fit(layer, covariance, features, errors, recipe.seed)
    compared = {}
    for split, (features, errors) in held.items():
        known = torch.isfinite(errors)
        if int(known.sum()) < calibration.FEWEST:
            continue
        of_known = features[known].to(layer.factor.device)
        deviations = layer.deviation(of_known).cpu()
        errors_of_known = errors[known]
        compared[split] = (deviations.numpy(), errors_of_known.numpy())
    return Fitted(made, "", chosen.as_dict(), compared)


def _joined(
    model: AtomisticModel, samples: Sequence[Sample], trainer: Trainer
) -> tuple[torch.Tensor, torch.Tensor]:
    """Features (n, F) and errors (n,) in eV of samples, on the CPU."""
    parts = list(_tables(model, samples, trainer))
    features = [torch.zeros(0, model.n_features, dtype=torch.float64)]
    errors = [torch.zeros(0, dtype=torch.float64)]
    for of_part, _, errors_of_part in parts:
        features.append(of_part)
        errors.append(errors_of_part)
    return torch.cat(features), torch.cat(errors)


def _tables(
    model: AtomisticModel, samples: Sequence[Sample], trainer: Trainer
) -> Iterator[tuple[torch.Tensor, ...]]:
    """Features (n, F) summed over atoms, numbers of atoms (n,), errors (n,) in eV, by chunks."""
    for chunk in chunks(samples, trainer.device):
        batch = collate(chunk, trainer.dtype, trainer.device)
        results: Any = Evaluation(model, batch.graph, features=True)
        per_atom = results.uncertainties.features  # (atoms, F)
        features = sum_over_atoms(batch.graph, per_atom)
        errors = results.energy - batch.energy
        detached = []
        for each in (features, batch.n_atoms, errors.double()):
            value = each.detach()
            detached.append(value.cpu())
        yield tuple(detached)
