"""A training that starts from a calculator: its energies of the elements, notes, and errors."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from typing import Any

from ase.data import chemical_symbols

from . import fine_tuning, forgetting, label_signs
from .fine_tuning import Start
from .loop import Trainer
from .prediction import refit_composition
from .sources import remove_composition


def begin(start: Start, trainer: Trainer) -> None:
    """Move the energies of the elements to the new labels, and list what differs from the start.

    Only the errors of its network are fitted, by the smallest shifts: energies of elements that the
    data cannot tell apart keep their difference. Of `E0s` "start" only new elements are fitted.

    Parameters
    ----------
    start:
        Calculator that the training starts from.
    trainer:
        Trainer, before its first step.
    """
    if trainer.ranks.leads:
        name = f"`start` {start.given!r}"
        training = trainer.splits["train"]
        label_signs.warn(trainer.averaged_model(), training, name, trainer.dtype, trainer.device)
    if trainer.recipe.E0s in ("fit", "start"):
        _move_energies(trainer, start.sources)
    absent = trainer.absent_species
    start.changes = [
        fine_tuning.energies_line(start.energies, trainer.composition, absent),
        *start.differences(trainer.model, trainer.recipe),
    ]
    start.method = trainer.weights.described()
    old = trainer.replay
    if old is None:
        return
    start.changes += [f"old structures: {line}" for line in old.lines]
    old.before = forgetting.errors_before(old, start, trainer.dtype, trainer.device, trainer.ranks)
    # energies of both kinds of structures are relative to the same ones from now on
    trainer.keeps_energies |= bool(old.train)


def _move_energies(trainer: Trainer, new: Collection[int]) -> None:
    """Add the fitted errors of the network to the energies of the elements that are not kept.

    New elements have no energy before: what their structures need is theirs, and moves no other.
    """
    model = trainer.averaged_model()
    fitted_species = list(model.species) if trainer.recipe.E0s == "fit" else list(new)
    if not fitted_species:
        return
    place = (trainer.dtype, trainer.device, trainer.ranks)
    samples = trainer.splits["train"]
    shift = refit_composition(model, samples, fitted_species, *place, new)
    before = trainer.composition
    after = dict(before)
    for z in set(fitted_species).difference(trainer.absent_species):
        after[z] += shift[z]
    trainer.composition = after
    for samples in trainer.splits.values():
        remove_composition(samples, after, before)


def warn_of_absent(absent: list[int], untrained: list[int], start: Start | None) -> None:
    """Warn of species of the recipe that no training structure has.

    Parameters
    ----------
    absent:
        Atomic numbers that no structure has.
    untrained:
        Those of them that the start was not trained on either.
    start:
        Calculator that the training starts from.

    Raises
    ------
    ValueError
        An element was added to those of the start for nothing.
    """
    new = fine_tuning.symbols([z for z in absent if start and z in start.sources])
    if new:
        raise ValueError(
            f"`fine_tuning.new_species` has {new}, which no training structure has: leave it out"
        )
    # what the start has learned of them is no longer tested
    kept = fine_tuning.symbols([z for z in absent if z not in untrained])
    if kept and start:
        warnings.warn(
            f"no training structure has {kept}: energies with {kept} will be those of `start`"
            f" {start.given!r} with changed weights, which may be wrong",
            stacklevel=4,
        )
    if untrained:
        symbols = ", ".join(chemical_symbols[z] for z in untrained)
        warnings.warn(
            f"`species` of the recipe holds {symbols}, which no training structure has: the"
            f" calculator will refuse structures with {symbols}",
            stacklevel=4,
        )


def errors_on_old(trainer: Trainer, model: Any, total: Mapping[int, float]) -> dict[str, Any]:
    """Errors before and after on structures that should not be forgotten, {} without any.

    Parameters
    ----------
    trainer:
        Trainer after its last step.
    model:
        Model with the weights that are kept.
    total:
        Energies of the elements of the trained head, {Z: eV}.
    """
    old = trainer.replay
    start = trainer.start
    if old is None or start is None:
        return {}
    # the energies of another head are as they were
    shift = start.shift(total) if old.head == trainer.head else {}
    model.set_energy_head(old.head)
    name = trainer.recipe.symmetrise
    after = forgetting.errors_after(old, model, name, shift, trainer.ranks)
    model.set_energy_head(trainer.head)
    return {forgetting.BEFORE: old.before, forgetting.AFTER: after}


def origin(trainer: Trainer) -> dict[str, Any]:
    """Entry `start` of the provenance: from what the training started, and what it changed.

    Parameters
    ----------
    trainer:
        Trainer.
    """
    start = trainer.start
    if start is None:
        return {}
    entry = {
        "path": start.given,
        "name": start.info.name,
        "method": start.method,
        "changes": start.changes,
        "wrong_heads": start.wrong_heads,
    }
    return {"start": entry}
