"""What the constraints of a structure mean for labels, strain, dynamics and error messages."""

from __future__ import annotations

import warnings
from collections import Counter

import numpy as np
from ase import Atoms
from ase.constraints import (
    ExternalForce,
    FixBondLengths,
    FixInternals,
    FixLinearTriatomic,
    Hookean,
)

VIOLATION = 1e-3  # A, largest change of positions that satisfy their constraints

# constraints whose forces do work when the cell is strained: the stress lacks their part
WITHOUT_STRESS = (FixBondLengths, FixLinearTriatomic, FixInternals, Hookean, ExternalForce)


def describe(atoms: Atoms) -> str:
    """Kinds of constraints of a structure and their number, such as "FixAtoms, 2 FixBondLengths".

    Parameters
    ----------
    atoms:
        Structure; the text is empty if it has no constraints.
    """
    kinds = Counter(type(constraint).__name__ for constraint in atoms.constraints)
    texts = [kind if count == 1 else f"{count} {kind}" for kind, count in kinds.items()]
    return ", ".join(texts)


def without(atoms: Atoms, task: str | None = None) -> Atoms:
    """Copy of a structure without constraints, with the same calculator.

    Parameters
    ----------
    atoms:
        Structure; it stays as it is.
    task:
        What is computed, such as "elastic constants", for a warning that the constraints are
        ignored; None for no warning.
    """
    if atoms.constraints and task is not None:
        warnings.warn(
            f"constraints of the structure ({describe(atoms)}) are ignored for {task}",
            stacklevel=3,
        )
    free: Atoms = atoms.copy()
    free.set_constraint()
    free.calc = atoms.calc
    return free


def require_satisfied(atoms: Atoms) -> None:
    """Raise ValueError if the positions of a structure do not satisfy its constraints.

    Parameters
    ----------
    atoms:
        Structure of n atoms.
    """
    try:
        change = moved(atoms, np.zeros((len(atoms), 3)))
    except Exception as error:  # of iterations that do not converge
        raise ValueError(
            f"the constraints of the structure ({describe(atoms)}) cannot be applied to it:"
            f" {type(error).__name__}: {error}"
        ) from None
    largest = np.abs(change).max(initial=0.0)
    if not largest <= VIOLATION:
        raise ValueError(
            f"the structure does not satisfy its constraints ({describe(atoms)}), by"
            f" {largest:.3g} A: correct its positions or the values of the constraints"
        )


def moved(atoms: Atoms, step: np.ndarray) -> np.ndarray:
    """(n, 3) change of the positions in A after a step, with constraints.

    Parameters
    ----------
    atoms:
        Structure of n atoms; it stays as it is.
    step:
        (n, 3) change in A that is asked for.
    """
    new = atoms.positions + step
    for constraint in atoms.constraints:
        constraint.adjust_positions(atoms, new)
    return np.asarray(new - atoms.positions)


def true_forces(atoms: Atoms) -> np.ndarray:
    """(n, 3) forces in eV/A of the calculator, whatever the constraints.

    Parameters
    ----------
    atoms:
        Structure of n atoms with its calculator.
    """
    return np.asarray(atoms.get_forces(apply_constraint=False))


def stress_is_complete(atoms: Atoms) -> bool:
    """Whether the stress of the calculator is all of the stress: constraint forces add nothing.

    Fixed atoms move with the cell when it is strained, so they add nothing. Bond lengths do not.

    Parameters
    ----------
    atoms:
        Structure.
    """
    return not any(isinstance(constraint, WITHOUT_STRESS) for constraint in atoms.constraints)
