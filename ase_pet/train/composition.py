"""Energies of the elements, which are subtracted from those of structures before the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ase.data import atomic_numbers, chemical_symbols

from .data import Sample, fit_composition
from .recipe import Recipe

SAME_ENERGY = 1e-3  # eV, of two structures with the same atom alone


def take_isolated(recipe: Recipe, splits: Mapping[str, list[Sample]]) -> dict[int, float]:
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
    for samples in splits.values():
        for sample in filter(_is_isolated, samples):
            z = int(sample.structure.numbers[0])
            known = energies.setdefault(z, sample.energy)
            if abs(known - sample.energy) > SAME_ENERGY:
                raise ValueError(
                    f"{sample.where}: a second energy of the isolated {chemical_symbols[z]},"
                    f" {sample.energy:.6g} eV and {known:.6g} eV: leave one of them out, or give a"
                    " table as `E0s`"
                )
        samples[:] = [sample for sample in samples if not _is_isolated(sample)]
    return energies


def reference_energies(
    recipe: Recipe,
    targets: Sequence[Sample],
    species: Sequence[int],
    isolated: Mapping[int, float],
) -> dict[int, float]:
    """Energy of each species in eV that is subtracted, {Z: eV}, as `E0s` of the recipe says.

    Parameters
    ----------
    recipe:
        Recipe, of which `E0s` is used.
    targets:
        Training samples, whose energies are those that the network has to learn.
    species:
        Atomic numbers of the model.
    isolated:
        Energies of isolated atoms, see `take_isolated`.

    Raises
    ------
    ValueError
        The energy of an element is missing.
    """
    if recipe.E0s == "fit":
        return fit_composition(
            [each.structure.numbers for each in targets],
            [each.energy for each in targets],
            species,
        )
    energies = dict(isolated)
    source = "a structure with one atom and no neighbours in the data"
    if isinstance(recipe.E0s, dict):
        energies = {atomic_numbers[symbol]: energy for symbol, energy in recipe.E0s.items()}
        source = "an entry of the table"
    missing = [chemical_symbols[z] for z in species if z not in energies]
    if missing:
        raise ValueError(
            f"recipe `{recipe.name}`: `E0s` lacks {', '.join(missing)}: expected {source} for each"
            " of `species`"
        )
    return {z: energies[z] for z in species}


def _is_isolated(sample: Sample) -> bool:
    """Whether a sample is one atom without neighbours."""
    return len(sample.structure) == 1 and not len(sample.pairs.centres)
