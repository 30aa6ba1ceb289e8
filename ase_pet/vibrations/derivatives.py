"""Second derivatives of the energy and derivatives of the dipole, exact or by displacements."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import PropertyNotImplementedError

from ..phonons._protocols import Displacement, SupportsBatches, SupportsHessian
from ..phonons.force_constants import forces

# (e/sqrt(amu))^2 in km/mol: N_A / (12 eps_0 c^2), with c in m/s, times 1e-3
KM_PER_MOL = 1e-3 * units._Nav * units._e**2 / (12 * units._eps0 * units._c**2 * units._amu)

OnProgress = Callable[[str, int, "int | None"], object]


@runtime_checkable
class StatesProperties(Protocol):
    """A calculator that says what it computes, as those of ASE do."""

    implemented_properties: Sequence[str]


def second_derivatives(
    atoms: Atoms,
    moving: np.ndarray,
    method: str | None,
    displacement: float,
    report: OnProgress,
) -> tuple[str, np.ndarray]:
    """Method that was used, and the second derivatives (3k, 3k) in eV/A^2.

    Parameters
    ----------
    atoms:
        Structure with its calculator.
    moving:
        (k,) indices of the atoms that move.
    method:
        hessian, displacements, or None: hessian if the calculator has it.
    displacement:
        Displacement in A.
    report:
        Function called as report(stage, steps done, number of steps or None).
    """
    calculator = atoms.calc
    if method != "displacements" and isinstance(calculator, SupportsHessian):
        report("second derivatives", 0, None)
        # some models have forces, but no exact second derivatives
        try:
            return "hessian", _analytic(calculator, atoms, moving)
        except PropertyNotImplementedError as error:
            if method == "hessian":
                raise
            warnings.warn(f"{error}: forces of displaced atoms are used", stacklevel=3)
    return "displacements", _central(atoms, moving, displacement, report)


def _analytic(calculator: Any, atoms: Atoms, moving: np.ndarray) -> np.ndarray:
    """Second derivatives (3k, 3k) by the calculator's `hessian`."""
    size = 3 * len(atoms)
    # x, y and z of each atom that moves
    columns = np.arange(size).reshape(-1, 3)[moving].ravel()
    if "of" in inspect.signature(calculator.hessian).parameters:
        rows = calculator.hessian(atoms, of=moving.tolist())
    else:
        full = np.reshape(calculator.hessian(atoms), (size, size))
        rows = full[columns]
    chosen: np.ndarray = np.array(rows, dtype=float)[:, columns]
    return chosen


def _central(
    atoms: Atoms, moving: np.ndarray, displacement: float, report: OnProgress
) -> np.ndarray:
    """Second derivatives (3k, 3k) by central differences of forces."""
    moves = _moves(moving, displacement)
    all_forces = forces(
        atoms.calc,
        _displaced(atoms, moves),
        [(0, np.zeros(3)), *moves],
        lambda done, total: report("displacements", done, total),
    )
    # without the undisplaced structure: (k, 3, 2 signs, k, 3)
    values = np.array(all_forces[1:])[:, moving].reshape(len(moving), 3, 2, len(moving), 3)
    slopes = (values[:, :, 0] - values[:, :, 1]) / (2 * displacement)
    derivatives: np.ndarray = -slopes.reshape(3 * len(moving), 3 * len(moving))
    return derivatives


def _moves(moving: np.ndarray, displacement: float) -> list[Displacement]:
    """Displaced atom and displacement (3,) in A: for each atom and axis, plus and minus."""
    axes = np.eye(3)
    moves: list[Displacement] = []
    for index in moving:
        for axis in axes:
            moves.append((int(index), displacement * axis))
            moves.append((int(index), -displacement * axis))
    return moves


def _displaced(atoms: Atoms, moves: Sequence[Displacement]) -> list[Atoms]:
    """The structure, and its displaced copies, without constraints."""
    free = atoms.copy()
    free.set_constraint()
    copies = [free]
    for index, shift in moves:
        copy = free.copy()
        copy.positions[index] += shift
        copies.append(copy)
    return copies


def has_dipole(calculator: Any) -> bool:
    """Whether a calculator says that it computes dipoles.

    Parameters
    ----------
    calculator:
        Any ASE calculator.
    """
    return (
        isinstance(calculator, StatesProperties) and "dipole" in calculator.implemented_properties
    )


def infrared_intensities(
    atoms: Atoms, modes: np.ndarray, displacement: float, report: OnProgress
) -> np.ndarray:
    """Infrared intensities (m,) in km/mol, by central differences of the dipole.

    Parameters
    ----------
    atoms:
        Molecule of n atoms with its calculator.
    modes:
        (m, n, 3) Cartesian displacements of modes in A/sqrt(amu).
    displacement:
        Displacement in A.
    report:
        Function called as report(stage, steps done, number of steps or None).
    """
    derivatives = _dipole_derivatives(atoms, displacement, report)
    slopes = modes.reshape(len(modes), -1) @ derivatives  # (m, 3) in e/sqrt(amu)
    intensities: np.ndarray = KM_PER_MOL * (slopes**2).sum(axis=1)
    return intensities


def _dipole_derivatives(atoms: Atoms, displacement: float, report: OnProgress) -> np.ndarray:
    """Derivatives (3n, 3) of the dipole in e by central differences."""
    calculator = atoms.calc
    _, *copies = _displaced(atoms, _moves(np.arange(len(atoms)), displacement))
    if isinstance(calculator, SupportsBatches):
        report("dipoles", 0, None)
        dipoles = [row["dipole"] for row in calculator.evaluate(copies, ("dipole",))]
    else:
        dipoles = []
        for copy in copies:
            dipoles.append(calculator.get_property("dipole", copy))
            report("dipoles", len(dipoles), len(copies))
    # (3n, 2 signs, 3)
    values = np.array(dipoles).reshape(3 * len(atoms), 2, 3)
    slopes: np.ndarray = (values[:, 0] - values[:, 1]) / (2 * displacement)
    return slopes
