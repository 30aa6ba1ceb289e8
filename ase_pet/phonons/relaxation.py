"""Relaxation of atoms and cell that keeps the space group."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.constraints import FixSymmetry
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from .. import constraints as meaning
from ..display import Displayed
from . import _numbers
from ._folder import Record
from ._setting import plane_mask, require_cell, restore_cell, right_handed, vacuum_axis, with_vacuum
from ._symmetry import TOLERANCE, Group, group_of, refine, space_group, tolerance_of

__all__ = ["TOLERANCE", "NotRelaxed", "Relaxation", "relax", "space_group"]

PASSES = 4  # relaxations, each within the space group that the one before has reached
# relaxations of ASE go back and forth between two structures where these are violated at the start
PARAMETRIC = {"FixScaledParametricRelations", "FixCartesianParametricRelations"}
# Constraints that stay meaningful where the cell changes: the atoms move with it.
MOVE_WITH_THE_CELL = (
    "FixAtoms",
    "FixCartesian",
    "FixScaled",
    "FixedPlane",
    "FixedLine",
    "FixCom",
    "FixSubsetCom",
    "FixSymmetry",
    "FixScaledParametricRelations",
)

OnStep = Callable[[int, float], object]


class NotRelaxed(ValueError):
    """The optimiser did not converge, or the space group has lost operations."""


@dataclass(frozen=True, repr=False)
class Relaxation(
    Displayed,
    shows={
        "atoms": "{}",
        "space_group": "{}",
        "steps": "{}",
        "energy_change": "{} eV",
        "largest_force": "{} eV/A",
        "largest_stress": "{} GPa",
        "pressure": "{} GPa",
    },
):
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
        Largest force in eV/A of the calculator, neither symmetrised nor constrained: it is above
        `fmax` if the calculator breaks the symmetry of the crystal, or if constraints hold atoms.
    largest_stress:
        Largest deviation of a stress component from the pressure in GPa, None if the cell was fixed
        or is that of a layer.
    space_group:
        Such as "Fd-3m (227)", None unless there are three or two periodic directions.
    initial_space_group:
        That of the initial structure.
    pressure:
        Pressure in GPa.
    within_symmetry:
        Whether the space group was kept: the forces that converged are those within it.
    """

    atoms: Atoms
    steps: int
    energy_change: float
    largest_force: float
    largest_stress: float | None
    space_group: str | None
    initial_space_group: str | None = None
    pressure: float = 0.0
    within_symmetry: bool = False

    @property
    def symmetry_change(self) -> str | None:
        """Sentence that says how the space group has changed, None if it has not."""
        if self.space_group == self.initial_space_group:
            return None
        return f"the space group was {self.initial_space_group} and is {self.space_group} now"

    def as_dict(self) -> dict[str, Any]:
        """The numbers, with lengths (A), angles (degrees), volume (A^3) or area (A^2) of the cell.

        They are None where they have no meaning. "converged": the forces that constraints and, if
        "converged_within_symmetry", the space group leave are below `fmax`; "largest_force" is that
        of the calculator alone.
        """
        names = (
            "steps",
            "energy_change",
            "largest_force",
            "largest_stress",
            "space_group",
            "initial_space_group",
            "pressure",
        )
        cell = self.atoms.cell
        crystal = bool(self.atoms.pbc.all())
        axis = vacuum_axis(self.atoms)
        area = None
        if axis is not None:
            area = float(np.linalg.norm(np.cross(*np.delete(cell.array, axis, axis=0))))
        return {
            "converged": True,
            "converged_within_symmetry": self.within_symmetry,
            **{name: getattr(self, name) for name in names},
            "energy": float(self.atoms.get_potential_energy()),
            "cell": [round(float(value), 10) for value in cell.cellpar()] if cell.any() else None,
            "volume": float(abs(np.linalg.det(cell))) if crystal else None,
            "area": area,
        }


def relax(
    atoms: Atoms,
    *,
    fmax: float = 1e-4,
    cell: bool | None = None,
    symmetry: bool | None = None,
    tolerance: float | None = None,
    steps: int = 500,
    pressure: float = 0.0,
    record: Path | str | None = None,
    on_step: OnStep | None = None,
) -> Relaxation:
    """Relaxation of a copy of the atoms.

    Layers, periodic in two directions, are relaxed in their plane. A structure that gains symmetry
    is relaxed on within its new space group. Constraints on positions are kept, and switch off the
    symmetry; if the cell is relaxed, the atoms that they hold move with it (their fractional
    coordinates stay), and constraints on lengths are refused.

    Parameters
    ----------
    atoms:
        Structure with its calculator.
    fmax:
        Largest force in eV/A and, if the cell is relaxed, largest virial in eV per atom.
    cell:
        Relax the cell as well; None: if three or two directions are periodic.
    symmetry:
        Refine the structure to its space group and keep it; None: if three or two directions are
        periodic and no constraint holds an atom.
    tolerance:
        Tolerance of the space group in A; None: 0.001, or what the digits of the coordinates need.
    steps:
        Maximum number of steps of the optimiser (BFGS).
    pressure:
        Pressure in GPa on a cell that is relaxed, positive where it compresses.
    record:
        Folder for relaxed.extxyz and relaxation.traj, which are written at each step and stay if
        the relaxation ends early.
    on_step:
        Function called as on_step(step, largest force) after each step.

    Raises
    ------
    NotRelaxed
        `fmax` is not reached within the steps, or the space group has lost operations.
    ValueError
        An argument is wrong, or the calculator returns NaN.
    """
    if atoms.calc is None:
        raise ValueError("`atoms` has no calculator: set `atoms.calc`")
    require_cell(atoms)
    fmax = _numbers.positive("fmax", fmax, "eV/A")
    steps = _numbers.count("steps", steps)
    pressure = _numbers.pressure(pressure)
    if tolerance is not None:
        tolerance = _numbers.between("tolerance", tolerance, 1e-8, 1.0, "A")
    relax_cell, keep_symmetry = _choices(atoms, cell, symmetry, pressure)

    # a setting that spglib and the filter of the cell understand; it is undone at the end
    relaxed = right_handed(with_vacuum(atoms))
    if keep_symmetry and tolerance is None:
        tolerance = tolerance_of(relaxed) if atoms.pbc.all() else TOLERANCE
    tolerance = TOLERANCE if tolerance is None else tolerance
    energy_before = relaxed.get_potential_energy()
    _numbers.require_finite("an energy", energy_before, "at the start")
    initial = _group(relaxed, tolerance, keep_symmetry)
    with Record(record, atoms) as files:
        job = _Job(relaxed, fmax, steps, pressure if relax_cell else None, files, on_step)
        group = _relax_in_groups(job, tolerance, initial if keep_symmetry else None)
        if not keep_symmetry:
            group = _group(relaxed, tolerance, required=False)
        stress = None
        if relax_cell and atoms.pbc.all():
            stress = _deviation(relaxed, pressure)
        relaxed.set_constraint(atoms.constraints)
        files.structure(relaxed, converged=True)
    restore_cell(relaxed, atoms)
    return Relaxation(
        atoms=relaxed,
        steps=job.steps_made,
        energy_change=float(relaxed.get_potential_energy() - energy_before),
        largest_force=_largest_force(meaning.true_forces(relaxed)),
        largest_stress=stress,
        space_group=None if group is None else group.name,
        initial_space_group=None if initial is None else initial.name,
        pressure=pressure,
        within_symmetry=keep_symmetry,
    )


def _choices(
    atoms: Atoms, cell: bool | None, symmetry: bool | None, pressure: float
) -> tuple[bool, bool]:
    """Whether to relax the cell, and whether to keep the space group."""
    # a layer has a cell, which is relaxed in its plane, and a space group with its vacuum
    periodic = bool(atoms.pbc.all()) or vacuum_axis(atoms) is not None
    names = {type(constraint).__name__ for constraint in atoms.constraints}
    held = bool(names - {"FixSymmetry", "FixCom"})
    relax_cell = periodic if cell is None else cell
    keep_symmetry = (periodic and not held) if symmetry is None else symmetry
    if (relax_cell or keep_symmetry) and not periodic:
        raise ValueError(
            f"`pbc` is {atoms.pbc.tolist()}: a cell is relaxed, and a space group kept, where all"
            " three directions are periodic, or two; use cell=False and symmetry=False"
        )
    if pressure and not (relax_cell and atoms.pbc.all()):
        raise ValueError(
            f"`pressure` is {pressure:g} GPa: it needs a cell of three periodic directions that is"
            " relaxed"
        )
    if names & PARAMETRIC:
        meaning.require_satisfied(atoms)
    described = meaning.describe(atoms)
    if keep_symmetry and held:
        raise ValueError(
            f"the structure has constraints ({described}), which hold atoms that symmetry would"
            " move: remove them, or use no symmetry (--no-symmetry)"
        )
    others = sorted(names - set(MOVE_WITH_THE_CELL))
    if relax_cell and others:
        raise ValueError(
            f"constraints of the structure ({', '.join(others)}) do not allow to relax the cell,"
            " which changes what they fix: keep the cell (cell=False, --no-cell), or remove them"
        )
    if relax_cell and held:
        warnings.warn(
            f"the cell is relaxed, and the atoms that constraints hold ({described}) move with it:"
            " their fractional coordinates stay; --no-cell keeps the cell",
            stacklevel=3,
        )
    return relax_cell, keep_symmetry


@dataclass
class _Job:
    """What each pass of a relaxation shares."""

    atoms: Atoms
    fmax: float
    steps: int
    pressure: float | None  # GPa; None: the cell stays
    files: Record
    on_step: OnStep | None
    steps_made: int = 0

    def minimise(self) -> None:
        """Relax the atoms within their constraints; raises NotRelaxed if the steps do not do."""
        target: Any = self.atoms
        if self.pressure is not None:
            axis = vacuum_axis(self.atoms)
            mask = None if axis is None else plane_mask(self.atoms, axis)
            pressure = self.pressure * units.GPa
            target = FrechetCellFilter(self.atoms, mask=mask, scalar_pressure=pressure)
        before = self.steps_made
        force = np.inf  # largest norm of the rows (n, 3) of atoms, and (3, 3) of a cell
        with BFGS(target, logfile=None) as optimiser:
            try:
                for _ in optimiser.irun(fmax=self.fmax, steps=self.steps - before):
                    self.steps_made = before + optimiser.nsteps
                    force = self._look(target)
            except RuntimeError as error:
                if "FixSymmetry" not in str(error):
                    raise
                raise NotRelaxed(
                    f"the cell changes by more than a quarter in step {self.steps_made}: start"
                    " nearer to a minimum, or relax without symmetry (--no-symmetry)"
                ) from None
        if not force <= self.fmax:
            raise NotRelaxed(
                f"not converged: the largest force is {force:.2g} eV/A after {self.steps_made}"
                f" steps, and not the {self.fmax:g} that was asked for: start nearer to a minimum,"
                " allow more steps (--steps), or use float64"
            )

    def _look(self, target: Any) -> float:
        """Largest force in eV/A of the present structure, which is recorded."""
        forces = target.get_forces()
        energy = self.atoms.get_potential_energy(apply_constraint=False)
        # the next step would be made of NaN, and the record keeps the last sound structure
        where = f"at step {self.steps_made} of the relaxation"
        _numbers.require_finite("an energy", energy, where)
        _numbers.require_finite("forces or a stress", forces, where)
        self.files.step(self.atoms)
        force = _largest_force(forces)
        if self.on_step is not None:
            self.on_step(self.steps_made, force)
        return force


def _relax_in_groups(job: _Job, tolerance: float, group: Group | None) -> Group | None:
    """Relax within a space group, then within any larger one that is reached; the last one."""
    own = job.atoms.constraints
    if group is None:
        job.minimise()
        return None
    # ours replaces that of the user, which was made of the same structure
    own = [constraint for constraint in own if not isinstance(constraint, FixSymmetry)]
    for _ in range(PASSES):
        job.atoms.set_constraint([*own, refine(job.atoms, tolerance)])
        job.minimise()
        # the next group, and the forces of the result, are those of the structure alone
        job.atoms.set_constraint(own)
        reached = group_of(job.atoms, tolerance)
        if not reached.contains(group):
            raise NotRelaxed(
                f"symmetry was lost: the space group was {group.name} and is {reached.name} after"
                " the relaxation: give a larger tolerance (--symprec), or relax without symmetry"
                " (--no-symmetry)"
            )
        if reached.operations == group.operations:
            break
        group = reached
    return reached


def _group(atoms: Atoms, tolerance: float, required: bool) -> Group | None:
    """Space group of a periodic structure; None for others, or where it is not required."""
    if not atoms.pbc.all() and vacuum_axis(atoms) is None:
        return None
    try:
        return group_of(atoms, tolerance)
    except ValueError:
        if required:
            raise
        return None


def _deviation(atoms: Atoms, pressure: float) -> float:
    """Largest |stress + pressure| of a component in GPa."""
    stress = atoms.get_stress(apply_constraint=False) / units.GPa
    target = -pressure * np.array([1, 1, 1, 0, 0, 0])
    return float(np.abs(stress - target).max())


def _largest_force(forces: np.ndarray) -> float:
    """Largest norm of the forces (n, 3)."""
    return float(np.linalg.norm(np.atleast_2d(forces), axis=1).max())
