"""Recipes: everything that makes a calculator, as a TOML file of settings."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ase.data import atomic_numbers
from pydantic import ValidationError

from .. import plugins, symmetrisers, toml_files
from ..choices import closest
from ..orientations import DRAWN
from . import fine_tuning, fine_tuning_checks
from .schema import (
    TABLES,
    Data,
    Files,
    FineTuning,
    Keys,
    Loss,
    Optimiser,
    Recipe,
    Units,
    expected,
    keys,
)
from .unit_conversion import Factors, factors

__all__ = [
    "Data",
    "FineTuning",
    "Keys",
    "Loss",
    "Optimiser",
    "Recipe",
    "Units",
    "factors_of",
    "model_settings",
    "read",
]

T = TypeVar("T")


def read(path: Path | str, folder: Path | None = None) -> Recipe:
    """Recipe of a TOML file.

    Parameters
    ----------
    path:
        Path of the file.
    folder:
        Folder to which paths in it are relative; None: that of the file.

    Raises
    ------
    ValueError
        A key is missing, unknown or has a bad value; names the file, the table and the key.
    """
    path = Path(path)
    content = _parsed(path)
    folder = folder or path.resolve().parent
    start = content.get("start", "given")
    if not isinstance(start, str) or not start:
        raise ValueError(
            f"`{path}`: `start` is {start!r}: expected the name or path of one calculator, or"
            " leave it out"
        )
    # what the recipe does not say is that of the calculator it starts from
    fine_tuning.complete(content, folder)
    schema = keys(Recipe)
    required = [key for key, field in schema.items() if field.is_required()]
    missing = [key for key in required if key not in content]
    if missing:
        raise ValueError(f"`{path}` lacks {', '.join(missing)}")

    # table by table, so that an error names the table of its key
    _refuse_unknown(content, schema, f"`{path}`")
    _move_keys(content, path)
    content["stated"] = frozenset(_stated(content))
    for name, kind in TABLES.items():
        table = content.get(name, {})
        content[name] = _validated(kind, table, f"`{path}`, [{name}]")
    content["folder"] = folder
    _check_energies(content.get("E0s", "fit"), content.get("start"), path)
    recipe = _validated(Recipe, content, f"`{path}`")

    _check_species(recipe, path)
    _check_data(recipe, path)
    if not (recipe.data.files or recipe.data.train):
        raise ValueError(f"`{path}`, [data]: give `files` with splits, or `train` and `val`")
    _check_symmetriser(recipe, path)
    _check_frame_variance(recipe, path)
    _check_axes(recipe, path)
    if not any((recipe.loss.energy, recipe.loss.forces, recipe.loss.stress, recipe.loss.dipole)):
        raise ValueError(f"`{path}`, [loss]: all weights are 0: there is nothing to train on")
    _check_dipole(recipe, path)
    fine_tuning_checks.check(recipe, path)
    return recipe


def model_settings(recipe: Recipe) -> Any:
    """Settings of the recipe's model, an instance of the `Settings` of its file.

    Parameters
    ----------
    recipe:
        Recipe, whose `settings.species` holds symbols or atomic numbers.

    Raises
    ------
    ValueError
        The model has no such setting, or refuses its value.
    """
    kind = plugins.load("ase_pet.models", recipe.model).Settings
    where = f"recipe `{recipe.name}`, [settings]"
    # recipes may name elements by symbol, models know atomic numbers
    settings = dict(recipe.settings)
    settings["species"] = [
        atomic_numbers[species] if isinstance(species, str) else species
        for species in settings["species"]
    ]
    _refuse_unknown(settings, [field.name for field in dataclasses.fields(kind)], where)
    try:
        return kind(**settings)
    # settings of a model that is a plug-in may raise anything for a bad value
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from None


def factors_of(units: Units, file: str = "") -> Factors:
    """Factors from the units of a file to those of ASE.

    Parameters
    ----------
    units:
        Units of all files, and of single ones.
    file:
        Name of the file.

    Raises
    ------
    ValueError
        A unit is not known.
    """
    names = [name for name in keys(Units) if name != "files"]
    common = {name: getattr(units, name) for name in names}
    own = units.files.get(file, {})
    # forces of a file with an energy or a length of its own follow from these
    if own.keys() & {"energy", "length"}:
        common.update(forces=None, stress=None, virial=None)
    _refuse_unknown(own, names, f"[units.files], `{file}`")
    return factors(**{**common, **own})


def _move_keys(content: dict[str, Any], path: Path) -> None:
    """Move `energy_key` and the like of [data], as other programs write them, to [keys]."""
    data = content.get("data")
    if not isinstance(data, dict):
        return
    for name in keys(Keys):
        given = data.pop(f"{name}_key", None)
        if given is None:
            continue
        table = content.setdefault("keys", {})
        if name in table:
            raise ValueError(f"`{path}`: `data.{name}_key` and `keys.{name}` are both given")
        table[name] = given


def _stated(content: Mapping[str, Any]) -> list[str]:
    """Names such as `loss.stress` of all keys in the tables of a recipe."""
    tables = {name: content.get(name) for name in TABLES}
    return [
        f"{name}.{key}"
        for name, table in tables.items()
        if isinstance(table, dict)
        for key in table
    ]


def _check_energies(value: object, start: object, path: Path) -> None:
    """Refuse energies of elements that are neither a way to find them nor a table of numbers."""
    good = value in ("fit", "isolated")
    if value == "start" and not start:
        raise ValueError(f"`{path}`: `E0s` is 'start', but the recipe has no `start`")
    good |= value == "start"
    if isinstance(value, dict):
        good = bool(value) and set(value) <= set(atomic_numbers)
        energies = list(value.values())
        numbers = [each for each in energies if type(each) in (int, float)]
        finite = [each for each in numbers if math.isfinite(each)]
        good &= len(finite) == len(energies)
    if not good:
        raise ValueError(
            f"`{path}`: `E0s` is {value!r}: expected 'fit', 'isolated', or a table of energies in"
            " eV by element, such as {Si = -100.0, O = -430.0}; 'start' keeps those of `start`"
        )


def _check_data(recipe: Recipe, path: Path) -> None:
    """Refuse units that are not known, and fractions that leave nothing to train on."""
    data = recipe.data
    old = recipe.fine_tuning
    known = {*data.files, *data.train, *data.val, *data.test, *old.replay, *old.old_data}
    for name in recipe.units.files:
        if name not in known:
            raise ValueError(
                f"`{path}`, [units.files]: `{name}` is not in [data], nor in"
                f" [fine_tuning]{closest(name, known)}"
            )
    # a bad unit is refused before the files are read
    for name in ("", *recipe.units.files):
        try:
            factors_of(recipe.units, name)
        except ValueError as error:
            raise ValueError(f"`{path}`: {error}") from None
    if data.val_fraction + data.test_fraction >= 1:
        raise ValueError(
            f"`{path}`, [data]: `val_fraction` {data.val_fraction} and `test_fraction`"
            f" {data.test_fraction} leave nothing to train on"
        )


def _parsed(path: Path) -> dict[str, Any]:
    """Content of a TOML file."""
    if path.is_dir():
        raise ValueError(f"`{path}` is a folder: expected a recipe")
    if not path.exists():
        raise ValueError(f"`{path}`: there is no such recipe")
    try:
        return toml_files.read(path)
    except ValueError as error:
        raise ValueError(f"`{path}` is not TOML: {error}") from None


def _refuse_unknown(values: Mapping[str, object], valid: Collection[str], where: str) -> None:
    """Raise ValueError that names the unknown keys of a table, each with the closest valid one."""
    unknown = [repr(key) + closest(key, valid) for key in values if key not in valid]
    if unknown:
        raise ValueError(
            f"{where}: unknown key {', '.join(unknown)}; valid keys are {', '.join(valid)}"
        )


def _validated(kind: type[T], values: object, where: str) -> T:
    """Instance of a table of the schema.

    Raises ValueError with one line on all bad values.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{where} is {values!r}: expected a table")
    schema = keys(kind)
    allowed = [*schema, "folder", "stated"] if kind is Recipe else schema
    _refuse_unknown(values, allowed, where)
    lists = [key for key, field in schema.items() if field.annotation == Files]
    for key in lists:
        if key in values:
            value = values[key]
            paths = tuple(value) if isinstance(value, list) else (value,)
            values = {**values, key: paths}
    try:
        return kind(**values)
    except ValidationError as error:
        # of a union or a list there may be several errors of one key
        bad = dict.fromkeys(str(problem["loc"][0]) for problem in error.errors())
        texts = [f"`{key}` is {values[key]!r}: {expected(schema[key])}" for key in bad]
        raise ValueError(f"{where}: {'; '.join(texts)}") from None


def _check_species(recipe: Recipe, path: Path) -> None:
    """Refuse a recipe without elements, or with one that does not exist."""
    if "species" not in recipe.settings:
        raise ValueError(
            f"`{path}`, [settings]: `species` is missing, for instance species = ['Si']"
        )
    listed = recipe.settings["species"]
    right = isinstance(listed, list) and all(type(each) in (str, int) for each in listed)
    if not right or not listed:
        raise ValueError(
            f"`{path}`, [settings]: `species` is {listed!r}: expected a list of symbols or atomic"
            " numbers, for instance ['Si']"
        )
    symbols = [species for species in listed if isinstance(species, str)]
    # X is ASE's place holder
    unknown = [symbol for symbol in symbols if not atomic_numbers.get(symbol)]
    if unknown:
        raise ValueError(
            f"`{path}`, [settings]: `species` holds {', '.join(unknown)}, which is no element"
        )


def _check_symmetriser(recipe: Recipe, path: Path) -> None:
    """Refuse a symmetriser that does not fit to the augmentation."""
    symmetrisers.check(recipe.symmetrise)
    kind = recipe.symmetrise.partition(":")[0]
    frames = recipe.augmentation == "frames"
    if frames and kind not in symmetrisers.DRAWN:
        raise ValueError(
            f"`{path}`: `augmentation` 'frames' trains a model that means nothing outside the"
            f" frames of ECSE, but `symmetrise` is {recipe.symmetrise!r}: expected"
            f" {' or '.join(map(repr, symmetrisers.DRAWN))}"
        )
    if recipe.draws > 1 and not frames:
        raise ValueError(
            f"`{path}`: `draws` is {recipe.draws}, which means nothing without `augmentation`"
            " 'frames'"
        )
    if kind == "ecse_layers" and not frames:
        raise ValueError(
            f"`{path}`: `symmetrise` 'ecse_layers' means nothing for models that were trained"
            " without it: expected `augmentation` 'frames'"
        )


def _check_frame_variance(recipe: Recipe, path: Path) -> None:
    """Refuse a weight of the variance over frames where atoms do not have several frames."""
    weight = recipe.loss.frame_variance
    kind = recipe.symmetrise.partition(":")[0]
    has_frames = recipe.augmentation == "frames" and kind == "ecse"
    if weight > 0 and not (has_frames and recipe.draws > 1):
        raise ValueError(
            f"`{path}`, [loss]: `frame_variance` is {weight}, but `symmetrise` is"
            f" {recipe.symmetrise!r}, `augmentation` {recipe.augmentation!r} and `draws`"
            f" {recipe.draws}: expected 'ecse', 'frames' and 2 or more, as it compares energies of"
            " several frames of an atom"
        )


def _check_axes(recipe: Recipe, path: Path) -> None:
    """Refuse a grid of a calculator that is none of those that its training draws."""
    settings = model_settings(recipe)
    drawn = "orientations_drawn" in recipe.settings and settings.orientations_drawn
    if drawn and settings.orientations not in DRAWN:
        raise ValueError(
            f"`{path}`, [settings]: `orientations` is {settings.orientations!r}: expected one of"
            f" the grids that `orientations_drawn` trains on, {', '.join(DRAWN)}"
        )


def _check_dipole(recipe: Recipe, path: Path) -> None:
    """Refuse a head that would never be trained, and a loss of a head that the model lacks."""
    weight = recipe.loss.dipole
    heads = model_settings(recipe).heads
    # a vector: other numbers of components have no meaning as a dipole
    components = heads.get("dipole", 0)
    if "dipole" in heads and components != 3:
        raise ValueError(
            f"`{path}`, [settings]: `heads.dipole` is {components}: expected 3 components"
        )
    if weight > 0 and not components:
        raise ValueError(
            f"`{path}`, [loss]: `dipole` is {weight}, but the model has no such head: "
            "heads = {energy = 1, dipole = 3} in [settings]"
        )
    # a head of the start may stay untrained, which is said
    if not weight > 0 and components and not recipe.start:
        raise ValueError(
            f"`{path}`, [loss]: `dipole` is {weight}: expected more than 0, as the model has a head"
            " for it"
        )
