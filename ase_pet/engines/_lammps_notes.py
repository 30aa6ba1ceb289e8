"""Notes on an input of LAMMPS that runs, but may not mean what it says."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

KINDS = (
    "pair_style",
    "bond_style",
    "angle_style",
    "dihedral_style",
    "improper_style",
    "kspace_style",
)
WITHOUT_FORCES = ("none", "zero", None)
DEVIATION = 0.05  # of masses, relative; isotopes of heavy elements deviate less


def note_setup(lmp: Any, species: Sequence[str]) -> None:
    """Warn of other potentials, and of masses of other elements.

    Parameters
    ----------
    lmp:
        Instance of LAMMPS that a calculator is attached to.
    species:
        Chemical symbols of the atom types 1, 2, ...
    """
    for kind in KINDS:
        style = lmp.extract_global(kind)
        if style not in WITHOUT_FORCES:
            warnings.warn(
                f"the input has `{kind} {style}`: its energies and forces are added to those of"
                " the calculator; delete it unless that is meant",
                stacklevel=2,
            )
    for number, (symbol, mass) in enumerate(_masses(lmp, species), 1):
        expected = _mass(symbol)
        if mass == 0:  # not set yet
            continue
        if abs(mass - expected) > DEVIATION * expected:
            warnings.warn(
                f"atom type {number} has mass {mass:g} in LAMMPS, but {symbol} has {expected:g}:"
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
