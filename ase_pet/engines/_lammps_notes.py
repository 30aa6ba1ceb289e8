"""Notes on an input of LAMMPS that runs, but may not mean what it says."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

DEVIATION = 0.05  # of masses, relative; isotopes of heavy elements deviate less


def note_setup(lmp: Any, species: Sequence[str]) -> None:
    """Warn of a second potential, and of masses of other elements.

    Parameters
    ----------
    lmp:
        Instance of LAMMPS with a calculator, whose next command evaluates forces.
    species:
        Chemical symbols of the atom types 1, 2, ...
    """
    style = lmp.extract_global("pair_style")
    if style not in ("none", "zero"):
        warnings.warn(
            f"the input has `pair_style {style}`: its energies and forces are added to those of"
            " the calculator; delete it unless that is meant",
            stacklevel=2,
        )
    for kind, (symbol, mass) in enumerate(_masses(lmp, species), 1):
        expected = _mass(symbol)
        if abs(mass - expected) > DEVIATION * expected:
            warnings.warn(
                f"atom type {kind} has mass {mass:g} in LAMMPS, but {symbol} has {expected:g}:"
                " `species` names the elements in the order of the atom types",
                stacklevel=2,
            )


def _masses(lmp: Any, species: Sequence[str]) -> list[tuple[str, float]]:
    """Symbol and mass of each atom type; empty if atoms have masses of their own."""
    masses = lmp.extract_atom("mass")
    if not masses:
        return []
    return [(symbol, masses[kind]) for kind, symbol in enumerate(species, 1)]


def _mass(symbol: str) -> float:
    """Mass of an element in u."""
    from ase.data import atomic_masses, atomic_numbers

    return float(atomic_masses[atomic_numbers[symbol]])
