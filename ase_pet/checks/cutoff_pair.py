"""Cutoff, pair: energy and forces of two atoms do not jump when they move apart, at the cutoff or
anywhere else.

Where it fails, each pair that passes the place gains or loses energy: long runs drift, and minima
and phonons depend on the side.
"""

import numpy as np

from ._jumps import LIMITS, SPACING, Path, compare  # noqa: F401  (part of the contract)

LEVEL, STRUCTURES = "quick", "pair"
FURTHEST = 12.0  # A, where the calculator does not say its cutoff
START = 0.9  # of the sum of the covalent radii


def measure(subject, atoms):
    """Largest jumps between 0.9 of the sum of covalent radii and beyond the cutoff.

    12 A where it is not known.
    """
    bond = atoms.get_distance(0, 1)
    end = FURTHEST if subject.cutoff is None else subject.cutoff + 10 * SPACING
    grid = np.arange(START * bond, end, SPACING) - bond
    known = [] if subject.cutoff is None else [subject.cutoff - bond]
    yield from compare(Path(subject, atoms, 1, np.array([0.0, 0, 1])), grid, known)


def broken(calculate):
    """A pair that is worth 10 meV, and attracts by 10 meV/A, below 5 A and nothing above."""
    return lambda atoms: cut(calculate(atoms), atoms)


def cut(results, atoms):
    """Results with the energy and forces of pairs that end at 5 A."""
    vectors = atoms.positions[None] - atoms.positions[:, None]
    distances = np.linalg.norm(vectors, axis=2)
    inside = (distances < 5.0) & (distances > 0)
    pull = np.where(inside, 0.01 / np.where(inside, distances, 1.0), 0.0)
    return results | {
        "energy": results["energy"] + 0.005 * inside.sum(),
        "forces": results["forces"] + (pull[..., None] * vectors).sum(axis=1),
    }
