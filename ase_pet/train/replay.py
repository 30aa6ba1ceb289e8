"""Old structures that a fine-tuned model must not forget, and what it has forgotten of them.

Energies of old structures are relative to the energies of the elements of the start, those of new
structures to the ones that the recipe fits: data with another zero of energy fit together.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import ase
import numpy as np
import torch

from .. import graph, symmetrisers
from ..evaluation import Evaluation
from ..models.base import AtomisticModel
from . import data, generated, recipe_files
from .data import Sample, collate
from .file_streams import stream
from .label_notes import Notes
from .labels import held
from .prediction import chunks
from .recipe import Keys, Recipe, factors_of
from .schema import keys

if TYPE_CHECKING:
    from .fine_tuning import Start

HELD_OUT = 10  # one of so many old structures is not trained on
LARGEST_FORCE = 20.0  # eV/A, of a structure that is made: the start has seen no such environment
TRIES = 20  # for each structure that is made


@dataclass
class Replay:
    """Old structures.

    Attributes
    ----------
    train:
        Those that are trained on.
    val:
        Those on which errors before and after are compared.
    share:
        Share of old structures in an epoch.
    head:
        Energy head of their labels.
    lines:
        Lines on what they are.
    before:
        Errors of the start.
    """

    train: list[Sample]
    val: list[Sample]
    share: float
    head: str
    lines: list[str] = field(default_factory=list)
    before: dict[str, Any] = field(default_factory=dict)

    def per_epoch(self, n_new: int) -> int:
        """Number of old structures in an epoch.

        Parameters
        ----------
        n_new:
            Number of new ones.
        """
        if not self.train:
            return 0
        return max(1, round(n_new * self.share / (1 - self.share)))

    def mixed(self, order: Sequence[int], generator: torch.Generator) -> list[int]:
        """Indices of an epoch, those of old structures after those of n new ones, in random order.

        All old structures are drawn before one is drawn again.

        Parameters
        ----------
        order:
            Indices of the n new structures.
        generator:
            Generator of the draws.
        """
        n_new = len(order)
        drawn = self._drawn(self.per_epoch(n_new), generator)
        if not drawn:
            return list(order)
        old = [n_new + index for index in drawn]
        every = [*order, *old]
        places = torch.randperm(len(every), generator=generator).tolist()
        return [every[place] for place in places]

    def _drawn(self, wanted: int, generator: torch.Generator) -> list[int]:
        """Indices of old structures; a share above a half may need each of them several times."""
        drawn: list[int] = []
        while len(drawn) < wanted:
            drawn += torch.randperm(len(self.train), generator=generator).tolist()
        return drawn[:wanted]

    def score(self, new: float, old: float) -> float:
        """Score of a validation, the smaller the better: old data count by their share.

        Parameters
        ----------
        new, old:
            Scores on new and on old structures.
        """
        return (1 - self.share) * new + self.share * old if self.train else new


def read(
    recipe: Recipe, start: Start, model: AtomisticModel, training: Sequence[Sample]
) -> Replay | None:
    """Old structures of a recipe; None without any.

    Parameters
    ----------
    recipe:
        Recipe.
    start:
        Calculator that the training starts from.
    model:
        Model of the recipe, for its cutoff.
    training:
        New structures, from which some are made.

    Raises
    ------
    ValueError
        A file is missing or bad, or a structure lacks its label.
    """
    options = recipe.fine_tuning
    if not (options.replay or options.old_data or options.replay_generated):
        return None
    notes = Notes()
    given, held_out = _given(recipe, start, notes)
    others = list(_samples(recipe, options.old_data, start, False, notes))
    notes.warn()
    network = _labelling(start)
    made = _made(recipe, start, network, training)
    lines = _lines(recipe, len(given), len(made))
    train = [*given, *made]
    # errors are those of structures that are not trained on
    if others:
        held_out = [sample for _, sample in others]
    if not held_out:
        train, held_out = _divided(train, recipe.seed)
        lines.append(f"{len(held_out)} of them are not trained on")
    train = _labelled(train, start, network, model.cutoff)
    val = _labelled(held_out, start, network, model.cutoff)
    share = options.replay_share if train else 0.0
    return Replay(train, val, share, start.before.energy_head, lines)


def _given(recipe: Recipe, start: Start, notes: Notes) -> tuple[list[Sample], list[Sample]]:
    """Structures of the files of `replay` that are trained on, and those whose split is val."""
    options = recipe.fine_tuning
    is_bare = options.replay_labels == "start"
    by_split: dict[str, list[Sample]] = {}
    for split, sample in _samples(recipe, options.replay, start, is_bare, notes):
        by_split.setdefault(split, []).append(sample)
    given = by_split.get("", []) + by_split.get("train", [])
    if options.replay and not given:
        raise ValueError(
            "[fine_tuning]: all structures of `replay` state the split val or test: expected some"
            " to train on, or the files as `old_data`"
        )
    return given, by_split.get("val", [])


def _lines(recipe: Recipe, n_given: int, n_made: int) -> list[str]:
    """Lines on old structures."""
    options = recipe.fine_tuning
    lines = []
    if n_given:
        source = "of the start" if options.replay_labels == "start" else "of the files"
        lines.append(f"{n_given} of {', '.join(options.replay)} with labels {source}")
    if n_made:
        lines.append(f"{n_made} made from the new ones, with labels of the start")
    if n_given or n_made:
        lines.append(f"{100 * options.replay_share:.3g} % of the structures of an epoch")
    if options.old_data:
        lines.append(f"errors before and after are those of {', '.join(options.old_data)}")
    return lines


def _samples(
    recipe: Recipe, names: Sequence[str], start: Start, bare: bool, notes: Notes
) -> Iterator[tuple[str, Sample]]:
    """(stated split, sample) of files, with pairs within the cutoff of the start.

    Without labels if `bare`, else with energies relative to those of the elements of the start.
    """
    network = start.before
    zero = network.composition
    for name in names:
        factors = factors_of(recipe.units, name)
        try:
            paths = recipe_files.paths(recipe.folder, name)
        except ValueError as error:
            raise ValueError(f"recipe `{recipe.name}`, [fine_tuning]: {error}") from None
        for path in paths:
            for index, atoms in enumerate(stream(path)):
                where = f"`{name}`, structure {index}"
                stated = atoms.info.get(recipe.data.split_key, "")
                split = stated if stated in recipe_files.SPLITS else ""
                # labels that are not used must not be refused
                given = _bare(atoms) if bare else atoms
                known = _keys(recipe.keys, atoms)
                try:
                    sample = data.sample(
                        given,
                        network.species,
                        network.cutoff,
                        where,
                        keys=known,
                        notes=notes,
                        factors=factors,
                        energy=not bare,
                    )
                except ValueError as error:
                    is_of_labels = not bare and "unsupported element" not in str(error)
                    hint = '; `replay_labels = "start"` needs no labels' if is_of_labels else ""
                    raise ValueError(f"[fine_tuning], {error}{hint}") from None
                sample.energy -= sum(zero.get(z, 0.0) for z in sample.structure.numbers.tolist())
                yield split, sample


def _bare(atoms: ase.Atoms) -> ase.Atoms:
    """A structure without labels."""
    kept = {key: atoms.info[key] for key in ("charge", "spin") if key in atoms.info}
    return ase.Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, info=kept)


def _keys(stated: Keys, atoms: ase.Atoms) -> Keys:
    """Names of the labels of the recipe that a structure has; others are found as usual."""
    names = held(atoms)
    missing = {name: None for name in keys(Keys) if getattr(stated, name) not in (*names, "")}
    return replace(stated, **missing)


def _divided(samples: Sequence[Sample], seed: int) -> tuple[list[Sample], list[Sample]]:
    """Samples to train on, and every tenth to compare errors on."""
    if len(samples) < 2:
        raise ValueError(
            "[fine_tuning]: one old structure is not enough to train on and to compare errors on:"
            " give more, or `old_data`"
        )
    # at random, as files are often in some order
    order = np.random.default_rng(seed).permutation(len(samples)).tolist()
    count = max(1, len(samples) // HELD_OUT)
    chosen = set(order[:count])
    rest = [sample for index, sample in enumerate(samples) if index not in chosen]
    return rest, [samples[index] for index in sorted(chosen)]


def _made(
    recipe: Recipe, start: Start, network: AtomisticModel, training: Sequence[Sample]
) -> list[Sample]:
    """Structures that are made, with labels of the start."""
    wanted = recipe.fine_tuning.replay_generated
    if not wanted:
        return []
    untrained = start.info.untrained_species
    species = [z for z in start.before.species if z not in untrained]
    generator = np.random.default_rng(recipe.seed)
    found: list[Sample] = []
    drawn = generated.structures(training, species, generator)
    for atoms in itertools.islice(drawn, TRIES * wanted):
        if len(found) == wanted:
            break
        where = f"made structure {len(found)}"
        try:
            sample = data.sample(
                atoms, species, start.before.cutoff, where, notes=Notes(), energy=False
            )
        except ValueError:  # atoms on top of each other
            continue
        if generated.is_close(sample):
            continue
        (labelled,) = _predicted(network, [sample])
        if np.abs(labelled.forces).max() < LARGEST_FORCE:
            found.append(labelled)
    if len(found) < wanted:
        raise ValueError(
            f"`fine_tuning.replay_generated` is {wanted}, but only {len(found)} of"
            f" {TRIES * wanted} structures have atoms apart and forces below {LARGEST_FORCE} eV/A:"
            " give fewer, or files as `replay`"
        )
    return found


def _labelling(start: Start) -> AtomisticModel:
    """Model of the start as it is used, in float64: its rounding is no error of the new model."""
    plain = copy.deepcopy(start.before).double().requires_grad_(False)
    name = symmetrisers.of_file(start.info.symmetrise)
    return symmetrisers.symmetrise(plain, name)


def _labelled(
    samples: Sequence[Sample], start: Start, network: AtomisticModel, cutoff: float
) -> list[Sample]:
    """Samples with pairs within a cutoff, and with labels of the start where they have none."""
    result = []
    for chunk in chunks(samples, "cpu") if samples else ():
        bare = [sample for sample in chunk if math.isnan(sample.energy)]
        labelled = iter(_predicted(network, bare))
        for sample in chunk:
            whole = next(labelled) if math.isnan(sample.energy) else sample
            result.append(_within(whole, start.before.cutoff, cutoff))
    return result


def _predicted(model: AtomisticModel, samples: Sequence[Sample]) -> list[Sample]:
    """Samples with the energies, forces and virials that a model gives."""
    if not samples:
        return []
    batch = collate(samples, torch.float64, "cpu")
    results = Evaluation(model, batch.graph)
    forces = results.forces.detach()
    energies = results.interaction.detach().tolist()
    ends = batch.n_atoms.long().cumsum(0).tolist()
    of_structures = np.split(forces.double().numpy(), ends[:-1])  # (n, 3) of each
    labelled = []
    for index, sample in enumerate(samples):
        virial = results.virial[index].detach().double().numpy()
        is_crystal = bool(sample.structure.pbc.all()) and sample.structure.volume > 0
        labelled.append(
            replace(
                sample,
                energy=energies[index],
                forces=of_structures[index],
                virial=virial if is_crystal else np.full((3, 3), np.nan),
            )
        )
    return labelled


def _within(sample: Sample, before: float, cutoff: float) -> Sample:
    """A sample with the pairs within another cutoff."""
    if cutoff == before:
        return sample
    return replace(sample, pairs=graph.half_list(sample.structure, cutoff))
