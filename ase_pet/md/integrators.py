"""Integrators of ASE for the ensembles, and the energies that they conserve."""

from ase import units
from ase.md.bussi import Bussi
from ase.md.langevin import Langevin
from ase.md.nose_hoover_chain import MTKNPT, IsotropicMTKNPT, NoseHooverChainNVT
from ase.md.verlet import VelocityVerlet

from .momenta import freedoms
from .multiple_time_step import MultipleTimeStep


def integrator(atoms, settings, rng, fast=None):
    """The MolecularDynamics object of ASE for these settings; `rng` is the generator of its
    thermostat.

    Raises ValueError where the structure does not allow the ensemble.
    """
    if (fast is None) != (settings.multiple == 1):
        raise ValueError(
            f"`multiple` is {settings.multiple}: above 1 it needs a calculator `fast`, and that"
            " needs it"
        )
    if fast is not None:
        return MultipleTimeStep(atoms, settings.timestep * units.fs, fast, settings.multiple)
    return {"nve": _nve, "nvt": _nvt, "npt": _npt}[settings.ensemble](atoms, settings, rng)


def thermostat_of(settings):
    """Name of the thermostat that a run has, None for nve."""
    return {"nve": None, "nvt": settings.thermostat, "npt": "nose-hoover"}[settings.ensemble]


def conserved_energy(dynamics):
    """eV, the energy that the dynamics conserves, None where there is none (Langevin) or ASE cannot
    tell.

    Total energy of velocity Verlet; less what the thermostat gave (Bussi); with the energies of the
    chains and the work of the pressure (Nose-Hoover, MTK): those of ASE need a calculator with
    `free_energy`.
    """
    if hasattr(dynamics, "get_conserved_energy"):
        return _chain_energy(dynamics)
    if isinstance(dynamics, Langevin):
        return None
    return float(dynamics.atoms.get_total_energy()) - getattr(dynamics, "transferred_energy", 0.0)


def _chain_energy(dynamics):
    try:
        return float(dynamics.get_conserved_energy())
    except NotImplementedError:
        return None


def _nve(atoms, settings, rng):
    return VelocityVerlet(atoms, settings.timestep * units.fs)


def _nvt(atoms, settings, rng):
    step, time = settings.timestep * units.fs, settings.thermostat_time * units.fs
    if settings.thermostat == "langevin":
        return Langevin(
            atoms, step, temperature_K=settings.temperature, friction=1 / time, fixcm=False, rng=rng
        )
    count = freedoms(atoms)
    if settings.thermostat == "bussi":
        if not atoms.get_kinetic_energy() > 0:
            raise ValueError(
                "`thermostat` 'bussi' scales velocities, and all are zero: use momenta='draw' with"
                " a `start_temperature` above 0"
            )
        dynamics = Bussi(atoms, step, settings.temperature, time, rng=rng)
        # ASE counts the net momentum as a degree of freedom, which would heat the others.
        dynamics.ndof, dynamics.target_kinetic_energy = (
            count,
            0.5 * count * units.kB * settings.temperature,
        )
        return dynamics
    dynamics = NoseHooverChainNVT(atoms, step, settings.temperature, time)
    dynamics._thermostat._num_atoms_global = count / 3  # for the same reason
    return dynamics


def _npt(atoms, settings, rng):
    if not atoms.pbc.all() or atoms.cell.rank < 3:
        raise ValueError(
            "`ensemble` 'npt' needs a cell that is periodic in three directions, got pbc "
            f"{atoms.pbc.tolist()} and a cell of rank {atoms.cell.rank}"
        )
    if atoms.constraints:
        raise ValueError(
            "`ensemble` 'npt' of atoms with constraints: the integrators of ASE do not take them"
        )
    kind = {"isotropic": IsotropicMTKNPT, "full": MTKNPT}[settings.barostat]
    dynamics = kind(
        atoms,
        settings.timestep * units.fs,
        settings.temperature,
        settings.pressure * units.GPa,
        settings.thermostat_time * units.fs,
        settings.barostat_time * units.fs,
    )
    for part in (dynamics, dynamics._thermostat):  # the net momentum is no degree of freedom
        part._num_atoms_global = freedoms(atoms) / 3
    return dynamics
