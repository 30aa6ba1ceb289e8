"""A commented recipe that fits to data, to start from."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols

from .. import graph
from ..models import pet
from . import presets
from .data import Sample, sample
from .files import structures
from .label_names import KINDS, MEANINGS, read_as
from .label_notes import Notes
from .labels import check_found, held
from .recipe import Keys, Units, factors_of
from .recipe_files import SPLITS, paths

BATCH = 8  # structures in a batch, of usual sizes
FEWEST_ATOMS = 32  # in a batch
MOST_ATOMS = 512
EPOCHS = 200
FEWEST_UPDATES = 2000
MOST_UPDATES = 50_000
VALIDATIONS = 100
FEW = 50  # structures, below which none are taken for tests
TIMED = 64  # atoms of the batch that is timed
TEXT = """\
# Recipe for `ase-pet train`, written by `ase-pet init`. `ase-pet train --template` prints all keys
# and their meanings. {described}
name = {name}
model = "pet"
seed = 1
E0s = {energies}{energies_comment}

[settings]             # size `{preset}`, {parameters} parameters
species = {species}
cutoff = {cutoff}           # A; {neighbours}
{settings}

{costs}

[data]
files = {files}
{split}

{keys}{units}[loss]
energy = 0.01          # weights, in units of the RMS of the labels
forces = {forces}
stress = {stress}

[optimiser]
batch_atoms = {batch_atoms}       # on average: {batch_size:.2g} structures
updates = {updates}         # {epochs:.3g} epochs; more data and lower errors need more
learning_rate = 0.01
validate_every = {validate_every}     # epochs
patience = 30          # validations without a better one
# time_limit = 12.0    # hours; --resume goes on

[card]                 # text for the README of the potential
system = ""
level_of_theory = ""
"""


@dataclass(frozen=True)
class Contents:
    """Structures of files and what a recipe needs to know of them."""

    samples: list[Sample]
    names: dict[str, str]  # {key of [keys]: name}, empty if all are those of ASE
    split: bool  # whether all structures state theirs
    units: Units = field(default_factory=Units)


def contents(
    files: Sequence[str], keys: Keys | None = None, units: Units | None = None
) -> Contents:
    """Samples of files, with pairs up to the longest cutoff that is proposed.

    Parameters
    ----------
    files:
        Paths of files and folders.
    keys:
        Names of the labels; None for those that are known.
    units:
        Units of all files; None for those of ASE.

    Raises
    ------
    ValueError
        A structure or label is bad, or there are none.
    """
    given = keys or Keys()
    in_units = units or Units()
    factors = factors_of(in_units)
    present: set[str] = set()
    samples: list[Sample] = []
    names: dict[str, set[str]] = {}
    stated = []
    notes = Notes()
    for file in files:
        for path in paths(Path(), file):
            for index, atoms in enumerate(structures(path)):
                where = f"`{path}`, structure {index}"
                elements = sorted({int(z) for z in atoms.numbers})
                each = sample(atoms, elements, presets.LONGEST, where, False, given, notes, factors)
                samples.append(each)
                stated.append(atoms.info.get("split") in SPLITS)
                values = held(atoms)
                present |= values.keys()
                for key, name in _names(values).items():
                    names.setdefault(key, set()).add(name)
    if not samples:
        raise ValueError("the files hold no structures")
    check_found(given, present, "the files")
    notes.warn()
    # names that differ from structure to structure are found by training as well
    single = {key: next(iter(found)) for key, found in names.items() if len(found) == 1}
    return Contents(samples, _stated(single, given), all(stated), in_units)


def _stated(single: Mapping[str, str], given: Keys) -> dict[str, str]:
    """Names for [keys]: those of the user, and those of other labels; none if all are usual."""
    table = {}
    # an empty name is a choice, too
    for key, name in asdict(given).items():
        if name is not None:
            table[key] = name
    usual = all(name == key for key, name in single.items())
    if usual and not table:
        return {}
    # all of them: a table without one of the labels looks as if that were not used
    kinds = [MEANINGS[key][0] for key in table]
    for key, name in single.items():
        if MEANINGS[key][0] not in kinds:
            table[key] = name
    return table


def text(
    found: Contents, files: Sequence[str], folder: Path, preset: str | None = None
) -> tuple[str, dict[str, dict[str, float]]]:
    """Recipe in TOML, and the cost of each preset in ms per atom and hours.

    Parameters
    ----------
    found:
        Contents of the files.
    files:
        Their paths.
    folder:
        Folder of the recipe, to which paths in it are relative.
    preset:
        Size of the model; None for the one that fits to the number of structures.
    """
    samples = found.samples
    chosen = preset or presets.proposed(len(samples))
    radius = presets.cutoff(samples)
    all_numbers = [each.structure.numbers for each in samples]
    numbers = np.unique(np.concatenate(all_numbers))
    plan = _plan(samples)
    # measured, as no table knows the machine of the user
    costs = _costs(samples, numbers.tolist(), radius, plan)
    settings = "\n".join(f"{key} = {value}" for key, value in presets.PRESETS[chosen].items())
    has = {
        "forces": any(np.isfinite(each.forces).any() for each in samples),
        "stress": any(np.isfinite(each.virial).any() for each in samples),
    }
    alone = {int(each.structure.numbers[0]) for each in samples if _is_alone(each)}
    isolated = alone == set(numbers.tolist())
    names = [chemical_symbols[z] for z in numbers]
    written = TEXT.format(
        described=f"{len(samples)} structures of {' '.join(names)}.",
        name=json.dumps(_name(files[0])),
        energies='"isolated"' if isolated else '"fit"',
        energies_comment=_energies_comment(isolated),
        preset=chosen,
        parameters=int(costs[chosen]["parameters"]),
        species=json.dumps(names),
        cutoff=radius,
        neighbours=f"{_neighbours(samples, radius):.3g} neighbours on average",
        settings=settings,
        costs=_costs_comment(costs),
        files=json.dumps([_relative(file, folder) for file in files]),
        split=_split(found),
        keys=_keys(found.names),
        units=_units(found.units),
        forces=1.0 if has["forces"] else "0.0  # no labels",
        stress=0.1 if has["stress"] else "0.0  # no labels",
        **plan,
    )
    return written, costs


def _plan(samples: Sequence[Sample]) -> dict[str, float]:
    """Sizes of batches, and numbers of updates and epochs."""
    atoms = sum(len(each.structure) for each in samples)
    per_structure = atoms / len(samples)
    batch_atoms = round(min(max(BATCH * per_structure, FEWEST_ATOMS), MOST_ATOMS))
    batch_size = min(max(1.0, batch_atoms / per_structure), len(samples))
    # the number of updates decides the quality, whatever the number of structures
    per_epoch = max(1.0, len(samples) / batch_size)
    updates = round(min(max(EPOCHS * per_epoch, FEWEST_UPDATES), MOST_UPDATES))
    epochs = updates / per_epoch
    return {
        "batch_atoms": batch_atoms,
        "batch_size": batch_size,
        "updates": updates,
        "epochs": epochs,
        "validate_every": max(1, round(epochs / VALIDATIONS)),
    }


def _costs(
    samples: Sequence[Sample], species: Sequence[int], radius: float, plan: Mapping[str, float]
) -> dict[str, dict[str, float]]:
    """{preset: {"parameters", "ms per atom", "hours"}}, measured with some of the samples."""
    timed = [_within(samples[0], radius)]
    # any of them, as sizes often follow the order of a file
    order = np.random.default_rng(0).permutation(len(samples))
    for index in order:
        if sum(len(each.structure) for each in timed) > TIMED:
            break
        timed.append(_within(samples[index], radius))
    atoms = sum(len(each.structure) for each in samples)
    validations = plan["epochs"] / plan["validate_every"]
    table = {}
    for name, sizes in presets.PRESETS.items():
        settings = pet.Settings(species=tuple(species), cutoff=radius, **sizes)
        cost = presets.measured(settings, timed)
        table[name] = {
            "parameters": cost.parameters,
            "ms per atom": cost.evaluation,
            "hours": cost.hours(plan["updates"] * plan["batch_atoms"], validations * atoms),
        }
    return table


def _within(each: Sample, radius: float) -> Sample:
    """A sample with the pairs within a cutoff."""
    return replace(each, pairs=graph.half_list(each.structure, radius))


def _names(values: Mapping[str, object]) -> dict[str, str]:
    """{key of [keys]: name} of the labels of a structure."""
    names = {}
    for kind in KINDS[:-1]:
        for name, (key, _) in read_as(kind, values).items():
            names[key] = name
            break
    return names


def _is_alone(each: Sample) -> bool:
    """Whether a sample is an atom without neighbours."""
    return len(each.structure) == 1 and not len(each.pairs.centres)


def _neighbours(samples: Sequence[Sample], radius: float) -> float:
    """Mean number of neighbours of an atom within a cutoff."""
    atoms = sum(len(each.structure) for each in samples)
    pairs = sum(int((each.pairs.distances() < radius).sum()) for each in samples)
    return 2 * pairs / atoms


def _energies_comment(isolated: bool) -> str:
    """What is said of the energies of the elements."""
    if isolated:
        return "       # eV, of the structures with one atom"
    return '            # or a table in eV, such as {Si = -100.0}, or "isolated"'


def _costs_comment(costs: Mapping[str, Mapping[str, float]]) -> str:
    """Table of the presets as a comment."""
    lines = [
        "# Sizes, measured on the CPUs of this machine with these data:",
        "#   size    parameters  ms/atom (energy, forces)  hours of this training",
    ]
    for name, cost in costs.items():
        numbers = f"{cost['ms per atom']:10.3f}  {cost['hours']:22.2g}"
        lines.append(f"#   {name:6}  {int(cost['parameters']):10}  {numbers}")
    for name, sizes in presets.PRESETS.items():
        values = ", ".join(f"{key} = {value}" for key, value in sizes.items())
        lines.append(f"# {name}: {values}")
    return "\n".join(lines)


def _split(found: Contents) -> str:
    """Lines on the splits."""
    if found.split:
        return "# each structure states its split: train, val or test"
    fractions = (0.1, 0.1) if len(found.samples) >= FEW else (0.2, 0.0)
    return (
        f"val_fraction = {fractions[0]}     # choose the weights\n"
        f"test_fraction = {fractions[1]}    # reported at the end\n"
        'split_by = "auto"      # or random, blocks, composition, file'
    )


def _keys(names: Mapping[str, str]) -> str:
    """Table of names of labels, empty if all are those of ASE."""
    if not names:
        return ""
    lines = [f"{key} = {json.dumps(name)}" for key, name in names.items()]
    return "\n".join(["[keys]                 # names of the labels", *lines, "", ""])


def _units(units: Units) -> str:
    """Table of units, empty if they are those of ASE."""
    usual = asdict(Units())
    given = {key: unit for key, unit in asdict(units).items() if unit != usual[key]}
    if not given:
        return ""
    lines = [f"{key} = {json.dumps(unit)}" for key, unit in given.items()]
    return "\n".join(["[units]", *lines, "", ""])


def _name(file: str) -> str:
    """Name of a calculator for a file."""
    stem = Path(file).name.split(".")[0]
    return re.sub(r"[^\w-]+", "-", stem) or "potential"


def _relative(file: str, folder: Path) -> str:
    """Path of a file relative to the folder of the recipe."""
    return Path(os.path.relpath(file, folder)).as_posix()
