"""Files whose forces have another unit or sign than those of other files with the same elements.

Forces of the largest file are fitted by a pair potential, a sum of B functions for each pair of
elements,

    F_i = sum_j f(r_ij) (r_i - r_j) / r_ij,   f(r) = sum_b c_b phi_b(r).

For another file it predicts p, and the factor (p . F) / (p . p) is about 1. Where each of two files
predicts the forces of the other but for a factor, and this is that of a unit, one of them is in
that unit. No two structures need be alike, as for the differences of energies in `agreement`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import units

from . import agreement, data

SHORTEST = 0.7  # A, centre of the first function
LONGEST = 5.0  # A
SPACING = 0.2  # A, of the centres and width of the functions
MOST_ATOMS = 2000  # of a file, which are enough to fit
MOST_ELEMENTS = 8
FEWEST = 60  # force components of a file
ALIKE = 0.7  # correlation of predicted and given forces, below which a factor means nothing
SMALLEST = 1e-6  # ridge, relative to the largest of the normal equations
NEAR = 1.5  # ratio of a factor to that of a unit, up to which it is recognised
MUTUAL = 3.0  # ratio of the factors of two files, each predicted by the other
KCAL = units.kcal / units.mol
KJ = units.kJ / units.mol
FACTORS = {  # of the forces in a file over those of the same structures in eV/A
    "in Hartree/Bohr": units.Bohr / units.Hartree,
    "in Rydberg/Bohr": units.Bohr / units.Rydberg,
    "in kcal/mol/A": 1 / KCAL,
    "in kJ/mol/A": 1 / KJ,
    "in meV/A": 1e3,
}


def disagreements(samples: Sequence[data.Sample]) -> list[str]:
    """Lines on files whose forces are a unit or a sign away from those of another file.

    Parameters
    ----------
    samples:
        Samples of all files.
    """
    by_file: dict[str, list[data.Sample]] = {}
    for sample in samples:
        known = np.isfinite(sample.forces).all() and np.abs(sample.forces).any()
        if known and len(sample.pairs.centres):
            by_file.setdefault(agreement.file_of(sample), []).append(sample)
    groups = {}
    for file, all_of_it in by_file.items():
        own = _some(all_of_it)
        if 3 * _n_atoms(own) >= FEWEST:
            groups[file] = own
    if len(groups) < 2:
        return []
    sizes = {file: (len(_elements(own)), _n_atoms(own)) for file, own in groups.items()}
    first = max(groups, key=sizes.__getitem__)
    if sizes[first][0] > MOST_ELEMENTS:
        return []
    texts = []
    for file, own in groups.items():
        factor = 1.0 if file == first else _factor(groups[first], own)
        reason = _reason(factor)
        if reason:
            texts.append(
                f"`{file}`: forces are {factor:.3g} times those of `{first}`, by pair potentials:"
                f" {reason}"
            )
    return texts


def _reason(factor: float) -> str:
    """What a factor of the forces means, empty if nothing."""
    size = abs(factor)
    minus = " and with the other sign" if factor < 0 else ""
    for unit, expected in FACTORS.items():
        if 1 / NEAR < size / expected < NEAR:
            return f"{unit}{minus} rather than in eV/A?"
    for unit, expected in FACTORS.items():
        if 1 / NEAR < size * expected < NEAR:
            return f"in eV/A{minus}, and the others {unit}?"
    if factor < 0 and 1 / NEAR < size < NEAR:
        return "gradients rather than forces?"
    return ""


def _factor(first: Sequence[data.Sample], other: Sequence[data.Sample]) -> float:
    """Size of the forces of other samples over that of the first; 1 if nothing is known."""
    elements = set(_elements(other))
    shared = []
    for sample in first:
        if elements.issuperset(sample.structure.numbers.tolist()):
            shared.append(sample)
    if 3 * _n_atoms(shared) < FEWEST:
        return 1.0
    there = _predicted(shared, other)
    back = _predicted(other, shared)
    # other structures rather than another unit: each file then predicts the other one badly
    product = there * back
    return there if 1 / MUTUAL < product < MUTUAL else 1.0


def _predicted(fitted: Sequence[data.Sample], other: Sequence[data.Sample]) -> float:
    """Given over predicted forces of other samples; 0 if they have little to do with each other."""
    elements = _elements([*fitted, *other])
    coefficients = _fit(fitted, elements)
    predicted = _basis(other, elements) @ coefficients
    given = _forces(other)
    product = predicted @ given
    norm = np.linalg.norm(predicted)
    norms = norm * np.linalg.norm(given)
    if abs(product) < ALIKE * norms:
        return 0.0
    return float(product / norm**2)


def _fit(own: Sequence[data.Sample], elements: Sequence[int]) -> np.ndarray:
    """Coefficients of the functions of all pairs of elements, by least squares with a ridge."""
    basis = _basis(own, elements)
    normal = basis.T @ basis
    ridge = SMALLEST * max(float(normal.diagonal().max()), 1e-12)
    right = basis.T @ _forces(own)
    solution: np.ndarray = np.linalg.solve(normal + ridge * np.eye(len(normal)), right)
    return solution


def _basis(own: Sequence[data.Sample], elements: Sequence[int]) -> np.ndarray:
    """(3n, K): force components for coefficients of 1, of K = pairs of elements times functions."""
    rows = [_basis_of(sample, elements) for sample in own]
    return np.concatenate(rows)


def _basis_of(sample: data.Sample, elements: Sequence[int]) -> np.ndarray:
    """(3n, K) of a structure of n atoms."""
    pairs = sample.pairs
    centres = np.arange(SHORTEST, LONGEST, SPACING)
    distances = pairs.distances()[:, None]
    scaled = (distances - centres) / SPACING
    functions = np.exp(-0.5 * scaled**2)  # (P, B)
    # the force on j is along the vector from i to j, that on i is opposite
    directions = pairs.vectors / distances  # (P, 3)
    terms = directions[:, None, :] * functions[:, :, None]  # (P, B, 3)
    kinds = _kinds(sample, elements)
    n_atoms = len(sample.structure)
    table = np.zeros((n_atoms, len(elements) ** 2, len(centres), 3))
    np.add.at(table, (pairs.neighbours, kinds), terms)
    np.add.at(table, (pairs.centres, kinds), -terms)
    components = np.moveaxis(table, 3, 1)
    return components.reshape(3 * n_atoms, -1)


def _kinds(sample: data.Sample, elements: Sequence[int]) -> np.ndarray:
    """(P,) number of the pair of elements of each pair of atoms, A-B and B-A the same."""
    index = np.searchsorted(elements, sample.structure.numbers)
    first = index[sample.pairs.centres]
    second = index[sample.pairs.neighbours]
    low = np.minimum(first, second)
    high = np.maximum(first, second)
    return np.asarray(low * len(elements) + high)


def _forces(own: Sequence[data.Sample]) -> np.ndarray:
    """(3n,) given force components in eV/A."""
    return np.concatenate([sample.forces.ravel() for sample in own])


def _some(own: Sequence[data.Sample]) -> list[data.Sample]:
    """Samples from all parts of a file, of some thousand atoms together at most."""
    steps = max(1, _n_atoms(own) // MOST_ATOMS)
    return list(own[::steps])


def _n_atoms(own: Sequence[data.Sample]) -> int:
    """Number of atoms of all samples."""
    return sum(len(sample.structure) for sample in own)


def _elements(own: Sequence[data.Sample]) -> list[int]:
    """Sorted atomic numbers of all samples."""
    found: set[int] = set()
    for sample in own:
        found.update(sample.structure.numbers.tolist())
    return sorted(found)
