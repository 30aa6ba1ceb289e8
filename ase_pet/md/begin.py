"""What a run begins with: examination of the structure, its start, momenta and integrator."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.md.md import MolecularDynamics

from ..constraints import describe, motion
from . import folders
from . import state as states
from ._protocols import AseCalculator
from .integrators import integrator, thermostat_name
from .momenta import degrees_of_freedom, remove_conserved, thermalise
from .outputs import TEXT, TRAJECTORY
from .settings import Settings

# names that other programs give to velocities, in files that ASE reads without a unit
VELOCITIES = ("vel", "velo", "velocity", "velocities", "v")
CHANGED_MOMENTA = 1e-6  # relative
NET_MOTION = 1e-3  # of the kinetic energy


@dataclasses.dataclass(frozen=True)
class Stage:
    """One part of a run, in a folder of its own.

    Attributes
    ----------
    settings:
        Settings of this part.
    atoms:
        Structure with its calculator.
    folder:
        Folder of this part.
    description:
        Content of its settings.toml.
    start:
        Structure at the beginning of the whole run.
    fast:
        Calculator of cheap forces, or None.
    stream:
        Number of the stream of random numbers of the thermostat.
    """

    settings: Settings
    atoms: Atoms
    folder: Path
    description: folders.Description
    start: states.State
    fast: AseCalculator | None
    stream: int = 1

    def dynamics(self, state: states.State | None) -> MolecularDynamics:
        """Integrator, after the atoms were put into a `state` or given initial momenta."""
        settings = self.settings
        atoms = self.atoms
        equilibrated = settings.equilibrate > 0
        draws = settings.momenta == "draw" and not equilibrated
        if state is not None:
            states.place(atoms, state)
        elif draws:
            temperature = settings.start_temperature
            if temperature is None:
                temperature = settings.first_temperature
            thermalise(atoms, temperature, np.random.default_rng([settings.seed, 0]))
        # momenta have stream 0: noise must not repeat what drew them
        rng = np.random.default_rng([settings.seed, self.stream])
        return integrator(atoms, settings, rng, self.fast)


def check(atoms: Atoms, settings: Settings) -> None:
    """Raise ValueError if a structure does not allow a run.

    Parameters
    ----------
    atoms:
        Structure with its calculator.
    settings:
        Settings of the run.
    """
    if atoms.calc is None:
        raise ValueError("`atoms` have no calculator: set `atoms.calc`")
    if len(atoms) == 0:
        raise ValueError("`atoms` is empty")
    _check_numbers(atoms)
    if settings.momenta == "keep" and not atoms.has("momenta"):
        names = [name for name in VELOCITIES if name in atoms.arrays]
        found = ", ".join(f"`{name}`" for name in names)
        reason = f": it has {found}, whose unit is not known" if names else ""
        raise ValueError(
            f"`momenta` is 'keep', but the structure has no momenta{reason}. Store them with ASE's"
            " `atoms.set_velocities` or `set_momenta`, or use momenta='draw'"
        )
    if settings.resolve is not None:
        _warn_of_interval(settings, settings.resolve)


def start(
    folder: Path, atoms: Atoms, settings: Settings, state: states.State | None
) -> states.State:
    """Structure at the beginning of the run; a new run is refused if nothing in it can move.

    Parameters
    ----------
    folder:
        Folder of the run.
    atoms:
        Structure; momenta that are kept are changed to those that the constraints allow.
    settings:
        Settings of the run.
    state:
        First state of the run to be continued, None for a new run.

    Raises
    ------
    ValueError
        The run cannot begin, or the structure is not that of the run to be continued.
    """
    if state is not None:
        keeps = settings.momenta == "keep"
        folders.compare_start(folder, atoms, state, keeps)
        names = [name for name in state if name.startswith(states.START)]
        return {name: state[name] for name in names}
    motion.check(atoms)
    _check_motion(atoms, settings)
    given = states.structure(atoms, states.START)
    if settings.momenta == "keep":
        _keep_allowed(atoms)
        _examine_net_motion(atoms, thermostat_name(settings))
    return given


def note_changed_outputs(folder: Path, settings: Settings, state: states.State) -> None:
    """Warn if a run that goes on writes its files in another way than before.

    Parameters
    ----------
    folder:
        Folder of the run, with the settings of before.
    settings:
        Settings from now on.
    state:
        State of the run.
    """
    done = states.steps_done(state)
    if settings.steps <= done:
        return  # nothing more is written
    before = folders.read(folder)["settings"]
    changes = []
    for name in ("interval", "thermo_interval"):
        now = getattr(settings, name)
        if before.get(name, now) != now:
            changes.append(f"`{name}` changes from {before[name]} to {now}")
    if settings.extxyz != before.get("extxyz", settings.extxyz):
        verb = "begins" if settings.extxyz else "ends"
        changes.append(f"{TEXT} {verb} there, unlike {TRAJECTORY}")
    if changes:
        warnings.warn(
            f"the run in {folder} goes on from step {done}: {'; '.join(changes)}", stacklevel=3
        )


def initialise_constraints(atoms: Atoms, state: states.State | None) -> None:
    """Initialise constraints where the run began: at the start of a state, else where atoms are.

    Bond lengths that are read from later positions would differ in their last digits.

    Parameters
    ----------
    atoms:
        Structure whose constraints are initialised.
    state:
        First state of the run to be continued, None for a new run.
    """
    if not atoms.constraints:
        return
    if state is None or states.START + "positions" not in state:
        motion.initialise(atoms)
        return
    here = states.structure(atoms, states.ATOMS)
    states.move(atoms, state, states.START)
    try:
        motion.initialise(atoms)
    finally:
        states.move(atoms, here, states.ATOMS)


def _check_numbers(atoms: Atoms) -> None:
    """Raise ValueError for masses, positions, momenta or a cell that dynamics cannot use."""
    masses = atoms.get_masses()
    bad = np.flatnonzero(~(np.isfinite(masses) & (masses > 0)))
    if len(bad):
        index = int(bad[0])
        raise ValueError(
            f"the mass of atom {index} ({atoms.symbols[index]}) is {masses[index]}: expected a"
            " number above 0"
        )
    quantities = {
        "positions": atoms.positions,
        "momenta": atoms.get_momenta(),
        "cell": atoms.cell.array,
    }
    for name, values in quantities.items():
        rows = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(rows):
            raise ValueError(
                f"`{name}` of the structure: row {rows[0]} is {values[rows[0]].tolist()}, expected"
                " finite numbers"
            )


def _check_motion(atoms: Atoms, settings: Settings) -> None:
    """Raise ValueError if nothing moves, or nothing that a thermostat could heat."""
    kinds = describe(atoms)
    if motion.count(atoms) == 0:
        raise ValueError(
            f"all atoms are fixed by the constraints ({kinds}): nothing can move. Free some atoms"
        )
    name = thermostat_name(settings)
    if name is not None and degrees_of_freedom(atoms, name) == 0:
        remedy = "use thermostat 'langevin', or a larger structure"
        raise ValueError(
            f"thermostat {name!r} has nothing to heat: the structure has no degrees of freedom"
            f" besides its conserved momentum; {remedy}"
        )


def _keep_allowed(atoms: Atoms) -> None:
    """Change momenta to those that the constraints allow; warn if that changes them."""
    if not atoms.constraints:
        return
    given = atoms.get_momenta()
    allowed = motion.project(atoms, given)
    if np.abs(allowed - given).max() > CHANGED_MOMENTA * max(np.abs(given).max(), 1e-12):
        warnings.warn(
            f"momenta that the constraints ({describe(atoms)}) do not allow were removed",
            stacklevel=4,
        )
        atoms.set_momenta(allowed, apply_constraint=False)


def _examine_net_motion(atoms: Atoms, thermostat: str | None) -> None:
    """Warn of conserved momenta, and remove them where a thermostat would take them for heat."""
    if thermostat == "langevin":
        return  # it changes them as all others
    still = atoms.copy()
    remove_conserved(still)
    kinetic = atoms.get_kinetic_energy()
    net = kinetic - still.get_kinetic_energy()
    if net <= NET_MOTION * kinetic:
        return
    share = f"{100 * net / kinetic:.0f} % of the kinetic energy"
    if thermostat is None:
        warnings.warn(
            f"the structure moves or turns as a whole ({share}), which `temperature_K` includes",
            stacklevel=5,
        )
        return
    warnings.warn(
        f"the motion of the structure as a whole ({share}) was removed: thermostat {thermostat!r}"
        " would take it for heat",
        stacklevel=5,
    )
    atoms.set_momenta(still.get_momenta(), apply_constraint=False)


def _warn_of_interval(settings: Settings, highest: float) -> None:
    """Warn if frames are too far apart for a frequency in THz."""
    step = 0.001 * settings.multiple * settings.timestep  # ps
    longest = 1 / (2 * highest)  # ps, two frames for each period
    if settings.interval * step > longest:
        most = int(longest / step)
        advice = f"at most {most} steps" if most else "a shorter `timestep` and 1 step"
        warnings.warn(
            f"`interval` {settings.interval} is too long for vibrations of {highest:g} THz: frames"
            f" must be {longest * 1000:.3g} fs apart at most, {advice}",
            stacklevel=4,
        )
