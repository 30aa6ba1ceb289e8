"""Cost of a calculation, predicted before it starts, and the limits above which it is refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MOST_ATOMS = 4000  # of a supercell
MOST_EVALUATED = 20_000_000  # atoms of all displaced supercells
MOST_MODES = 100_000_000  # frequencies on the mesh
MOST_POINTS = 200_000  # q-points of a conductivity, whose scattering couples all pairs of them
GIB = 2**30
HINT = "choose less, or allow it with limits=False (--no-limits)"


def require_supercell(atoms: int, matrix: np.ndarray) -> None:
    """Raise ValueError for a supercell whose force constants would be too large.

    Parameters
    ----------
    atoms:
        Number of atoms of the unit cell.
    matrix:
        (3, 3) supercell matrix.
    """
    cells = round(float(np.linalg.det(matrix)))
    size = atoms * cells
    if size > MOST_ATOMS:
        # three of them exist at a time where their symmetries are measured
        memory = 3 * 9 * 8 * size**2 / GIB
        raise ValueError(
            f"`supercell` has {size} atoms ({cells} cells of {atoms}), and its force constants"
            f" would take {memory:.0f} GiB; the limit is {MOST_ATOMS} atoms: {HINT}"
        )


def require_evaluations(supercells: int, atoms: int) -> None:
    """Raise ValueError for more atoms than can be evaluated in a day.

    Parameters
    ----------
    supercells:
        Number of displaced supercells.
    atoms:
        Number of atoms in each.
    """
    if supercells * atoms > MOST_EVALUATED:
        raise ValueError(
            f"forces of {supercells} displaced supercells of {atoms} atoms are needed,"
            f" {supercells * atoms} atoms in all; the limit is {MOST_EVALUATED}: {HINT}"
        )


def require_mesh(mesh: Sequence[int], modes: int) -> None:
    """Raise ValueError for a mesh with too many frequencies.

    Parameters
    ----------
    mesh:
        Number of q-points along each reciprocal vector.
    modes:
        Number of modes at each q-point, three for each atom.
    """
    # python integers: 10^4 each is too much for 32 bits
    points = mesh[0] * mesh[1] * mesh[2]
    if points * modes > MOST_MODES:
        memory = 8 * points * modes / GIB
        raise ValueError(
            f"`mesh` {' x '.join(map(str, mesh))} has {points} q-points, {points * modes}"
            f" frequencies with {modes} modes at each ({memory:.0f} GiB); the limit is"
            f" {MOST_MODES}: {HINT}"
        )


def require_scattering(mesh: Sequence[int]) -> None:
    """Raise ValueError for a mesh on which phonon scattering would take very long.

    Parameters
    ----------
    mesh:
        Number of q-points along each reciprocal vector.
    """
    points = mesh[0] * mesh[1] * mesh[2]
    if points > MOST_POINTS:
        raise ValueError(
            f"`mesh` {' x '.join(map(str, mesh))} has {points} q-points, and each scatters from"
            f" all others; the limit is {MOST_POINTS} q-points: {HINT}"
        )
