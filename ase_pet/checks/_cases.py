"""Structures of each check: those that were given, and molecules, clusters and pairs from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from .. import constraints
from . import _structures as build
from ._subject import Subject

PAIRS_OF_QUICK = 10  # pairs of elements of the level "quick": all of four elements

Structures = Atoms | list[Atoms] | tuple[Atoms, ...] | dict[str, Atoms]


def named(structures: Structures | None, species: Sequence[int | str] | None) -> dict[str, Atoms]:
    """{name: Atoms} of the structures that were given, else of default structures."""
    if structures is None:
        if species is None:
            raise ValueError(
                "the calculator does not say which species it knows: give `species` (`--species`)"
                " or `structures` (`--structure FILE`)"
            )
        return build.defaults(species)
    if isinstance(structures, dict):
        return structures
    if isinstance(structures, Atoms):
        structures = [structures]
    formulas = [atoms.get_chemical_formula() for atoms in structures]
    if len(formulas) > 1:  # two may have the same formula
        formulas = [f"{formula} ({k})" for k, formula in enumerate(formulas)]
    return dict(zip(formulas, structures, strict=True))


def validate(structures: Mapping[str, Atoms], species: Sequence[int] | None) -> None:
    """Raise ValueError for structures that cannot be checked; species: supported atomic numbers."""
    if not structures:
        raise ValueError("`structures` is empty: expected one Atoms or more")
    for name, atoms in structures.items():
        if len(atoms) == 0:
            raise ValueError(f"structure `{name}` holds no atoms")
        if len(atoms) == 1 and not atoms.pbc.any():
            raise ValueError(
                f"structure `{name}` is one atom alone: expected two or more, or a periodic"
                " structure"
            )
        if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
            raise ValueError(f"structure `{name}` has positions or a cell that are not finite")
        # Nothing is known to be unsupported where the calculator does not state its species.
        unknown = [] if species is None else sorted(set(atoms.numbers) - set(species))
        if species is not None and unknown:
            raise ValueError(
                f"structure `{name}` holds species with atomic numbers"
                f" {', '.join(map(str, unknown))}: the calculator knows"
                f" {', '.join(map(str, species))}"
            )


def cases(
    structures: Mapping[str, Atoms], species: Sequence[int | str] | None, subject: Subject
) -> tuple[dict[str, dict[str, Atoms]], int]:
    """{"any", "periodic", "free" or "pair": {name: Atoms}}, and the number of pairs left out.

    Parameters
    ----------
    structures:
        Structures that were given, by name. Their constraints are ignored, with a warning.
    species:
        Elements of which pairs are made; None: those of the structures.
    subject:
        Calculator, seed and level.
    """
    moved = {}
    periodic = {}
    free = {}
    for name, atoms in structures.items():
        unconstrained = constraints.without(atoms, f"the checks on `{name}`")
        moved[name] = build.displaced(unconstrained, subject.seed)
        if build.is_periodic(atoms):
            periodic[name] = moved[name]
        if build.is_free(atoms):
            free[name] = moved[name]
    # Clusters cut from the crystals stand in for molecules, if there are none.
    if not free:
        for name, atoms in moved.items():
            free[f"cluster of {name}"] = build.cluster(atoms)
    pairs = _pairs(structures, species)
    names = list(pairs)
    if not subject.full:
        names = names[:PAIRS_OF_QUICK]
    chosen = {name: pairs[name] for name in names}
    by_kind = {"any": moved, "periodic": periodic, "free": free, "pair": chosen}
    return by_kind, len(pairs) - len(chosen)


def _pairs(
    structures: Mapping[str, Atoms], species: Sequence[int | str] | None
) -> dict[str, Atoms]:
    """{name: Atoms} of pairs of all elements, first of those in the structures."""
    numbers = {int(number) for atoms in structures.values() for number in atoms.numbers}
    pairs = build.pairs(numbers)
    if species is not None:
        pairs |= build.pairs(_atomic_number(name) for name in species)
    return pairs


def _atomic_number(name: int | str) -> int:
    return int(atomic_numbers[name] if isinstance(name, str) else name)
