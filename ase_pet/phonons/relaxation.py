"""Relaxation of atoms and cell that keeps the space group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.constraints import FixSymmetry
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from ase.spacegroup.symmetrize import check_symmetry

TOLERANCE = 1e-3  # A: atoms this close to symmetric positions count as symmetric

OnStep = Callable[[int, float], object]


class NotRelaxed(ValueError):
    """The optimiser did not converge, or the space group has changed."""


@dataclass(frozen=True)
class Relaxation:
    """Result of a relaxation.

    Attributes
    ----------
    atoms:
        Relaxed structure, with the calculator and the constraints of the initial one.
    steps:
        Number of steps of the optimiser.
    energy_change:
        Change of the energy of the structure in eV.
    largest_force:
        Largest force in eV/A, without symmetrisation: it is above `fmax` if the calculator breaks
        the symmetry of the crystal.
    largest_stress:
        Largest stress component in GPa, None if the cell was fixed.
    space_group:
        Such as "Fd-3m (227)", None if the symmetry was not used.
    """

    atoms: Atoms
    steps: int
    energy_change: float
    largest_force: float
    largest_stress: float | None
    space_group: str | None

    def as_dict(self) -> dict[str, Any]:
        """The numbers, with lengths (A), angles (degrees) and volume (A^3) of the cell."""
        names = ("steps", "energy_change", "largest_force", "largest_stress", "space_group")
        return {
            **{name: getattr(self, name) for name in names},
            "energy": float(self.atoms.get_potential_energy()),
            "cell": [round(float(value), 10) for value in self.atoms.cell.cellpar()],
            "volume": float(abs(np.linalg.det(self.atoms.cell))),
        }


def relax(
    atoms: Atoms,
    *,
    fmax: float = 1e-4,
    cell: bool | None = None,
    symmetry: bool | None = None,
    tolerance: float = TOLERANCE,
    steps: int = 500,
    on_step: OnStep | None = None,
) -> Relaxation:
    """Relaxation of a copy of the atoms.

    Parameters
    ----------
    atoms:
        Structure with its calculator.
    fmax:
        Largest force in eV/A and, if the cell is relaxed, largest virial in eV per atom.
    cell:
        Relax the cell as well; None: if all three directions are periodic.
    symmetry:
        Refine the structure to its space group and keep it; None: if all three directions are
        periodic.
    tolerance:
        Tolerance of the space group in A.
    steps:
        Maximum number of steps of the optimiser (BFGS).
    on_step:
        Function called as on_step(step, largest force) after each step.

    Raises
    ------
    NotRelaxed
        `fmax` is not reached within the steps, or the space group has changed.
    """
    if atoms.calc is None:
        raise ValueError("`atoms` has no calculator: set `atoms.calc`")
    for name, value in (("fmax", fmax), ("tolerance", tolerance), ("steps", steps)):
        if not value > 0:
            raise ValueError(f"`{name}` is {value!r}: expected a number above 0")
    periodic = bool(atoms.pbc.all())
    relax_cell = periodic if cell is None else cell
    keep_symmetry = periodic if symmetry is None else symmetry
    if (relax_cell or keep_symmetry) and not periodic:
        raise ValueError(
            f"`pbc` is {atoms.pbc.tolist()}: a cell is relaxed, and a space group kept, where all"
            " three directions are periodic; use cell=False and symmetry=False"
        )
    relaxed = atoms.copy()
    relaxed.calc = atoms.calc
    energy_before = relaxed.get_potential_energy()
    group = None
    if keep_symmetry:
        group = space_group(relaxed, tolerance)
        # this also moves the atoms to exactly symmetric positions
        fix = FixSymmetry(relaxed, symprec=tolerance)
        relaxed.set_constraint([*relaxed.constraints, fix])
    target = FrechetCellFilter(relaxed) if relax_cell else relaxed
    steps_made = _minimise(target, fmax, steps, on_step)
    # without FixSymmetry: forces are then those of the calculator, not symmetrised
    relaxed.set_constraint(atoms.constraints)
    if keep_symmetry:
        _require_group(relaxed, tolerance, group)
    stress = None
    if relax_cell:
        stress = float(np.abs(relaxed.get_stress()).max() / units.GPa)
    return Relaxation(
        atoms=relaxed,
        steps=steps_made,
        energy_change=float(relaxed.get_potential_energy() - energy_before),
        largest_force=_largest_force(relaxed.get_forces()),
        largest_stress=stress,
        space_group=group,
    )


def space_group(atoms: Atoms, tolerance: float = TOLERANCE) -> str:
    """Symbol and number of the space group of `atoms` within `tolerance` (A), "Fd-3m (227)"."""
    symmetry = check_symmetry(atoms, symprec=tolerance)
    return f"{symmetry.international} ({symmetry.number})"


def _require_group(atoms: Atoms, tolerance: float, group: str | None) -> None:
    now = space_group(atoms, tolerance)
    if now != group:
        raise NotRelaxed(
            f"the space group was {group} and is {now} after the relaxation: start from the relaxed"
            " structure, or relax without symmetry"
        )


def _minimise(target: Any, fmax: float, steps: int, on_step: OnStep | None) -> int:
    """Number of steps of the optimiser; raises NotRelaxed if they are not enough."""
    with BFGS(target, logfile=None) as optimiser:
        for _ in optimiser.irun(fmax=fmax, steps=steps):
            force = _largest_force(target.get_forces())
            if on_step is not None:
                on_step(optimiser.nsteps, force)
        if not force <= fmax:
            raise NotRelaxed(
                f"the largest force is {force:.2g} eV/A after {optimiser.nsteps} steps, and not the"
                f" {fmax:g} that was asked for: start nearer to a minimum, allow more steps, or use"
                " float64"
            )
        return int(optimiser.nsteps)


def _largest_force(forces: np.ndarray) -> float:
    """Largest norm of the forces (n, 3)."""
    return float(np.linalg.norm(np.atleast_2d(forces), axis=1).max())
