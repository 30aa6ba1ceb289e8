"""What a fine-tuned model has forgotten: errors on old structures, before and after."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from .. import symmetrisers
from ..models.base import AtomisticModel
from .distributed import ALONE, Ranks
from .prediction import compare, refit_composition

if TYPE_CHECKING:
    from .fine_tuning import Start
    from .replay import Replay

BEFORE = "old, before"  # rows of the table of errors
AFTER = "old, after"
ALIGNED = "energy, elements fitted"  # error that does not depend on the zero of energy

# in lines; stresses are in the table
SHOWN = {"energy": "meV/atom", ALIGNED: "meV/atom", "forces": "meV/A"}

NO_ERROR = 1e-9  # eV per atom
MOVED = 3.0  # ratio of errors with and without a zero of energy

Errors = dict[str, Any]  # {kind: {"rmse", "mae", "rms"}}, and the number of structures


def errors_before(
    replay: Replay,
    start: Start,
    dtype: torch.dtype,
    device: torch.device,
    ranks: Ranks = ALONE,
) -> Errors:
    """Errors of the start on old structures, {kind: {"rmse", "mae", "rms"}}.

    Parameters
    ----------
    replay:
        Old structures.
    start:
        Calculator that the training starts from.
    dtype:
        Precision of the evaluation.
    device:
        Device of the evaluation.
    ranks:
        Processes that share the work.
    """
    model = copy.deepcopy(start.before).to(device, dtype)
    return _errors(model, start.info.symmetrise, replay, {}, (dtype, device), ranks)


def errors_after(
    replay: Replay,
    model: AtomisticModel,
    symmetriser: str,
    shift: Mapping[int, float],
    ranks: Ranks = ALONE,
) -> Errors:
    """Errors of the trained model on old structures, {kind: {"rmse", "mae", "rms"}}.

    Parameters
    ----------
    replay:
        Old structures.
    model:
        Trained model without symmetriser, at the head of the old structures.
    symmetriser:
        Its symmetriser, as a recipe names it.
    shift:
        Energies of the elements of this head minus those of the start, {Z: eV}.
    ranks:
        Processes that share the work.
    """
    weight = next(model.parameters())
    place = (weight.dtype, weight.device)
    return _errors(model, symmetriser, replay, shift, place, ranks)


def line(before: Errors, after: Errors) -> str:
    """Errors before and after in one line; energies without their zero, which may be another one.

    Parameters
    ----------
    before, after:
        Errors of the start and of the trained model on old structures.
    """
    # a fit of the energies of the elements to very few structures leaves no error
    aligned = after[ALIGNED]["rmse"]
    hidden = ALIGNED if aligned < NO_ERROR else "energy"
    texts = []
    for kind in SHOWN:
        if kind in before and kind in after and kind != hidden:
            texts.append(_text(kind, before[kind], after[kind]))
    # the whole error of the energy has the new zero of energy as well
    whole = after["energy"]["rmse"]
    if hidden == "energy" and whole > MOVED * aligned:
        size = f"{1e3 * whole:.3g} meV/atom"
        texts.append(f"{size} with the new zero of energy, which is no forgetting")
    shown = "; ".join(texts)
    return f"RMSE on {before['structures']} old structures: {shown}"


def _text(kind: str, before: Mapping[str, float], after: Mapping[str, float]) -> str:
    """Errors of a kind before and after."""
    first = 1e3 * before["rmse"]
    last = 1e3 * after["rmse"]
    return f"{kind} {first:.2g} before, {last:.3g} {SHOWN[kind]} after"


def _errors(
    model: AtomisticModel,
    symmetriser: str,
    replay: Replay,
    shift: Mapping[int, float],
    place: tuple[torch.dtype, torch.device],
    ranks: Ranks,
) -> Errors:
    """Errors with energies of the elements shifted, and with fitted ones."""
    # the tables of a symmetrised model are those of the inner one
    samples = replay.val
    symmetrised = symmetrisers.symmetrise(model, symmetrisers.of_file(symmetriser))
    held_before = model.compositions
    model.compositions = {replay.head: dict(shift)}
    errors, _ = compare(symmetrised, samples, *place, ranks)
    model.compositions = {}
    fitted = refit_composition(symmetrised, samples, model.species, *place, ranks)
    model.compositions = {replay.head: fitted}
    aligned, _ = compare(symmetrised, samples, *place, ranks)
    model.compositions = held_before
    return {"structures": len(samples), **errors, ALIGNED: aligned["energy"]}
