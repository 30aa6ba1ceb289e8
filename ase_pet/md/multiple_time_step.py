"""Multiple time steps (r-RESPA): many steps with cheap forces per evaluation of the full forces."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.md.md import MolecularDynamics

from ._protocols import AseCalculator


class InnerSteps:
    """The part of an integrator that makes M steps with cheap forces inside each of its steps.

    With F the forces of `atoms.calc`, evaluated once per outer step, F_fast the cheap forces, and d
    the time step:

        p += M d/2 (F - F_fast)
        M steps of velocity Verlet with F_fast and time step d
        p += M d/2 (F - F_fast)

    The inner steps are made by a copy of the atoms, so that neither calculator sees the cached
    results of the other. The copy has the constraints of the atoms: each kick is followed by their
    projection of momenta, and each drift by their correction of positions (RATTLE).

    Attributes
    ----------
    timestep:
        d, in ASE's unit of time.
    multiple:
        M.
    fast:
        Calculator of the cheap forces.
    """

    atoms: Atoms
    masses: np.ndarray  # (n, 1)
    timestep: float
    multiple: int
    fast: AseCalculator

    def set_inner(self, timestep: float, fast: AseCalculator, multiple: int) -> None:
        """Set the inner steps; the integrator knows its atoms already.

        Parameters
        ----------
        timestep:
            d, in ASE's unit of time.
        fast:
            Calculator of the cheap forces.
        multiple:
            M, 1 or more.
        """
        self.timestep = timestep
        self.multiple = check_multiple(multiple)
        self.fast = fast
        self._copy = self.atoms.copy()
        self._copy.calc = fast

    def fast_forces(self) -> np.ndarray:
        """(n, 3) cheap forces in eV/A at the positions of the atoms."""
        atoms = self.atoms
        inner = self._copy
        inner.info = atoms.info  # the total charge may have been set in the meantime
        inner.set_cell(atoms.cell, scale_atoms=False, apply_constraint=False)
        inner.set_positions(atoms.positions, apply_constraint=False)
        return np.asarray(inner.get_forces(md=True))

    def slow_forces(self) -> np.ndarray:
        """(n, 3) full minus cheap forces in eV/A at the positions of the atoms."""
        full = self.atoms.get_forces(md=True)
        return np.asarray(full - self.fast_forces())

    def outer_step(self) -> None:
        """Advance the atoms by M time steps, with the slow forces before and after them."""
        atoms = self.atoms
        inner = self._copy
        outer_half = self.multiple * self.timestep / 2
        # the forces of the last step are still cached by both calculators
        slow = self.slow_forces()
        inner.set_momenta(atoms.get_momenta() + outer_half * slow)
        for _ in range(self.multiple):
            self.inner_step(inner)
        # both satisfy the constraints already
        atoms.set_positions(inner.positions, apply_constraint=False)
        momenta = inner.get_momenta()
        slow = self.slow_forces()
        atoms.set_momenta(momenta + outer_half * slow)

    def inner_step(self, inner: Atoms) -> None:
        """Advance the copy by one time step of velocity Verlet.

        Parameters
        ----------
        inner:
            Copy of the atoms with the cheap calculator.
        """
        half = self.timestep / 2
        self.kick(inner, half)
        self.drift(inner, self.timestep)
        self.kick(inner, half)

    def kick(self, inner: Atoms, time: float) -> None:
        """Change the momenta of the copy by the cheap forces.

        Parameters
        ----------
        inner:
            Copy of the atoms with the cheap calculator.
        time:
            How long the forces act.
        """
        forces = inner.get_forces(md=True)
        inner.set_momenta(inner.get_momenta() + time * forces)

    def drift(self, inner: Atoms, time: float) -> None:
        """Move the copy along its momenta.

        Parameters
        ----------
        inner:
            Copy of the atoms.
        time:
            Length of the motion.
        """
        before = inner.get_positions()
        velocities = inner.get_momenta() / self.masses
        inner.set_positions(before + time * velocities)
        if inner.constraints:
            # those of the displacement that the constraints allow
            allowed = inner.get_positions() - before
            inner.set_momenta(self.masses * allowed / time)


class MultipleTimeStep(InnerSteps, MolecularDynamics):
    """Velocity Verlet with cheap forces, corrected by the full forces every M time steps.

    One `step()` is M time steps, see `InnerSteps`. M = 1 is velocity Verlet with the full forces.
    The integrator is reversible and of second order in M d, and conserves the energy of
    `atoms.calc`. If the cheap forces are not the gradient of an energy (a head of direct forces),
    the corrections cancel their work to that order, and the energy does not drift as it does with
    these forces alone. `dt` is M d.

    Source: r-RESPA, Tuckerman, Berne, Martyna, J. Chem. Phys. 97, 1990 (1992),
    doi:10.1063/1.463137; with direct forces of a model: Bigi, Langer, Ceriotti, arXiv:2412.11569.

    Parameters
    ----------
    atoms:
        Structure with the calculator whose energy is to be conserved.
    timestep:
        d, in ASE's unit of time.
    fast:
        Calculator of the cheap forces; it is used on a copy of the atoms.
    multiple:
        M, 1 or more.
    options:
        Further arguments of ASE's MolecularDynamics.

    Raises
    ------
    ValueError
        M is below 1 or not a whole number.
    """

    def __init__(
        self,
        atoms: Atoms,
        timestep: float,
        fast: AseCalculator,
        multiple: int,
        **options: Any,
    ) -> None:
        super().__init__(atoms, check_multiple(multiple) * timestep, **options)
        self.set_inner(timestep, fast, multiple)

    def todict(self) -> dict[str, Any]:
        """Description of the integrator that ASE writes into a trajectory."""
        description = super().todict()  # type: ignore[no-untyped-call]
        return {**description, "multiple": self.multiple}

    def step(self) -> None:
        """Advance the atoms by M time steps."""
        self.outer_step()


def check_multiple(multiple: int) -> int:
    """The number of inner steps; ValueError unless `multiple` is a whole number, 1 or more."""
    if multiple < 1 or multiple != int(multiple):
        raise ValueError(
            f"`multiple` is {multiple!r}: expected a whole number of time steps, 1 or more"
        )
    return int(multiple)
