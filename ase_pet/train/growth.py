"""A model with further elements or a further energy head, which gives the same numbers otherwise.

The weights of a new element are copies of those of another element, and a new head is a copy of
another head. An axis of a tensor that is longer in the larger model consists of one block for each
element, or for each head.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from ase.data import atomic_numbers, chemical_symbols, covalent_radii

from ..choices import one_of
from ..layers.equivariant_linear import Map, SpeciesMaps
from ..models.base import AtomisticModel

NOBLE_GASES = (0, 2, 10, 18, 36, 54, 86, 118)


def with_head(model: AtomisticModel, name: str) -> AtomisticModel:
    """A model with one energy head more, a copy of the head `energy_head`, which it evaluates.

    Parameters
    ----------
    model:
        Model.
    name:
        Name of the new head, "energy/NAME".

    Raises
    ------
    ValueError
        The model has that head already.
    """
    source = model.energy_head
    heads = model.head_sizes
    if name in heads:
        raise ValueError(
            f"`fine_tuning.new_head`: the start has the head {name!r} already (heads:"
            f" {', '.join(heads)}): choose another name, or train it as `fine_tuning.variant`"
        )
    larger = _made(model, heads={**heads, name: heads[source]})
    # where heads share a weight, the block of the new one is that of its source
    number = list(heads).index(source)
    blocks = [*range(len(heads)), number]
    _fill(larger, model, len(heads), blocks, {name: source})
    larger.compositions[name] = dict(model.composition)
    if source in larger.scales:
        larger.scales[name] = copy.deepcopy(larger.scales[source])
    larger.set_energy_head(name)
    return larger


def with_species(model: AtomisticModel, sources: Mapping[int, int]) -> AtomisticModel:
    """A model with further elements, which begin with the weights of others.

    Parameters
    ----------
    model:
        Model.
    sources:
        {Z of a new element: Z of an element of the model}.
    """
    before = model.species
    larger = _made(model, species=(*before, *sources))
    rows = [before.index(source) for source in sources.values()]
    _fill(larger, model, len(before), [*range(len(before)), *rows], {})
    _scale(larger, sources)
    # radii are a property of the element, not of the weights
    new_radii = torch.tensor([covalent_radii[z] for z in sources], dtype=torch.float64)
    for name, tensor in larger.state_dict().items():
        if name.rpartition(".")[2] == "radii":
            tensor[len(before) :] = new_radii
    larger.covalent_radii = {**larger.covalent_radii, **model.covalent_radii}
    return larger


def _scale(model: AtomisticModel, sources: Mapping[int, int]) -> None:
    """Give new elements the scales of their sources, where elements have their own."""
    for scale in model.scales.values():
        if isinstance(scale, dict):
            for z, source in sources.items():
                scale[z] = scale[source]


def sources_of(
    new: Mapping[str, str] | Sequence[str], species: Sequence[int], where: str
) -> dict[int, int]:
    """{Z of a new element: Z of the element whose weights it begins with}.

    Without a choice that is the element of the model in the same group of the periodic table and
    the nearest period, else the one with the nearest atomic number.

    Parameters
    ----------
    new:
        Symbols of new elements, with those of their sources or without.
    species:
        Atomic numbers of the model.
    where:
        Name of the entry of the recipe, for messages.

    Raises
    ------
    ValueError
        A symbol is no element, is in the model already, or a source is not in it.
    """
    sources = {}
    known = [chemical_symbols[z] for z in species]
    for symbol in new:
        z = atomic_numbers.get(symbol, 0)
        if not z:
            raise ValueError(f"`{where}`: {symbol!r} is no element")
        if z in species:
            raise ValueError(f"`{where}`: the start has {symbol} already: leave it out")
        # a list leaves the choice to the rule
        chosen = new[symbol] if isinstance(new, Mapping) else ""
        if chosen:
            one_of(f"{where}.{symbol}", chosen, known)
        sources[z] = atomic_numbers[chosen] if chosen else _most_similar(z, species)
    return sources


def axes_of_heads(model: AtomisticModel) -> dict[str, list[int]]:
    """Axes of weights that consist of one block for each head, {name of the weight: axes}.

    Parameters
    ----------
    model:
        Model.
    """
    heads = model.head_sizes
    other = "energy/another"
    while other in heads:
        other += "-one"
    return _longer_axes(model, heads={**heads, other: heads[model.energy_head]})


def axes_of_species(model: AtomisticModel) -> dict[str, list[int]]:
    """Axes of weights that have one entry for each element, {name of the weight: axes}.

    Parameters
    ----------
    model:
        Model.
    """
    free = next(z for z in range(1, 119) if z not in model.species)
    return _longer_axes(model, species=(*model.species, free))


def _longer_axes(model: AtomisticModel, **changes: Any) -> dict[str, list[int]]:
    """Axes of weights that are longer in a model with larger settings, {name: axes}."""
    kind: Any = type(model)
    with torch.device("meta"):
        larger: AtomisticModel = kind(_settings(model, changes))
    weights = dict(model.named_parameters())
    axes = {}
    for name, weight in larger.named_parameters():
        # of a new head, which has weights of its own
        if name not in weights:
            continue
        before = weights[name].shape
        longer = [axis for axis, size in enumerate(weight.shape) if size != before[axis]]
        if longer:
            axes[name] = longer
    return axes


def _settings(model: AtomisticModel, changes: Mapping[str, Any]) -> Any:
    """Settings with other heads or species, and without uncertainties, which are of the weights."""
    names = [each.name for each in fields(model.settings)]
    left_out: dict[str, Any] = {"uncertainties": {}} if "uncertainties" in names else {}
    return replace(model.settings, **left_out, **changes)


def _made(model: AtomisticModel, **changes: Any) -> AtomisticModel:
    """A model of the same class, precision and tables with other settings and random weights."""
    kind: Any = type(model)
    made: AtomisticModel = kind(_settings(model, changes))
    made = made.to(next(model.parameters()).dtype)
    made.compositions = copy.deepcopy(model.compositions)
    made.scales = copy.deepcopy(model.scales)
    made.metadata = dict(model.metadata)
    made.set_energy_head(model.energy_head)
    return made


def _fill(
    larger: AtomisticModel,
    model: AtomisticModel,
    n_blocks: int,
    blocks: Sequence[int],
    heads: Mapping[str, str],
) -> None:
    """Give a larger model the tensors of another one; block k of a longer axis is `blocks[k]`."""
    before = model.state_dict()
    filled = {}
    for name, tensor in larger.state_dict().items():
        value = before[_source(name, heads)]
        if value.shape == tensor.shape:
            filled[name] = value.clone()
            continue
        chosen = torch.tensor(blocks, device=value.device)
        # one axis after the other: (.., n_blocks * size, ..) -> (.., n_chosen * size, ..)
        for axis in range(value.ndim):
            if value.shape[axis] != tensor.shape[axis]:
                size = value.shape[axis] // n_blocks
                by_block = value.unflatten(axis, (n_blocks, size))
                value = by_block.index_select(axis, chosen).flatten(axis, axis + 1)
        filled[name] = value * _factor(larger, name, before[_source(name, heads)].shape)
    larger.load_state_dict(filled)


def _source(name: str, heads: Mapping[str, str]) -> str:
    """Name of the tensor that another one is a copy of: that of another head."""
    parts = [heads.get(part, part) for part in name.split(".")]
    return ".".join(parts)


def _factor(model: AtomisticModel, name: str, before: Sequence[int]) -> float:
    """Factor on a weight, where its map divides by the root of the length of the first axis."""
    path = name.split(".")[:-1]
    for depth in (len(path), len(path) - 1):
        module = model.get_submodule(".".join(path[:depth]))
        if isinstance(module, Map | SpeciesMaps):
            weight = model.get_parameter(name)
            return math.sqrt(weight.shape[0] / before[0])
    return 1.0


def _most_similar(z: int, species: Sequence[int]) -> int:
    """Element of the same group and the nearest period, else of the nearest atomic number."""
    group = _group(z)
    same = [other for other in species if _group(other) == group]
    return min(same or species, key=lambda other: (abs(other - z), other))


def _group(z: int) -> tuple[str, int]:
    """Group of the periodic table: number of electrons more, or fewer, than a noble gas."""
    period = max(k for k, gas in enumerate(NOBLE_GASES) if gas < z)
    above = z - NOBLE_GASES[period]
    below = NOBLE_GASES[period + 1] - z
    # s and p elements by their side of the period, f elements by themselves
    if above <= 2 and z != 2:
        return "s", above
    if below <= 5:
        return "p", below
    is_f = above + below == 32 and above <= 16
    return ("f", above) if is_f else ("d", below)
