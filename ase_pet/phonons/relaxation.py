"""Relaxation of atoms and cell that keeps the space group."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from ase.constraints import FixSymmetry
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from ase.spacegroup.symmetrize import check_symmetry

TOLERANCE = 1e-3  # A, within which atoms are images of each other


class NotRelaxed(ValueError):
    """No minimum was found, or one of another space group."""


@dataclass(frozen=True)
class Relaxation:
    """What a relaxation found.

    atoms: relaxed, with the calculator and the constraints of the structure that came in; steps of
    the optimiser; energy_change in eV of the structure; largest_force in eV/A without any
    symmetrisation: above `fmax` where the calculator breaks the symmetry of the crystal;
    largest_stress in GPa, None where the cell was fixed; space_group such as "Fd-3m (227)", None
    without symmetry.
    """

    atoms: Atoms
    steps: int
    energy_change: float
    largest_force: float
    largest_stress: float | None
    space_group: str | None

    def as_dict(self):
        """The numbers, with lengths (A), angles (degrees) and volume (A^3) of the cell."""
        names = ("steps", "energy_change", "largest_force", "largest_stress", "space_group")
        return {name: getattr(self, name) for name in names} | {
            "energy": float(self.atoms.get_potential_energy()),
            "cell": [round(float(value), 10) for value in self.atoms.cell.cellpar()],
            "volume": float(abs(np.linalg.det(self.atoms.cell))),
        }


def relax(
    atoms, *, fmax=1e-4, cell=None, symmetry=None, tolerance=TOLERANCE, steps=500, on_step=None
):
    """Relaxation of a copy of the atoms with their calculator.

    fmax: eV/A, largest force, and with the cell also the largest virial in eV per atom. cell: relax
    the cell too.
    symmetry: refine the structure to its space group (within `tolerance`, A) and keep to that; both
    default to whether all three directions are periodic. steps: most steps of the optimiser (BFGS).
    on_step: called with (step, largest force).

    Raises NotRelaxed where fmax is not reached within the steps, or where the space group is
    another one afterwards.
    """
    if atoms.calc is None:
        raise ValueError("`atoms` has no calculator: set `atoms.calc`")
    for name, value in (("fmax", fmax), ("tolerance", tolerance), ("steps", steps)):
        if not value > 0:
            raise ValueError(f"`{name}` is {value!r}: expected a number above 0")
    periodic = bool(atoms.pbc.all())
    cell, symmetry = (periodic if choice is None else choice for choice in (cell, symmetry))
    if (cell or symmetry) and not periodic:
        raise ValueError(
            f"`pbc` is {atoms.pbc.tolist()}: a cell is relaxed, and a space group kept, where all"
            " three directions are periodic; use cell=False and symmetry=False"
        )
    found = atoms.copy()
    found.calc = atoms.calc
    before = found.get_potential_energy()
    group = space_group(found, tolerance) if symmetry else None
    if symmetry:
        found.set_constraint([*found.constraints, FixSymmetry(found, symprec=tolerance)])
    taken = _minimise(FrechetCellFilter(found) if cell else found, fmax, steps, on_step)
    found.set_constraint(atoms.constraints)
    if symmetry and (now := space_group(found, tolerance)) != group:
        raise NotRelaxed(
            f"the space group was {group} and is {now} after the relaxation: start from the relaxed"
            " structure, or relax without symmetry"
        )
    stress = float(np.abs(found.get_stress()).max() / units.GPa) if cell else None
    return Relaxation(
        found,
        taken,
        float(found.get_potential_energy() - before),
        _largest(found.get_forces()),
        stress,
        group,
    )


def space_group(atoms, tolerance=TOLERANCE):
    """Symbol and number of the space group, such as "Fd-3m (227)"."""
    found = check_symmetry(atoms, symprec=tolerance)
    return f"{found.international} ({found.number})"


def _minimise(target, fmax, steps, on_step):
    """Number of steps of the optimiser; raises NotRelaxed where they are not enough."""
    with BFGS(target, logfile=None) as optimiser:
        for _ in optimiser.irun(fmax=fmax, steps=steps):
            force = _largest(target.get_forces())
            if on_step is not None:
                on_step(optimiser.nsteps, force)
        if not force <= fmax:
            raise NotRelaxed(
                f"the largest force is {force:.2g} eV/A after {optimiser.nsteps} steps, and not the"
                f" {fmax:g} that was asked for: start nearer to a minimum, allow more steps, or use"
                " float64"
            )
        return optimiser.nsteps


def _largest(forces):
    return float(np.linalg.norm(np.atleast_2d(forces), axis=1).max())
