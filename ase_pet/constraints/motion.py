"""Degrees of freedom and momenta of structures with constraints.

Dynamics needs more than ASE's counts (`get_removed_dof`), which are missing for some constraints
and wrong where constraints overlap. ASE applies constraints to momenta one after the other, which
is a linear map L. For dynamics to be correct, L must be the projection onto the momenta that the
constraints allow, orthogonal with respect to the kinetic energy. `check` tests that with random
momenta; the number of degrees of freedom is then the trace of L.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import (
    ExternalForce,
    FixAtoms,
    FixBondLengths,
    FixCartesian,
    FixCom,
    FixedLine,
    FixedPlane,
    FixLinearTriatomic,
    FixScaled,
    FixSubsetCom,
    FixSymmetry,
    Hookean,
)
from ase.geometry import minkowski_reduce
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from . import _springs, describe, moved, require_satisfied

# constraints that treat each atom on its own, or no momenta at all
SINGLE_ATOMS = (FixAtoms, FixCartesian, FixScaled, FixedLine, FixedPlane, Hookean, ExternalForce)
# largest number of momenta that are tried to count degrees of freedom
MOST_PROBES = 6000

PRECISION = 1e-6  # relative, of the tests of projections
COUNT_PRECISION = 1e-3  # of the trace of a projection, a whole number
STEP = 1e-4  # A, of displacements that the constraints must allow
DISPLACEMENT = 0.1  # A, of the structures in which conserved momenta must exist
CLEAR_IMAGE = 0.5 + 1e-6  # largest ratio of a bond and the shortest lattice vector
NULL = 1e-5  # relative, singular values below it are zero


def initialise(atoms: Atoms) -> None:
    """Let constraints read their values, such as bond lengths, from the positions as they are.

    ASE's constraints do that when they are first used. Values that they have already stay.

    Parameters
    ----------
    atoms:
        Structure at the beginning of a run.

    Raises
    ------
    ValueError
        A constraint fails; the message names it.
    """
    _adjust(atoms, np.zeros((len(atoms), 3)))


def check(atoms: Atoms) -> None:
    """Raise ValueError if dynamics with the constraints of a structure would be wrong.

    Parameters
    ----------
    atoms:
        Structure of n atoms.
    """
    if not atoms.constraints:
        return
    _check_images(atoms)
    rng = np.random.default_rng(0)
    masses = atoms.get_masses()[:, None]  # (n, 1)
    first = np.sqrt(masses) * rng.standard_normal((len(atoms), 3))
    second = np.sqrt(masses) * rng.standard_normal((len(atoms), 3))
    nothing = np.zeros_like(first)
    allowed = _adjust(atoms, first)
    allowed_second = _adjust(atoms, second)
    # affine maps, such as an external force that ASE adds to momenta as well, are no projections
    failures = {
        "adds to momenta": _adjust(atoms, nothing),
        "is not linear": _adjust(atoms, first + second) - allowed - allowed_second,
        "changes momenta again when it is applied twice": _adjust(atoms, allowed) - allowed,
    }
    scale = np.abs(first).max()
    for failure, difference in failures.items():
        if not np.abs(difference).max() <= PRECISION * scale:
            _refuse(atoms, failure)
    # orthogonal in the kinetic energy: L is symmetric in the product p q / m
    asymmetry = ((allowed * second - first * allowed_second) / masses).sum()
    size = (np.abs(first * second) / masses).sum()
    if not redistributes(atoms) and not abs(asymmetry) <= PRECISION * size:
        _refuse(atoms, "does not conserve energy when it changes momenta")
    _check_positions(atoms, allowed / masses)


def count(atoms: Atoms) -> int:
    """Number of velocity components that the constraints leave free, from 0 to 3n.

    Constraints that overlap count once.

    Parameters
    ----------
    atoms:
        Structure of n atoms whose constraints passed `check`.

    Raises
    ------
    ValueError
        The number cannot be determined.
    """
    if not atoms.constraints:
        return 3 * len(atoms)
    # FixCom couples all atoms: its share follows from the motions of the centre of mass
    others = _sharing(atoms, [c for c in atoms.constraints if type(c) is not FixCom])
    trace = 0.0
    for probe in _probes(others):
        trace += float((probe * _adjust(others, probe)).sum())
    number = round(trace)
    if abs(trace - number) > COUNT_PRECISION:
        _refuse(atoms, f"leaves {trace:.6g} degrees of freedom, which is no whole number")
    if len(others.constraints) < len(atoms.constraints):
        number -= _kernel(others, _translations(others)).shape[1]
    return number


def project(atoms: Atoms, momenta: np.ndarray) -> np.ndarray:
    """(n, 3) allowed momenta that are closest to the given ones in kinetic energy.

    Momenta of a Maxwell-Boltzmann distribution become those of the constrained system.

    Parameters
    ----------
    atoms:
        Structure of n atoms whose constraints passed `check`.
    momenta:
        (n, 3) momenta.
    """
    if not redistributes(atoms):
        return _adjust(atoms, momenta)
    # rigid linear molecules: ASE ignores the momentum of the central atom, so a basis is needed
    root = np.sqrt(atoms.get_masses())[:, None]
    result = np.zeros_like(momenta)
    labels = _groups(atoms)
    columns = [(probe, _adjust(atoms, probe * root) / root) for probe in _probes(atoms)]
    for label in np.unique(labels):
        inside = labels == label
        span = np.array([image[inside].ravel() for probe, image in columns if probe[inside].any()])
        _, sizes, basis = np.linalg.svd(span)  # rows of the basis
        basis = basis[: np.count_nonzero(sizes > NULL)]
        weighted = (momenta / root)[inside].ravel()
        result[inside] = (basis.T @ (basis @ weighted)).reshape(-1, 3)
    return np.asarray(result * root)


def rigid_motions(atoms: Atoms) -> np.ndarray:
    """(k, n, 3) velocities of the k independent rigid motions whose momenta dynamics conserves.

    Translations and, without periodic directions, rotations that the constraints allow in every
    structure that the constraints allow, and along which no spring to a fixed place does work.

    Parameters
    ----------
    atoms:
        Structure of n atoms.
    """
    centre = atoms.get_center_of_mass()
    fields = _rigid(atoms, centre)  # (n, 3, 6 or 3)
    allowed = _kernel(atoms, fields)  # (6 or 3, k) coefficients
    # a spring to a point or plane takes up momentum
    work = _springs.work(atoms, centre)[:, : fields.shape[2]]
    allowed = _intersection(allowed, _null(work))
    rng = np.random.default_rng(1)
    for _ in range(2 if atoms.constraints else 0):
        moved = _sharing(atoms, atoms.constraints)
        # where a constraint does not converge, its instantaneous motions must do
        with contextlib.suppress(Exception):
            shifts = DISPLACEMENT * rng.uniform(-1, 1, size=(len(atoms), 3))
            moved.set_positions(atoms.positions + shifts)
            allowed = _intersection(allowed, _kernel(moved, _rigid(moved, centre)))
    return _independent(fields @ allowed)


def _adjust(atoms: Atoms, momenta: np.ndarray) -> np.ndarray:
    """Momenta (n, 3) after all constraints, as ASE applies them."""
    adjusted = np.array(momenta, dtype=float)
    for constraint in atoms.constraints:
        try:
            constraint.adjust_momenta(atoms, adjusted)
        except Exception as error:  # constraints of users may fail in any way
            name = type(constraint).__name__
            raise ValueError(
                f"constraint {name} cannot be used in dynamics: {type(error).__name__}: {error}"
            ) from None
    return adjusted


def _check_images(atoms: Atoms) -> None:
    """Raise ValueError for a bond whose nearest periodic image may change during a run."""
    if not atoms.pbc.any():
        return
    reduced, _ = minkowski_reduce(atoms.cell.complete(), atoms.pbc)
    lengths = np.linalg.norm(reduced, axis=1)
    shortest = lengths[atoms.pbc].min()
    for constraint in atoms.constraints:
        pairs = np.empty((0, 2), dtype=int)
        if isinstance(constraint, FixBondLengths):
            pairs = np.asarray(constraint.pairs).reshape(-1, 2)
        if isinstance(constraint, FixLinearTriatomic):
            pairs = constraint.triples[:, [0, 2]]
        for first, second in pairs:
            # up to half of the shortest vector no other image of a fixed length is nearer
            bond = atoms.get_distance(first, second, mic=True)
            if bond > CLEAR_IMAGE * shortest:
                raise ValueError(
                    f"constraint {type(constraint).__name__} of atoms {first} and {second},"
                    f" {bond:.3g} A apart, in a cell whose shortest vector is {shortest:.3g} A:"
                    " their nearest periodic image may change. Use a supercell of twice the length"
                )


def _check_positions(atoms: Atoms, velocities: np.ndarray) -> None:
    """Raise ValueError if positions do not satisfy the constraints or cannot follow velocities."""
    try:
        still = moved(atoms, np.zeros_like(velocities))
        # without degrees of freedom the velocities are zero but for rounding
        largest = max(np.abs(velocities).max(), NULL)
        step = velocities * (STEP / largest)
        change = moved(atoms, step) - still
    except Exception as error:
        raise ValueError(
            f"constraints ({describe(atoms)}) cannot be used in dynamics:"
            f" {type(error).__name__}: {error}"
        ) from None
    require_satisfied(atoms)
    # curved constraints, such as bond lengths, change the step to second order
    if not np.abs(change - step).max() <= 0.01 * STEP:
        _refuse(atoms, "allows velocities that it does not allow the positions to follow")


def _refuse(atoms: Atoms, failure: str) -> None:
    one = len(atoms.constraints) == 1
    name = type(atoms.constraints[0]).__name__
    whose = f"constraint {name}" if one else f"the combination of constraints ({describe(atoms)})"
    raise ValueError(
        f"{whose} cannot be used in dynamics: as ASE applies it, it {failure}. Constraints of"
        " separate atoms can be combined; FixAtoms, FixCartesian, FixedPlane, FixedLine, FixCom,"
        " FixBondLengths and FixSymmetry work alone"
    )


def redistributes(atoms: Atoms) -> bool:
    """Whether ASE shares out the forces of a constraint before it applies it.

    Parameters
    ----------
    atoms:
        Structure.
    """
    return any(isinstance(constraint, FixLinearTriatomic) for constraint in atoms.constraints)


def _sharing(atoms: Atoms, constraints: list[Any]) -> Atoms:
    """Copy of a structure with some of its constraints, which are not copied."""
    free: Atoms = atoms.copy()
    free.set_constraint(list(constraints))
    return free


def _groups(atoms: Atoms) -> np.ndarray:
    """(n,) label of the group of each atom; constraints couple no atoms of different groups."""
    number = len(atoms)
    everything = np.arange(number)
    links = [np.empty((0, 2), dtype=int)]
    for constraint in atoms.constraints:
        if isinstance(constraint, SINGLE_ATOMS):
            continue
        if isinstance(constraint, FixBondLengths):
            links.append(np.asarray(constraint.pairs).reshape(-1, 2))
        elif isinstance(constraint, FixLinearTriatomic):
            links += [constraint.triples[:, :2], constraint.triples[:, 1:]]
        elif isinstance(constraint, FixSymmetry):
            links += [np.column_stack([everything, image]) for image in constraint.symm_map]
        elif isinstance(constraint, FixSubsetCom):
            indices = everything[constraint.index]
            links.append(np.column_stack([indices[:-1], indices[1:]]))
        else:
            # an unknown constraint may couple all atoms
            links.append(np.column_stack([everything[:-1], everything[1:]]))
    pairs = np.concatenate(links) % number  # indices may count from the end
    ones = np.ones(len(pairs), dtype=int)
    graph = coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(number, number))
    return np.asarray(connected_components(graph, directed=False)[1])


def _probes(atoms: Atoms) -> Iterable[np.ndarray]:
    """Momenta (n, 3) that are 1 in one component of one atom of each group of coupled atoms.

    All components of all atoms are 1 in one of them. The response of a group is not disturbed by
    those of the other groups.
    """
    labels = _groups(atoms)
    order = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels)
    starts = np.cumsum(sizes) - sizes
    within = np.empty(len(atoms), dtype=int)  # number of the atom in its group
    within[order] = np.arange(len(atoms)) - np.repeat(starts, sizes)
    if 3 * sizes.max() > MOST_PROBES:
        _refuse(atoms, f"couples {sizes.max()} atoms, too many to count degrees of freedom")
    for member in range(sizes.max()):
        for axis in range(3):
            probe = np.zeros((len(atoms), 3))
            probe[within == member, axis] = 1.0
            yield probe


def _translations(atoms: Atoms) -> np.ndarray:
    """(n, 3, 3) velocities of translations along each axis (last dimension)."""
    return np.broadcast_to(np.eye(3), (len(atoms), 3, 3))


def _rigid(atoms: Atoms, centre: np.ndarray) -> np.ndarray:
    """(n, 3, m) velocities of translations and, without periodicity, rotations about a centre."""
    fields = _translations(atoms)
    if atoms.pbc.any():
        return fields
    arms = atoms.positions - centre
    turns = [np.cross(axis, arms) for axis in np.eye(3)]
    return np.concatenate([fields, np.stack(turns, axis=2)], axis=2)


def _kernel(atoms: Atoms, fields: np.ndarray) -> np.ndarray:
    """(m, k) coefficients of the combinations of velocity fields (n, 3, m) that are allowed."""
    masses = atoms.get_masses()[:, None]
    number = fields.shape[2]
    if not atoms.constraints:
        return np.eye(number)
    # one scale for all of them: columns of their own scales would have other coefficients
    largest = np.abs(masses[:, :, None] * fields).max()
    changes = []
    for column in range(number):
        momenta = masses * fields[:, :, column] / largest
        changes.append((_adjust(atoms, momenta) - momenta).ravel())
    return _null(np.array(changes).T)


def _intersection(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(m, k) basis of the coefficients that are in the spans of both arguments, (m, *)."""
    # what the second span lacks of the first: (1 - S S^T) F c = 0
    outside = first - second @ (second.T @ first)
    return np.asarray(first @ _null(outside))


def _null(matrix: np.ndarray) -> np.ndarray:
    """Orthonormal basis (columns) of the vectors that a matrix maps to zero."""
    if matrix.shape[1] == 0:
        return np.zeros((0, 0))
    # R of matrix = Q R has the same null space, and at most six rows
    small = np.linalg.qr(matrix, mode="r")
    _, sizes, basis = np.linalg.svd(small)
    rank = np.count_nonzero(sizes > NULL)
    return np.asarray(basis[rank:].T)


def _independent(fields: np.ndarray) -> np.ndarray:
    """(k, n, 3) basis of velocity fields (n, 3, m)."""
    flat = fields.reshape(3 * len(fields), fields.shape[2])
    left, sizes, _ = np.linalg.svd(flat, full_matrices=False)
    rank = np.count_nonzero(sizes > NULL * max(sizes.max(initial=0.0), 1e-12))
    return left[:, :rank].T.reshape(rank, len(fields), 3)
