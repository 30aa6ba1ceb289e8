"""Multiple time steps (r-RESPA): many steps with cheap forces per evaluation of the full forces."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.md.md import MolecularDynamics

from ._protocols import AseCalculator


class MultipleTimeStep(MolecularDynamics):
    """Velocity Verlet with cheap forces, corrected by the full forces every M time steps.

    One `step()` is M time steps d, with F the forces of `atoms.calc`, evaluated once per step:

        p += M d/2 (F - F_fast)
        M steps of velocity Verlet with F_fast and time step d
        p += M d/2 (F - F_fast)

    M = 1 is velocity Verlet with F. The integrator is reversible and of second order in M d. If
    F_fast is not the gradient of an energy (a head of direct forces), the corrections cancel its
    work to that order, and the energy of `atoms.calc` does not drift as it does with F_fast alone.
    `dt` is M d.

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
    NotImplementedError
        The atoms have constraints.
    """

    def __init__(
        self,
        atoms: Atoms,
        timestep: float,
        fast: AseCalculator,
        multiple: int,
        **options: Any,
    ) -> None:
        if multiple < 1 or multiple != int(multiple):
            raise ValueError(
                f"`multiple` is {multiple!r}: expected a whole number of time steps, 1 or more"
            )
        if atoms.constraints:
            raise NotImplementedError("multiple time steps of atoms with constraints: remove them")
        super().__init__(atoms, multiple * timestep, **options)
        self.timestep = timestep
        self.multiple = int(multiple)
        self.fast = fast
        # a copy, so that neither calculator sees the cached results of the other
        self._copy = atoms.copy()
        self._copy.calc = fast

    def todict(self) -> dict[str, Any]:
        """Description of the integrator that ASE writes into a trajectory."""
        description = super().todict()  # type: ignore[no-untyped-call]
        return {**description, "multiple": self.multiple}

    def step(self) -> None:
        """Advance the atoms by M time steps."""
        half = self.timestep / 2
        outer_half = self.multiple * half
        masses = self.masses  # (n, 1)
        momenta = self.atoms.get_momenta()
        positions = self.atoms.get_positions()
        fast = self._fast_forces(positions)
        # first correction: the forces of the last step are still cached by the calculator
        forces = self.atoms.get_forces(md=True)
        slow = forces - fast
        momenta += outer_half * slow
        for _ in range(self.multiple):
            momenta += half * fast
            positions += self.timestep * momenta / masses
            fast = self._fast_forces(positions)
            momenta += half * fast
        self.atoms.set_positions(positions)
        # second correction, with the forces at the new positions
        forces = self.atoms.get_forces(md=True)
        slow = forces - fast
        momenta += outer_half * slow
        self.atoms.set_momenta(momenta)

    def _fast_forces(self, positions: np.ndarray) -> np.ndarray:
        self._copy.set_positions(positions)
        self._copy.info = self.atoms.info  # the total charge may have been set in the meantime
        return np.asarray(self._copy.get_forces(md=True))
