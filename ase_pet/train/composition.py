"""Energies of the elements, which are subtracted from those of structures before the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ase.data import atomic_numbers, chemical_symbols

from .data import Sample
from .label_statistics import LabelStatistics
from .recipe import Recipe
from .streaming import StoredSamples

SAME_ENERGY = 1e-3  # eV, of two structures with the same atom alone


def take_isolated(recipe: Recipe, splits: dict[str, Sequence[Sample]]) -> dict[int, float]:
    """Energy of each isolated atom in eV, {Z: eV}, where `E0s` asks for them.

    Their samples are taken out of the splits: they are subtracted, not trained on.

    Parameters
    ----------
    recipe:
        Recipe, of which `E0s` is used.
    splits:
        Samples with their total energies, changed in place.

    Raises
    ------
    ValueError
        An atom has two energies.
    """
    energies: dict[int, float] = {}
    if recipe.E0s != "isolated":
        return energies
    # of any split: an energy that is subtracted is no label to report errors of
    for split, samples in splits.items():
        alone, splits[split] = _separated(samples)
        for sample in alone:
            z = int(sample.structure.numbers[0])
            known = energies.setdefault(z, sample.energy)
            if abs(known - sample.energy) > SAME_ENERGY:
                raise ValueError(
                    f"{sample.where}: a second energy of the isolated {chemical_symbols[z]},"
                    f" {sample.energy:.6g} eV and {known:.6g} eV: leave one of them out, or give a"
                    " table as `E0s`"
                )
    return energies


def reference_energies(
    recipe: Recipe,
    statistics: LabelStatistics,
    species: Sequence[int],
    isolated: Mapping[int, float],
    kept: Mapping[int, float] | None = None,
) -> dict[int, float]:
    """Energy of each species in eV that is subtracted, {Z: eV}, as `E0s` of the recipe says.

    Parameters
    ----------
    recipe:
        Recipe, of which `E0s` is used.
    statistics:
        Of the training samples, whose energies are those that the network has to learn.
    species:
        Atomic numbers of the model.
    isolated:
        Energies of isolated atoms, see `take_isolated`.
    kept:
        Energies of the calculator that the training starts from; None without one.

    Raises
    ------
    ValueError
        The energy of an element is missing, or no atom has a neighbour.
    """
    if not statistics.pairs:
        raise ValueError(
            f"recipe `{recipe.name}`: no atom of the training structures has a neighbour within"
            " `settings.cutoff`: there is nothing to learn but energies of elements"
        )
    if kept is not None and recipe.E0s in ("fit", "start"):
        # elements that the start lacks: what its energies leave of those of structures
        fitted = statistics.composition(species, kept)
        return {z: kept[z] if z in kept else fitted[z] for z in species}
    fitted = statistics.composition(species)
    if recipe.E0s == "fit":
        return fitted
    energies = dict(isolated)
    source = "a structure with one atom and no neighbours in the data"
    if isinstance(recipe.E0s, dict):
        energies = {atomic_numbers[symbol]: energy for symbol, energy in recipe.E0s.items()}
        source = "an entry of the table"
    # an energy that no structure tests belongs to the weights of the start
    if kept is not None:
        for z in statistics.absent(species):
            energies[z] = kept.get(z, energies.get(z, 0.0))
    missing = [chemical_symbols[z] for z in species if z not in energies]
    if missing:
        raise ValueError(
            f"recipe `{recipe.name}`: `E0s` lacks {', '.join(missing)}: expected {source} for each"
            " of `species`"
        )
    return {z: energies[z] for z in species}


def _separated(samples: Sequence[Sample]) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """Samples of one atom without neighbours, and the others."""
    if isinstance(samples, StoredSamples):
        return samples.separated()
    groups: tuple[list[Sample], list[Sample]] = ([], [])
    for sample in samples:
        alone = len(sample.structure) == 1 and not len(sample.pairs.centres)
        groups[0 if alone else 1].append(sample)
    return groups
