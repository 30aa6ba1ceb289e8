"""What a training keeps of the calculator that it starts from, and what it changes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from ase.data import chemical_symbols

from .. import store
from ..calculator_info import CalculatorInfo, content_of
from ..models.base import AtomisticModel
from ..symmetrisers import of_file

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
    model:
        Model.
    info:
        What its file says about it.
    changes:
        Lines on what differs from it, apart from the weights.
    """

    given: str
    model: AtomisticModel
    info: CalculatorInfo
    changes: list[str] = field(default_factory=list)

    @property
    def energies(self) -> dict[int, float]:
        """Composition energies of the head that is trained, {Z: eV}."""
        return self.model.composition

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
                " of the start, or train without `start`"
            )
        # without last-layer uncertainties, which are of the weights before
        state = self.model.state_dict()
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
        if asdict(self.model.settings).get("uncertainties"):
            lines.append("uncertainties: left out, as they are of the weights before")
        before = _taken(self.model, self.info)
        after = {key: getattr(recipe, key) for key in TAKEN}
        after["symmetrise"] = of_file(recipe.symmetrise)
        for key in TAKEN[1:]:
            now = after[key]
            if now != before[key]:
                lines.append(f"`{key}`: {before[key]} before, {now} now")
        others = [head for head in model.head_sizes if head not in _trained(model, recipe)]
        if others:
            lines.append(
                f"heads {', '.join(others)}: kept, but the weights below them change: what they"
                " give will be wrong"
            )
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
    model, info = store.load(path_of(recipe.folder, recipe.start))
    return Start(recipe.start, model, info)


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
    if content["model"] == taken["model"]:
        described = content_of(model, info, b"")["settings"]
        described.pop("uncertainties", None)
        described["species"] = list(described["species"])
        content["settings"] = {**described, **settings}


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


def shortest(
    before: Mapping[tuple[int, int], float], now: Mapping[tuple[int, int], float]
) -> dict[tuple[int, int], float]:
    """Shortest distance in A of each pair of elements, over the data of both trainings.

    Parameters
    ----------
    before:
        Of the start, {(Z, Z'): A}.
    now:
        Of the training, {(Z, Z'): A}.
    """
    both = dict(before)
    for pair, distance in now.items():
        both[pair] = min(distance, both.get(pair, distance))
    return dict(sorted(both.items()))


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


def _trained(model: Any, recipe: Recipe) -> set[str]:
    """Heads that have labels."""
    dipole = {"dipole"} if recipe.loss.dipole > 0 else set()
    return {model.energy_head} | dipole


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
