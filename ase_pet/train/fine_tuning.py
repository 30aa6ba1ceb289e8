"""What a training keeps of the calculator that it starts from, and what it changes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from ase.data import atomic_numbers, chemical_symbols

from .. import arguments, store
from ..calculator_info import CalculatorInfo, content_of
from ..models.base import AtomisticModel
from ..symmetrisers import of_file
from . import growth
from .fine_tuning_checks import is_replayed_beside, trained_heads
from .trained_weights import TrainedWeights

if TYPE_CHECKING:
    from .recipe import Recipe

# keys of a recipe that are those of the start unless it states them
TAKEN = ("model", "dtype", "symmetrise", "augmentation")
SHOWN = 8  # elements in a line, of those that no structure has


@dataclass
class Start:
    """Calculator that a training starts from.

    Attributes
    ----------
    given:
        Its name or path, as the recipe has it.
    before:
        Model as it is read, at the head that is trained or copied.
    model:
        The same with the heads and elements that the recipe adds.
    info:
        What its file says about it.
    sources:
        {Z of an element that is added: Z of the one with whose weights it begins}.
    method:
        Which weights are trained, in words.
    changes:
        Lines on what differs from it, apart from the weights.
    wrong_heads:
        Heads that are not trained, above weights that are.
    """

    given: str
    before: AtomisticModel
    model: AtomisticModel
    info: CalculatorInfo
    sources: dict[int, int] = field(default_factory=dict)
    method: str = ""
    changes: list[str] = field(default_factory=list)
    wrong_heads: list[str] = field(default_factory=list)

    @property
    def energies(self) -> dict[int, float]:
        """Composition energies of the head that is trained, {Z: eV}."""
        return self.model.composition

    def shift(self, total: Mapping[int, float]) -> dict[int, float]:
        """Energies of the elements minus those of the start, {Z: eV}.

        Parameters
        ----------
        total:
            Composition energies of the trained head.
        """
        return {z: energy - self.energies.get(z, 0.0) for z, energy in total.items()}

    def compositions(self, total: Mapping[int, float]) -> dict[str, dict[int, float]]:
        """Composition energies of all heads, {head: {Z: eV}}, those of new elements as trained.

        Parameters
        ----------
        total:
            Composition energies of the trained head.
        """
        new = {z: total[z] for z in self.sources}
        return {head: {**table, **new} for head, table in self.model.compositions.items()}

    def trained(
        self, recipe: Recipe, model: AtomisticModel, average: AtomisticModel
    ) -> TrainedWeights:
        """Weights that the recipe trains.

        Parameters
        ----------
        recipe:
            Recipe.
        model:
            Model with the weights of the start.
        average:
            Copy of it for the averaged weights.
        """
        rows = [model.species.index(z) for z in self.sources]
        heads = trained_heads(model, recipe)
        return TrainedWeights(model, average, recipe.fine_tuning, heads, rows, recipe.seed)

    def copy_to(self, model: Any, recipe: Recipe) -> None:
        """Copy weights, scales, radii of the repulsion and composition energies of all heads.

        Parameters
        ----------
        model:
            Model of the recipe.
        recipe:
            Recipe, for the message.

        Raises
        ------
        ValueError
            The model has other weights, or weights of other elements.
        """
        different = self._obstacles(model)
        if different:
            raise ValueError(
                f"recipe `{recipe.name}`: `start` {self.given!r} has another model, other species"
                f" or other sizes ({'; '.join(different)}): leave these keys out, which keeps those"
                " of the start, add elements by `fine_tuning.new_species` and energy heads by"
                " `fine_tuning.new_head`, or train without `start`"
            )
        # without last-layer uncertainties, which are of the weights before
        state = self.model.state_dict()
        # weights in float64 would be rounded by those of a new model
        model.to(next(self.model.parameters()).dtype)
        model.load_state_dict({name: state[name] for name in model.state_dict()})
        model.scales = dict(self.model.scales)
        model.compositions = dict(self.model.compositions)
        if self.model.energy_head != model.energy_head:
            model.set_energy_head(self.model.energy_head)
        # those of a published model are its own
        if model.covalent_radii and self.model.covalent_radii:
            model.covalent_radii = dict(self.model.covalent_radii)

    def _obstacles(self, model: Any) -> list[str]:
        """Differences that make it impossible to copy the weights."""
        if type(self.model) is not type(model):
            return [f"`model`: {_kind(self.model)} and {_kind(model)}"]
        if self.model.species != model.species:
            return [f"`species`: {symbols(self.model.species)} and {symbols(model.species)}"]
        # of the start, more may be there: uncertainties
        now = _shapes(model)
        before = _shapes(self.model)
        if {name: before.get(name) for name in now} == now:
            return []
        return _changed_settings(self.model, model) or ["shapes of the weights"]

    def differences(self, model: Any, recipe: Recipe) -> list[str]:
        """Lines on what the recipe makes different from the start, apart from the weights.

        Parameters
        ----------
        model:
            Model of the recipe.
        recipe:
            Recipe.
        """
        lines = [f"settings: {text}" for text in _changed_settings(self.model, model)]
        lines += self._of_species()
        if asdict(self.before.settings).get("uncertainties"):
            lines.append("uncertainties: left out, as they are of the weights before")
        before = _taken(self.model, self.info)
        after = {key: getattr(recipe, key) for key in TAKEN}
        after["symmetrise"] = of_file(recipe.symmetrise)
        for key in TAKEN[1:]:
            now = after[key]
            if now != before[key]:
                lines.append(f"`{key}`: {before[key]} before, {now} now")
        return [*lines, *self._of_heads(model, recipe)]

    def _of_species(self) -> list[str]:
        """Lines on elements that are added."""
        names = [(chemical_symbols[z], chemical_symbols[k]) for z, k in self.sources.items()]
        return [
            f"weights of elements: {new} is new and begins with those of {source}"
            for new, source in names
        ]

    def _of_heads(self, model: AtomisticModel, recipe: Recipe) -> list[str]:
        """Lines on the heads: which one is trained, and what becomes of the others."""
        lines = []
        trained = model.energy_head
        if recipe.fine_tuning.new_head is not None:
            lines.append(f"head {trained}: new, a copy of {self.before.energy_head}")
        if trained != "energy":
            variant = trained.partition("/")[2]
            lines.append(
                f"trained is the head of `variant` {variant!r}, which users have to choose"
            )
        others = [head for head in model.head_sizes if head not in trained_heads(model, recipe)]
        # the weights below other heads are kept as well, but not those of new elements
        if others and recipe.fine_tuning.weights == "heads":
            lines.append(f"heads {', '.join(others)}: unchanged, as are the weights below them")
        elif others:
            self.wrong_heads = others
            lines.append(
                f"heads {', '.join(others)}: kept, but the weights below them change: what they"
                " give will be wrong"
            )
        if is_replayed_beside(recipe):
            lines.append(f"head {self.before.energy_head}: trained on the replayed structures")
        return lines


def load(recipe: Recipe) -> Start | None:
    """Start of a recipe, None without one.

    Parameters
    ----------
    recipe:
        Recipe.
    """
    if not recipe.start:
        return None
    options = recipe.fine_tuning
    before, info = store.load(path_of(recipe.folder, recipe.start))
    _select(before, options.variant)
    # heads first: a new element is then in all of them
    model = before
    if options.new_head is not None:
        model = growth.with_head(model, f"energy/{options.new_head}")
    where = "fine_tuning.new_species"
    sources = growth.sources_of(options.new_species, before.species, where)
    if sources:
        model = growth.with_species(model, sources)
    return Start(recipe.start, before, model, info, sources)


def path_of(folder: Path, start: str) -> Path:
    """Path of the calculator that a training starts from.

    Parameters
    ----------
    folder:
        Folder of the recipe, to which the path is relative.
    start:
        Folder or checkpoint, or name of a calculator.
    """
    path = folder / start
    return path if path.exists() else store.find(start)


def complete(content: dict[str, Any], folder: Path) -> None:
    """Add the model, its settings, dtype and symmetriser of the start where a recipe lacks them.

    Parameters
    ----------
    content:
        Tables of the recipe, changed in place.
    folder:
        Its folder.
    """
    start = content.get("start")
    settings = content.get("settings", {})
    if not isinstance(start, str) or not start or not isinstance(settings, dict):
        return
    try:
        model, info = store.load(path_of(folder, start))
    except FileNotFoundError:
        # a recipe that says all can be read where its start is not, but not be trained
        if "model" in content and "species" in settings:
            return
        raise
    taken = _taken(model, info)
    # frames belong to their symmetriser
    if "symmetrise" in content:
        taken.pop("augmentation")
    for key, value in taken.items():
        content.setdefault(key, value)
    if content["model"] != taken["model"] and "settings" not in content:
        kinds = f"`model` is {content['model']!r}, but that of `start` is {taken['model']!r}"
        raise ValueError(f"{kinds}: leave `model` out, or train without `start`")
    if content["model"] == taken["model"]:
        described = content_of(model, info, b"")["settings"]
        described.pop("uncertainties", None)
        described["species"] = list(described["species"])
        _add(described, content.get("fine_tuning"))
        content["settings"] = {**described, **settings}


def _add(settings: dict[str, Any], options: object) -> None:
    """Add the elements and the head of the table [fine_tuning] to the settings of the start.

    What is no such table, or has bad values, is refused later.
    """
    if not isinstance(options, dict):
        return
    new = options.get("new_species", [])
    if isinstance(new, dict | list):
        settings["species"] = _with(settings["species"], new)
    name = options.get("new_head")
    if isinstance(name, str):
        settings["heads"] = {**settings["heads"], f"energy/{name}": 1}


def _with(species: list[int], new: Collection[object]) -> list[int]:
    """Atomic numbers with those of new symbols; others are refused later, with their names."""
    numbers = [atomic_numbers.get(each, 0) for each in new if isinstance(each, str)]
    return [*species, *(z for z in numbers if z and z not in species)]


def energies_line(
    before: Mapping[int, float], after: Mapping[int, float], absent: Collection[int]
) -> str:
    """Line on the energies of the elements: which differ from those of the start.

    Parameters
    ----------
    before:
        Of the start, {Z: eV}.
    after:
        Of the training, {Z: eV}.
    absent:
        Atomic numbers that no training structure has.
    """
    present = [z for z in after if z not in absent]
    fitted = []
    for z in present:
        old = before.get(z, 0.0)
        if old != after[z]:
            fitted.append(f"{chemical_symbols[z]} {old:.6g} before, {after[z]:.6g} eV now")
    parts = [", ".join(fitted) if fitted else f"kept: {symbols(present)}"]
    if absent:
        parts.append(f"kept, as no training structure has them: {symbols(absent)}")
    return f"energies of the elements: {'; '.join(parts)}"


def symbols(numbers: Collection[int]) -> str:
    """Symbols of elements, the first ones of many.

    Parameters
    ----------
    numbers:
        Atomic numbers.
    """
    every = [chemical_symbols[z] for z in numbers]
    more = f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return ", ".join(every[:SHOWN]) + more


def _taken(model: AtomisticModel, info: CalculatorInfo) -> dict[str, str]:
    """Values of the start for the keys that a recipe takes from it."""
    augmentation = info.provenance.get("augmentation")
    return {
        "model": _kind(model),
        "dtype": info.dtype,
        "symmetrise": of_file(info.symmetrise),
        "augmentation": "frames" if augmentation == "frames" else "rotations",
    }


def _select(model: AtomisticModel, variant: str | None) -> None:
    """Point a start at the energy head that is trained or copied."""
    try:
        arguments.select_head(model, variant)
    except ValueError as error:
        raise ValueError(f"`fine_tuning.variant` of the recipe: {error}") from None


def _changed_settings(start: AtomisticModel, model: Any) -> list[str]:
    """Settings that differ, each as `name` start and now."""
    before = asdict(start.settings)
    now = asdict(model.settings)
    names = [each.name for each in fields(model.settings)]
    return [
        f"`{name}` {before.get(name)} before, {now[name]} now"
        for name in names
        if before.get(name) != now[name] and name != "uncertainties"
    ]


def _kind(model: Any) -> str:
    """Name of the file of a model in ase_pet/models."""
    return type(model).__module__.rsplit(".", 1)[-1]


def _shapes(model: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    """Shape of each tensor of a model, {name: shape}."""
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}
