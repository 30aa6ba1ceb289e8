"""Recipes: everything that makes a calculator, as a TOML file of settings."""

import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path

from ase.data import atomic_numbers

from .. import plugins, symmetrisers

METHODS = ("muon", "adam")
AUGMENTATIONS = ("rotations", "frames")


@dataclass(frozen=True)
class Data:
    """Where the structures are; paths are relative to the recipe.

    files: structures that carry their split ("train", "val", "test") in `atoms.info[split_key]`; or
    train, val, test: files of one split each. limit: use only that many training structures, drawn
    with the seed (learning curves).
    """

    files: tuple = ()
    train: tuple = ()
    val: tuple = ()
    test: tuple = ()
    split_key: str = "split"
    limit: int | None = None


@dataclass(frozen=True)
class Loss:
    """Weights of the errors of energy per atom, force components and virial per atom, each in units
    of its spread.

    An energy is one label for each structure and varies with all of its atoms: with a weight of 1 a
    new model learns to give no energy at all, and stays there for thousands of steps; with 0.01 its
    energies become better as well.

    dipole: that of the components of the dipole, for models with a head `dipole`. huber: errors
    beyond this many spreads count linearly.
    """

    energy: float = 0.01
    forces: float = 1.0
    stress: float = 0.1
    dipole: float = 0.0
    huber: float = 0.1


@dataclass(frozen=True)
class Optimiser:
    """Linear warm-up, then half a cosine down to final_rate times the peak.

    method: "muon" orthogonalises the updates of the matrices inside the network and leaves the rest
    to Adam; "adam" is Adam with decoupled weight decay for all. learning_rate is that of each
    method: 0.01 suits muon, 0.001 adam.
    """

    method: str = "muon"
    epochs: int = 100
    batch_size: int = 8
    learning_rate: float = 1e-2
    warmup_epochs: float = 2
    final_rate: float = 0.01
    weight_decay: float = 1e-3
    gradient_clip: float = 1.0
    ema: float = 0.999
    validate_every: int = 1  # epochs


@dataclass(frozen=True)
class Recipe:
    """A whole recipe; `card` holds free text for the calculator's card (system, level_of_theory,
    limits, licence).

    start: calculator folder (relative to the recipe) or shipped calculator whose weights the
    training starts from.
    augmentation: "rotations" turns each structure at random; "frames" turns each environment into
    `draws` of its frames, drawn by weight, and trains a model for ECSE alone.
    """

    name: str
    model: str
    settings: dict
    data: Data
    loss: Loss = field(default_factory=Loss)
    optimiser: Optimiser = field(default_factory=Optimiser)
    card: dict = field(default_factory=dict)
    dtype: str = "float32"
    device: str = "auto"
    seed: int = 0
    symmetrise: str = "none"
    augmentation: str = "rotations"
    draws: int = 1
    start: str | None = None
    folder: Path = Path(".")


def read(path):
    """Recipe of a TOML file.

    Raises ValueError that names the file and the key that does not fit.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"`{path}`: there is no such recipe") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"`{path}` is not TOML: {error}") from None
    missing = [key for key in ("name", "model", "settings", "data") if key not in content]
    if missing:
        raise ValueError(f"`{path}` lacks {', '.join(missing)}")
    for key, kind in (("data", Data), ("loss", Loss), ("optimiser", Optimiser)):
        content[key] = _fill(kind, content.get(key, {}), f"`{path}`, [{key}]")
    recipe = _fill(Recipe, {**content, "folder": path.resolve().parent}, f"`{path}`")
    _check(recipe, path)
    return recipe


def model_settings(recipe):
    """Settings of the recipe's model, elements given as symbols or atomic numbers."""
    settings = dict(recipe.settings)
    settings["species"] = [
        atomic_numbers[s] if isinstance(s, str) else s for s in settings["species"]
    ]
    return _fill(
        plugins.load("ase_pet.models", recipe.model).Settings,
        settings,
        f"recipe `{recipe.name}`, [settings]",
    )


def _fill(kind, values, where):
    known = [f.name for f in fields(kind)]
    unknown = [key for key in values if key not in known]
    if unknown:
        raise ValueError(
            f"{where}: unknown key {', '.join(map(repr, unknown))}; valid keys are"
            f" {', '.join(known)}"
        )
    lists = {f.name for f in fields(kind) if f.type is tuple}
    values = {
        key: tuple([value] if isinstance(value, str) else value) if key in lists else value
        for key, value in values.items()
    }
    try:
        return kind(**values)
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from None


def _check(recipe, path):
    if "species" not in recipe.settings:
        raise ValueError(
            f"`{path}`, [settings]: `species` is missing, for instance species = ['Si']"
        )
    bad = [s for s in recipe.settings["species"] if isinstance(s, str) and s not in atomic_numbers]
    if bad:
        raise ValueError(
            f"`{path}`, [settings]: `species` holds {', '.join(bad)}, which is no element"
        )
    if not (recipe.data.files or recipe.data.train):
        raise ValueError(f"`{path}`, [data]: give `files` with splits, or `train` and `val`")
    optimiser = recipe.optimiser
    for name in ("epochs", "batch_size", "learning_rate", "validate_every"):
        if not getattr(optimiser, name) > 0:
            raise ValueError(
                f"`{path}`, [optimiser]: `{name}` is {getattr(optimiser, name)}: expected more"
                " than 0"
            )
    if optimiser.method not in METHODS:
        raise ValueError(
            f"`{path}`, [optimiser]: `method` is {optimiser.method!r}: valid choices are "
            f"{', '.join(METHODS)}"
        )
    _check_augmentation(recipe, path)
    _check_dipole(recipe, getattr(model_settings(recipe), "heads", {}), path)


def _check_augmentation(recipe, path):
    if recipe.augmentation not in AUGMENTATIONS:
        raise ValueError(
            f"`{path}`: `augmentation` is {recipe.augmentation!r}: valid choices are "
            f"{', '.join(AUGMENTATIONS)}"
        )
    kind, framed = recipe.symmetrise.partition(":")[0], recipe.augmentation == "frames"
    if framed and kind not in symmetrisers.DRAWN:
        raise ValueError(
            f"`{path}`: `augmentation` 'frames' trains a model that means nothing outside the"
            f" frames of ECSE, but `symmetrise` is {recipe.symmetrise!r}: expected"
            f" {' or '.join(map(repr, symmetrisers.DRAWN))}"
        )
    if not (isinstance(recipe.draws, int) and recipe.draws > 0):
        raise ValueError(f"`{path}`: `draws` is {recipe.draws!r}: expected a whole number above 0")
    if kind == "ecse_layers" and not framed:
        raise ValueError(
            f"`{path}`: `symmetrise` 'ecse_layers' means nothing for models that were trained"
            " without it: expected `augmentation` 'frames'"
        )


def _check_dipole(recipe, heads, path):
    """Refuse a head that would never be trained, and a loss of what the model does not give."""
    weight, components = recipe.loss.dipole, heads.get("dipole", 0)
    if "dipole" in heads and components != 3:
        raise ValueError(
            f"`{path}`, [settings]: `heads.dipole` is {components}: expected 3 components"
        )
    if weight > 0 and not components:
        raise ValueError(
            f"`{path}`, [loss]: `dipole` is {weight}, but the model has no such head: "
            "heads = {energy = 1, dipole = 3} in [settings]"
        )
    if not weight > 0 and components:
        raise ValueError(
            f"`{path}`, [loss]: `dipole` is {weight}: expected more than 0, as the model has a head"
            " for it"
        )
