"""ASE's integrators for each ensemble, and the energies that they conserve."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms, units
from ase.md.bussi import Bussi
from ase.md.langevin import Langevin
from ase.md.md import MolecularDynamics
from ase.md.nose_hoover_chain import MTKNPT, IsotropicMTKNPT, NoseHooverChainNVT
from ase.md.verlet import VelocityVerlet

from ..constraints import describe, motion
from ._protocols import AseCalculator, SupportsConservedEnergy
from .inner_baths import (
    InnerBussi,
    InnerIsotropicMTK,
    InnerLangevin,
    InnerMTK,
    InnerNoseHoover,
)
from .momenta import degrees_of_freedom
from .multiple_time_step import InnerSteps, MultipleTimeStep
from .settings import Settings


def integrator(
    atoms: Atoms,
    settings: Settings,
    rng: np.random.Generator,
    fast: AseCalculator | None = None,
) -> MolecularDynamics:
    """ASE integrator of the ensemble in the settings.

    Parameters
    ----------
    atoms:
        Structure with its calculator.
    settings:
        Settings of the run.
    rng:
        Random number generator of the thermostat.
    fast:
        Calculator of cheap forces, for `multiple` time steps above 1.

    Raises
    ------
    ValueError
        The structure does not allow the ensemble.
    """
    if (fast is None) != (settings.multiple == 1):
        # each of them needs the other
        raise ValueError(
            f"`multiple` is {settings.multiple}: above 1 it needs a calculator `fast` (or `inner`),"
            " and that needs it (or `inner_steps`)"
        )
    if fast is None:
        return _without_inner(atoms, settings, rng)
    dynamics = _with_inner(atoms, settings, rng, fast)
    if isinstance(dynamics, InnerSteps) and not isinstance(dynamics, MultipleTimeStep):
        dynamics.set_inner(settings.timestep * units.fs, fast, settings.multiple)
    return dynamics


def _without_inner(atoms: Atoms, settings: Settings, rng: np.random.Generator) -> MolecularDynamics:
    """Integrator that evaluates all forces at each step."""
    timestep = settings.timestep * units.fs
    if settings.ensemble == "npt":
        kind = {"isotropic": IsotropicMTKNPT, "full": MTKNPT}[settings.barostat]
        return _npt(atoms, settings, kind, timestep)
    if settings.ensemble == "nve":
        return VelocityVerlet(atoms, timestep)
    if settings.thermostat == "langevin":
        return _langevin(atoms, settings, rng, Langevin, timestep)
    if settings.thermostat == "bussi":
        return _bussi(atoms, settings, rng, Bussi, timestep)
    chains = NoseHooverChainNVT
    if atoms.constraints:
        chains = ConstrainedNoseHoover
    return _nose_hoover(atoms, settings, chains, timestep)


def _with_inner(
    atoms: Atoms, settings: Settings, rng: np.random.Generator, fast: AseCalculator
) -> MolecularDynamics:
    """Integrator whose steps are `multiple` inner steps, which but for nve must still be set."""
    timestep = settings.timestep * units.fs
    outer = settings.multiple * timestep
    if settings.ensemble == "npt":
        kind = {"isotropic": InnerIsotropicMTK, "full": InnerMTK}[settings.barostat]
        return _npt(atoms, settings, kind, outer)
    if settings.ensemble == "nve":
        return MultipleTimeStep(atoms, timestep, fast, settings.multiple)
    if settings.thermostat == "langevin":
        if motion.redistributes(atoms):
            raise ValueError(
                "`multiple` time steps with `thermostat` 'langevin' do not support the constraint"
                " FixLinearTriatomic: use thermostat 'bussi', or multiple=1"
            )
        return _langevin(atoms, settings, rng, InnerLangevin, outer)
    if settings.thermostat == "bussi":
        return _bussi(atoms, settings, rng, InnerBussi, outer)
    return _nose_hoover(atoms, settings, InnerNoseHoover, outer)


class ConstrainedNoseHoover(NoseHooverChainNVT):
    """Nose-Hoover chains of atoms with constraints: chains, velocity Verlet (RATTLE), chains.

    ASE's class keeps positions and momenta of its own, to which it applies no constraints: fixed
    atoms gather kinetic energy, and the chains cool the others.
    """

    def step(self) -> None:
        """Advance the atoms by one time step."""
        half = self.dt / 2
        momenta = self._thermostat.integrate_nhc(self.atoms.get_momenta(), half)
        # scaled momenta satisfy the constraints as before
        self.atoms.set_momenta(momenta, apply_constraint=False)
        VelocityVerlet.step(self)  # type: ignore[arg-type]  # uses `atoms` and `dt` only
        momenta = self._thermostat.integrate_nhc(self.atoms.get_momenta(), half)
        self.atoms.set_momenta(momenta, apply_constraint=False)


def thermostat_name(settings: Settings) -> str | None:
    """Name of the thermostat used by a run with these `settings`, None for nve."""
    return {"nve": None, "nvt": settings.thermostat, "npt": "nose-hoover"}[settings.ensemble]


def conserved_energy(dynamics: MolecularDynamics) -> float | None:
    """Energy in eV that the integrator conserves, None if there is none or ASE cannot compute it.

    Velocity Verlet conserves the total energy; Bussi the total energy minus that transferred by the
    thermostat; Nose-Hoover and MTK add the energies of the chains and the work of the pressure, for
    which ASE needs a calculator with `free_energy`. Langevin dynamics conserves none, unless it has
    inner steps, which count the heat of the thermostat.

    Parameters
    ----------
    dynamics:
        ASE integrator with its atoms.
    """
    if isinstance(dynamics, SupportsConservedEnergy):
        try:
            return float(dynamics.get_conserved_energy())
        except NotImplementedError:  # the calculator has no `free_energy`
            return None
    if isinstance(dynamics, Langevin):
        return None
    total = float(dynamics.atoms.get_total_energy())
    transferred = dynamics.transferred_energy if isinstance(dynamics, Bussi) else 0.0
    return float(total - transferred)


def _langevin(
    atoms: Atoms, settings: Settings, rng: np.random.Generator, kind: type[Langevin], step: float
) -> Langevin:
    return kind(
        atoms,
        step,
        temperature_K=settings.first_temperature,
        friction=1 / (settings.thermostat_time * units.fs),
        fixcm=False,
        rng=rng,
    )


# ASE counts conserved momenta as degrees of freedom, so a thermostat would heat the others, and it
# counts some constraints wrongly: the following thermostats are given the correct number.


def _bussi(
    atoms: Atoms, settings: Settings, rng: np.random.Generator, kind: type[Bussi], step: float
) -> Bussi:
    if not atoms.get_kinetic_energy() > 0:
        raise ValueError(
            "`thermostat` 'bussi' scales velocities, and all are zero: use momenta='draw' with"
            " a `start_temperature` above 0"
        )
    count = degrees_of_freedom(atoms)
    kelvin = settings.first_temperature
    relaxation_time = settings.thermostat_time * units.fs
    # ASE's count fails for some constraints, so the constructor sees none
    kept = atoms.constraints
    atoms.set_constraint()
    bussi = kind(atoms, step, kelvin, relaxation_time, rng=rng)
    atoms.set_constraint(kept)
    bussi.ndof = count
    bussi.target_kinetic_energy = 0.5 * count * units.kB * kelvin
    return bussi


def _nose_hoover(
    atoms: Atoms, settings: Settings, kind: type[NoseHooverChainNVT], step: float
) -> NoseHooverChainNVT:
    count = degrees_of_freedom(atoms)
    kelvin = settings.first_temperature
    relaxation_time = settings.thermostat_time * units.fs
    chain = kind(atoms, step, kelvin, relaxation_time)
    # ASE takes this attribute times 3 as the number of degrees of freedom
    chain._thermostat._num_atoms_global = count / 3  # type: ignore[assignment]
    # the mass that gives the relaxation time follows from that number, too
    chain._thermostat._Q[0] = count * units.kB * kelvin * relaxation_time**2
    return chain


def _npt(atoms: Atoms, settings: Settings, kind: Any, step: float) -> MolecularDynamics:
    if not atoms.pbc.all() or atoms.cell.rank < 3:
        raise ValueError(
            "`ensemble` 'npt' needs a cell that is periodic in three directions, got pbc "
            f"{atoms.pbc.tolist()} and a cell of rank {atoms.cell.rank}"
        )
    if atoms.constraints:
        raise ValueError(
            f"`ensemble` 'npt' does not support constraints ({describe(atoms)}): use 'nvt' or"
            " 'nve', or remove them"
        )
    dynamics: Any = kind(
        atoms,
        step,
        settings.first_temperature,
        settings.pressure * units.GPa,
        settings.thermostat_time * units.fs,
        settings.barostat_time * units.fs,
    )
    # the conserved net momentum is not a degree of freedom
    for part in (dynamics, dynamics._thermostat):
        part._num_atoms_global = degrees_of_freedom(atoms) / 3
    integrator: MolecularDynamics = dynamics
    return integrator
