"""Labels that ASE may have changed by the constraints of a structure.

ASE's `get_forces` sets to zero what constraints take up, and `get_potential_energy` adds the energy
of springs. Programs store either that or the values of the potential. A projection leaves forces as
they are if it was applied before, which tells one from the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms, FixCartesian, FixCom, FixLinearTriatomic, FixSymmetry

ROUNDING = 1e-6  # eV/A and relative, of forces in files
CHANGED = 1e-9  # eV/A, eV: smallest change by a constraint
SYMMETRIC = 1e-4  # A, of structures whose forces have the symmetry of a constraint anyway
FIXED = (FixAtoms, FixCartesian)


@runtime_checkable
class AddsEnergy(Protocol):
    """A constraint that adds to the energy, as a spring does."""

    def adjust_potential_energy(self, atoms: Atoms) -> float:
        """Energy in eV that it adds.

        Parameters
        ----------
        atoms:
            Structure.
        """


def adds_energy(atoms: Atoms) -> list[str]:
    """Names of the constraints that add energy or forces to a structure as it is, as springs do.

    Parameters
    ----------
    atoms:
        Structure.
    """
    nothing = np.zeros((len(atoms), 3))
    return _names(
        constraint
        for constraint in atoms.constraints
        if _energy(constraint, atoms) or np.abs(_adjusted(constraint, atoms, nothing)).max() > 0
    )


def leave_out(labels: dict[str, np.ndarray], atoms: Atoms) -> list[str]:
    """Notes on the labels of a structure that are left out, in place.

    Force components that constraints may have changed become NaN.

    Parameters
    ----------
    labels:
        Labels of the structure in ASE's units, changed in place.
    atoms:
        Structure of n atoms.
    """
    springs = adds_energy(atoms)
    if springs:
        dropped = [kind for kind in ("energy", "forces") if labels.pop(kind, None) is not None]
        what = " and ".join(dropped)
        notes = [f"{what} may have a part of {', '.join(springs)}: not used"] if dropped else []
    else:
        notes = _leave_out_forces(labels, atoms)
    symmetries = [each for each in atoms.constraints if isinstance(each, FixSymmetry)]
    if "stress" in labels and any(_symmetrised(labels, each, atoms) for each in symmetries):
        del labels["stress"]
        notes.append("the stress is that of FixSymmetry, not of the structure: not used")
    return notes


def _leave_out_forces(labels: dict[str, np.ndarray], atoms: Atoms) -> list[str]:
    """Notes on forces that constraints have changed, which become NaN."""
    forces = labels.get("forces", np.zeros((0, 3)))
    changing = [each for each in atoms.constraints if not _keeps(each, atoms)]
    if not len(forces) or not changing:
        return []
    taken = [_determined(each, atoms) for each in changing]  # each (n, 3)
    pairs = list(zip(changing, taken, strict=True))
    # ASE applies all constraints or none
    if not any(where.any() and _applied(each, atoms, forces) for each, where in pairs):
        return []
    unknown: np.ndarray = np.any(taken, axis=0)
    # a crystal without any forces is no sign of constraints
    if not forces.any() and not unknown.all():
        return []
    labels["forces"] = np.where(unknown, np.nan, forces)
    if unknown.all():
        del labels["forces"]
    if all(isinstance(each, FIXED) for each in changing):
        return ["forces of all fixed atoms are exactly 0, as constraints leave them: not used"]
    return [f"force components that {', '.join(_names(changing))} may have changed: not used"]


def _keeps(constraint: Any, atoms: Atoms) -> bool:
    """Whether a constraint leaves the forces of any potential as they are."""
    # forces sum to zero, and have the symmetry of the structure
    if type(constraint) is FixCom:
        return True
    return isinstance(constraint, FixSymmetry) and _is_symmetric(constraint, atoms)


def _is_symmetric(constraint: FixSymmetry, atoms: Atoms) -> bool:
    """Whether a structure has the symmetry that a constraint keeps."""
    scaled = atoms.get_scaled_positions(wrap=False)
    operations = zip(
        constraint.rotations, constraint.translations, constraint.symm_map, strict=True
    )
    for rotation, translation, image in operations:
        difference = scaled @ rotation.T + translation - scaled[image]
        difference -= np.round(difference)
        if np.abs(difference @ atoms.cell).max() > SYMMETRIC:
            return False
    return True


def _determined(constraint: Any, atoms: Atoms) -> np.ndarray:
    """(n, 3) whether a constraint changes a component of forces."""
    forces = np.random.default_rng(0).normal(size=(len(atoms), 3))
    changes = np.abs(_adjusted(constraint, atoms, forces) - forces)
    return np.asarray(~(changes <= CHANGED))


def _applied(constraint: Any, atoms: Atoms, forces: np.ndarray) -> bool:
    """Whether a constraint may have been applied to forces (n, 3): it does not change them."""
    some = np.random.default_rng(1).normal(size=forces.shape)
    once = _adjusted(constraint, atoms, some)
    twice = _adjusted(constraint, atoms, once)
    # of a map that is no projection nobody can say
    difference = np.abs(twice - once).max()
    if not difference <= ROUNDING:
        return True
    after = _adjusted(constraint, atoms, forces)
    change = np.abs(after - forces).max()
    size = max(1.0, np.abs(forces).max())
    return bool(change <= ROUNDING * size)


def _symmetrised(labels: dict[str, np.ndarray], constraint: FixSymmetry, atoms: Atoms) -> bool:
    """Whether a stress has a symmetry that the structure lacks."""
    if _is_symmetric(constraint, atoms):
        return False
    stress = labels["stress"]  # (3, 3)
    voigt = stress.ravel()[[0, 4, 8, 5, 2, 1]]
    adjusted = voigt.copy()
    constraint.adjust_stress(atoms, adjusted)
    # a symmetry that no stress breaks says nothing
    free = np.arange(1.0, 7.0)
    changed = free.copy()
    constraint.adjust_stress(atoms, changed)
    same = np.abs(adjusted - voigt).max() <= ROUNDING * np.abs(voigt).max()
    return bool(same and np.abs(changed - free).max() > CHANGED)


def _adjusted(constraint: Any, atoms: Atoms, forces: np.ndarray) -> np.ndarray:
    """Forces (n, 3) after a constraint, NaN where it fails."""
    changed = np.array(forces, dtype=float)
    try:
        if isinstance(constraint, FixLinearTriatomic):
            constraint.redistribute_forces_optimization(changed)
        else:
            constraint.adjust_forces(atoms, changed)
    except Exception:  # constraints of users may fail in any way
        return np.full_like(changed, np.nan)
    return changed


def _energy(constraint: Any, atoms: Atoms) -> bool:
    """Whether a constraint adds to the energy."""
    if not isinstance(constraint, AddsEnergy):
        return False
    return abs(constraint.adjust_potential_energy(atoms)) > CHANGED


def _names(constraints: Iterable[Any]) -> list[str]:
    """Kinds of constraints, each once."""
    return list(dict.fromkeys(type(constraint).__name__ for constraint in constraints))
