"""Where the errors of forces are: by element, and by the size of the force."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from .metrics import error_metrics
from .prediction import ATOMS

PROFILES = ("forces_by_element", "forces_by_size")
EDGES = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, math.inf)  # eV/A, of the force on an atom


def of_split(pairs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Errors of the forces of a split, {"forces_by_element", "forces_by_size"}; {} without forces.

    Parameters
    ----------
    pairs:
        Reference and predicted values, see `prediction.predict`.
    """
    forces = pairs["forces"]
    if not forces.shape[1]:
        return {}
    atoms = pairs[ATOMS]
    return dict(zip(PROFILES, (by_element(forces, atoms), by_size(forces, atoms)), strict=True))


def left_out(errors: Mapping[str, Any]) -> dict[str, Any]:
    """Errors of a split without those by element and by size of the force.

    Parameters
    ----------
    errors:
        Errors of a split.
    """
    return {name: value for name, value in errors.items() if name not in PROFILES}


def by_element(forces: np.ndarray, atoms: np.ndarray) -> dict[str, dict[str, float]]:
    """Errors of force components by element, {symbol: {"components", "rmse", "mae", "rms"}}.

    Parameters
    ----------
    forces:
        Reference and predicted components in eV/A, (2, n).
    atoms:
        Atomic number and size of the reference force of the atom of each component, (2, n).
    """
    numbers = np.unique(atoms[0]).astype(int)
    return {chemical_symbols[z]: _errors(forces[:, atoms[0] == z]) for z in numbers.tolist()}


def by_size(forces: np.ndarray, atoms: np.ndarray) -> list[dict[str, Any]]:
    """Errors of force components by size of the reference force on their atom.

    One entry for each range that has atoms, {"from", "to", "components", "rmse", "mae", "rms"} in
    eV/A; "to" of the last range is None.

    Parameters
    ----------
    forces:
        Reference and predicted components in eV/A, (2, n).
    atoms:
        Atomic number and size of the reference force of the atom of each component, (2, n).
    """
    rows = []
    for low, high in zip(EDGES, EDGES[1:], strict=False):
        inside = (atoms[1] >= low) & (atoms[1] < high)
        if inside.any():
            end = high if math.isfinite(high) else None
            rows.append({"from": low, "to": end, **_errors(forces[:, inside])})
    return rows


def _errors(forces: np.ndarray) -> dict[str, float]:
    """Errors of some components, with their number."""
    return {"components": forces.shape[1], **error_metrics(*forces)}
