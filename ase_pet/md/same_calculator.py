"""Whether the calculators of a run that goes on give the numbers that they gave before.

Descriptions of calculators are compared too (`folders`), but those of other packages may have no
parameters, or weights that no parameter names.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from . import state as states

# differences of energies (eV/atom) and forces (eV/A) that rounding explains, also on a GPU
SAME_ENERGY = 1e-4
SAME_FORCE = 1e-3  # relative to the root mean square
LEAST_FORCE = 1e-3
SAME_AGAIN = (
    "Continue with the calculator, parameters and weights of the run, or start a new run in another"
    " folder"
)


def compare_forces(folder: Path, state: states.State, energy: float, forces: np.ndarray) -> None:
    """Raise ValueError if a calculator gives other numbers at a saved state than that of the run.

    Parameters
    ----------
    folder:
        Folder of the run.
    state:
        State of the run.
    energy:
        Energy in eV at the state.
    forces:
        (n, 3) forces in eV/A at the state.
    """
    if states.ATOMS + "forces" not in state:
        return  # of an earlier version
    error, is_same = _compared(forces, state[states.ATOMS + "forces"])
    energy_before = float(state[states.ATOMS + "energy"])
    shift = abs(energy - energy_before) / len(forces)
    # `not a <= b` is also true if a is not a number
    if not (is_same and shift <= SAME_ENERGY):
        raise ValueError(
            "the `calculator` is another one than that of the run in"
            f" {folder}: at the saved state forces differ by up to {error:.3g} eV/A and the energy"
            f" by {shift:.3g} eV/atom. {SAME_AGAIN}"
        )


def compare_fast_forces(folder: Path, state: states.State, forces: np.ndarray) -> None:
    """Raise ValueError if an inner calculator gives other forces at a saved state than before.

    Parameters
    ----------
    folder:
        Folder of the run.
    state:
        State of the run.
    forces:
        (n, 3) cheap forces in eV/A at the state.
    """
    if states.FAST not in state:
        return  # of an earlier version
    error, is_same = _compared(forces, state[states.FAST])
    if not is_same:
        raise ValueError(
            "the inner calculator (`fast` or `inner`) is another one than that of the run in"
            f" {folder}: at the saved state its forces differ by up to {error:.3g} eV/A."
            f" {SAME_AGAIN}"
        )


def _compared(forces: np.ndarray, before: np.ndarray) -> tuple[float, bool]:
    """Largest difference in eV/A of two arrays of forces (n, 3), and whether it is rounding."""
    error = float(np.abs(forces - before).max())
    typical = float(np.sqrt(np.mean(before**2)))
    return error, error <= max(LEAST_FORCE, SAME_FORCE * typical)
