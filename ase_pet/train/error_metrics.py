"""What errors of training, validation, cards and `ase-pet eval` are errors of: one definition.

Energies per atom, components of forces and dipoles, and all nine components of stresses: then the
RMSE of a stress is the same however the structure is turned, as the off-diagonal ones count twice.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase import units

UNITS = {  # kind of label: (unit, number of such units in ours of eV, A and e)
    "energy": ("meV/atom", 1e3),
    "forces": ("meV/A", 1e3),
    "stress": ("GPa", 1 / units.GPa),
    "dipole": ("e A", 1.0),
}


def compared(values: Mapping[str, np.ndarray], n_atoms: int) -> dict[str, np.ndarray]:
    """Numbers that are compared, {kind: (count,)} in eV/atom, eV/A, eV/A^3 and e A.

    Parameters
    ----------
    values:
        Labels or predictions of a structure, {kind: array}; stresses (3, 3).
    n_atoms:
        Its number of atoms.
    """
    flat = {kind: np.ravel(value) for kind, value in values.items()}
    if "energy" in flat:
        flat["energy"] = flat["energy"] / n_atoms
    return flat
