"""Springs to fixed places, external fields that conserve neither momentum nor its moment."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.constraints import Hookean

PLACES = 6  # of an atom, as many as there are rigid motions


def work(atoms: Atoms, centre: np.ndarray) -> np.ndarray:
    """(m, 6) work of springs to points and planes along translations and rotations.

    Of each spring where its atom may come to be: a motion is conserved if it needs no work there.

    Parameters
    ----------
    atoms:
        Structure.
    centre:
        (3,) point in A about which rotations turn.
    """
    rows = [np.zeros(6)]
    rng = np.random.default_rng(2)
    for constraint in atoms.constraints:
        if not isinstance(constraint, Hookean) or constraint._type == "two atoms":
            continue
        for _ in range(PLACES):
            place = atoms.positions[constraint.index] + rng.uniform(-1, 1, size=3)
            if constraint._type == "point":
                force = place - constraint.origin
            else:
                force = np.array(constraint.plane[:3], dtype=float)
            force /= np.linalg.norm(force)
            torque = np.cross(place - centre, force)
            rows.append(np.concatenate([force, torque]))
    return np.array(rows)
