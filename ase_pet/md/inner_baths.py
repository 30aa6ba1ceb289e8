"""Thermostats and barostats around inner steps with cheap forces (r-RESPA).

All of them sample the ensemble of the energy of `atoms.calc`: the cheap forces only decide how the
time between two evaluations of it is crossed. Each step is a product of exact solutions of parts of
the equations of motion, in a symmetric order but for the rescaling of Bussi's thermostat, as in
ASE.

Sources: thermostats outside of r-RESPA (XO-RESPA) and barostats: Martyna, Tuckerman, Tobias, Klein,
Mol. Phys. 87, 1117 (1996), doi:10.1080/00268979600100761. Langevin (BAOAB): Leimkuhler, Matthews,
Appl. Math. Res. Express 2013, 34, doi:10.1093/amrx/abs010. Energy that such an integrator
conserves: Bussi, Parrinello, Phys. Rev. E 75, 056707 (2007), doi:10.1103/PhysRevE.75.056707.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.md.bussi import Bussi
from ase.md.langevin import Langevin
from ase.md.nose_hoover_chain import MTKNPT, IsotropicMTKNPT, NoseHooverChainNVT

from .multiple_time_step import InnerSteps


class InnerLangevin(InnerSteps, Langevin):
    """Langevin dynamics in the inner steps: B A O A B with the cheap forces, slow forces outside.

    B is a kick for half a time step, A a drift for half a time step, and O the exact solution of
    friction and noise for a time step d:

        p <- c p + sqrt((1 - c^2) m kT) noise,     c = exp(-friction d)

    Attributes
    ----------
    transferred_energy:
        Heat in eV that the thermostat has given to the atoms. Total energy minus this heat is
        conserved as the energy is without a thermostat.
    """

    transferred_energy = 0.0

    def step(self, forces: Any = None) -> None:
        """Advance the atoms by M time steps.

        Parameters
        ----------
        forces:
            Ignored; part of ASE's interface.
        """
        self.outer_step()

    def inner_step(self, inner: Atoms) -> None:
        """Advance the copy by one time step: B A O A B.

        Parameters
        ----------
        inner:
            Copy of the atoms with the cheap calculator.
        """
        half = self.timestep / 2
        self.kick(inner, half)
        self.drift(inner, half)
        self._exchange(inner)
        self.drift(inner, half)
        self.kick(inner, half)

    def get_conserved_energy(self) -> float:
        """Total energy minus the heat of the thermostat, in eV."""
        return float(self.atoms.get_total_energy() - self.transferred_energy)

    def _exchange(self, inner: Atoms) -> None:
        """Friction and noise of one time step (O)."""
        before = inner.get_kinetic_energy()
        kept = np.exp(-self.fr * self.timestep)
        thermal = self.masses * self.temp  # (n, 1) variances of momenta
        width = np.sqrt((1 - kept**2) * thermal)
        noise = self.rng.standard_normal(size=(len(inner), 3))
        momenta = kept * inner.get_momenta()
        momenta += width * noise
        # constraints are part of the exchange
        inner.set_momenta(momenta)
        heat = inner.get_kinetic_energy() - before
        self.transferred_energy += heat


class InnerBussi(InnerSteps, Bussi):
    """Stochastic velocity rescaling before each outer step, for the time of that step."""

    def step(self, forces: Any = None) -> None:
        """Advance the atoms by M time steps.

        Parameters
        ----------
        forces:
            Ignored; part of ASE's interface.
        """
        self.scale_velocities()  # type: ignore[no-untyped-call]
        self.outer_step()


class InnerNoseHoover(InnerSteps, NoseHooverChainNVT):
    """Nose-Hoover chains for half of an outer step before and after it (XO-RESPA)."""

    def step(self) -> None:
        """Advance the atoms by M time steps."""
        half = self.dt / 2
        momenta = self._thermostat.integrate_nhc(self.atoms.get_momenta(), half)
        # scaled momenta satisfy the constraints as before
        self.atoms.set_momenta(momenta, apply_constraint=False)
        self.outer_step()
        momenta = self._thermostat.integrate_nhc(self.atoms.get_momenta(), half)
        self.atoms.set_momenta(momenta, apply_constraint=False)


class InnerBarostat(InnerSteps):
    """Inner steps of ASE's MTK integrators: positions and cell move with the cheap forces.

    ASE's step is chains, pressure, p(dt/2), q(dt), cell(dt), p(dt/2), pressure, chains. Here
    p(dt/2) is a kick by the slow forces, and q(dt) are the inner steps p(d/2), q(d), cell(d),
    p(d/2). The pressure is that of the full model, and acts in outer steps only, as the cell is
    slow.
    """

    _inside = False  # whether forces are asked for by an inner step

    def _get_forces(self) -> np.ndarray:
        integrator: Any = self
        integrator._update_atoms()
        return self.fast_forces() if self._inside else self.slow_forces()

    def _integrate_p(self, delta: float) -> None:
        integrator: Any = self
        # without the drag of the moving cell, which is part of the inner steps
        integrator._p = integrator._p + delta * self._get_forces()

    def _integrate_q(self, delta: float) -> None:
        whole: Any = super()
        half = self.timestep / 2
        self._inside = True
        for _ in range(self.multiple):
            whole._integrate_p(half)
            whole._integrate_q(self.timestep)
            whole._integrate_q_cell(self.timestep)
            whole._integrate_p(half)
        self._inside = False

    def _integrate_q_cell(self, delta: float) -> None:
        """Nothing: the cell moves in the inner steps."""


class InnerIsotropicMTK(InnerBarostat, IsotropicMTKNPT):
    """Isotropic MTK barostat with inner steps."""


class InnerMTK(InnerBarostat, MTKNPT):
    """MTK barostat of all cell vectors with inner steps."""
