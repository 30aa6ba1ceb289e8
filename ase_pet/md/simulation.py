"""Molecular dynamics with any ASE calculator, into a folder; runs can be stopped and continued."""

from __future__ import annotations

import dataclasses
import math
import time as clock
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.md.md import MolecularDynamics

from . import folders, thermo
from . import state as states
from ._protocols import AseCalculator
from .integrators import integrator, thermostat_name
from .momenta import degrees_of_freedom, temperature, thermalise
from .outputs import TRAJECTORY, Outputs, check_space, prepare, space
from .settings import Settings, make_settings

LAST_GOOD = "last_good.traj"
ADVICE = (
    "try a shorter `timestep`, relax the structure first, or examine the calculator with `ase-pet"
    " check`"
)

OnStep = Callable[[int, float], object]


class UnstableRun(RuntimeError):
    """The temperature or a force is above its limit, or a number is not finite."""


@dataclasses.dataclass(frozen=True)
class Result:
    """A completed run.

    Attributes
    ----------
    folder:
        Folder of the run.
    settings:
        Settings of the run.
    atoms:
        Number of atoms.
    steps:
        Number of steps since the beginning of the run.
    steps_now:
        Number of steps made by this call.
    seconds:
        Wall time of this call in s.
    """

    folder: Path
    settings: Settings
    atoms: int
    steps: int
    steps_now: int
    seconds: float

    @property
    def ns_per_day(self) -> float | None:
        """Simulated ns per day of wall time, None if this call made no steps."""
        if not self.steps_now:
            return None
        simulated = 1e-6 * self.steps_now * self.settings.multiple * self.settings.timestep
        return 86400 * simulated / self.seconds

    def thermo(self) -> thermo.Table:
        """Table of the run, as {column: (m,) array}; column names end with their unit."""
        return thermo.read(self.folder)

    def frames(self) -> list[Atoms]:
        """Trajectory, with momenta, energy, forces, and the time in ps in `info["time_ps"]`."""
        frames = ase.io.read(self.folder / TRAJECTORY, ":")
        assert isinstance(frames, list)  # ":" reads all of them
        return frames

    def summary(self) -> dict[str, float]:
        """Means with standard errors and drift of the conserved energy, see `md.summary`."""
        return thermo.summary(self.thermo(), self.atoms)

    def plot(self) -> Path:
        """Path of thermo.png, a plot of thermo.csv; ValueError if matplotlib is missing."""
        return thermo.plot(self.folder, self.atoms)


def run(
    atoms: Atoms,
    output: Path | str,
    *,
    restart: bool = False,
    fast: AseCalculator | None = None,
    on_step: OnStep | None = None,
    about: dict[str, Any] | None = None,
    **values: Any,
) -> Result:
    """Result of a molecular dynamics run, written into a folder.

    Parameters
    ----------
    atoms:
        Structure with its calculator; its positions and momenta change during the run.
    output:
        Folder of the run.
    restart:
        Continue the run in the folder, with the same settings but for `time`, the same structure
        and the same calculator. The files are then, byte for byte, those of an uninterrupted run.
        If the folder holds no run, a new one begins.
    fast:
        Calculator of cheap forces for `multiple` time steps, see `MultipleTimeStep`.
    on_step:
        Function called as on_step(step, temperature in K) after each step.
    about:
        Further tables for settings.toml, as {name: table}.
    values:
        Fields of `ase_pet.md.Settings`, such as ensemble="nvt", temperature=300, time=10 (ps),
        timestep=1 (fs), seed=0.

    Raises
    ------
    ValueError
        A setting is wrong, or the structure does not allow it.
    FileExistsError
        The folder holds a run.
    OSError
        The folder cannot be written, or its disk is too small.
    UnstableRun
        The run became unstable.
    """
    settings = make_settings(**values)
    folder = Path(output)
    if atoms.calc is None:
        raise ValueError("`atoms` have no calculator: set `atoms.calc`")
    if len(atoms) == 0:
        raise ValueError("`atoms` is empty")
    description = folders.describe(settings, atoms, fast) | (about or {})
    state, sizes = folders.stored(folder, description, restart)
    prepare(folder)
    steps_before = 0 if state is None else int(state["dynamics nsteps"])
    steps_left = max(settings.steps - steps_before, 0)
    check_space(folder, space(atoms, settings, steps_left))
    dynamics = _prepare_dynamics(atoms, settings, fast, state)
    begin = clock.perf_counter()
    # the first structure is examined before any file is touched: a bad one writes no files
    loop = _Loop(dynamics, settings, on_step, state)
    outputs = Outputs(folder, atoms, settings.extxyz, sizes)
    try:
        folders.write(folder, description)
        loop.go(outputs)
    finally:
        outputs.close()
    return Result(
        folder=folder,
        settings=settings,
        atoms=len(atoms),
        steps=dynamics.nsteps,
        steps_now=dynamics.nsteps - steps_before,
        seconds=clock.perf_counter() - begin,
    )


class _Loop:
    """Steps from a state (None: from the start), and the output after each of them."""

    def __init__(
        self,
        dynamics: MolecularDynamics,
        settings: Settings,
        on_step: OnStep | None,
        state: states.State | None,
    ) -> None:
        self.dynamics = dynamics
        self.atoms: Atoms = dynamics.atoms
        self.settings = settings
        self.state = state
        self.on_step = on_step or (lambda step, temperature: None)
        self.degrees_of_freedom = degrees_of_freedom(self.atoms, thermostat_name(settings))
        if state is not None:
            states.restore(dynamics, state)
        self.stress = thermo.has_stress(self.atoms)
        self._examine()

    def go(self, outputs: Outputs) -> None:
        """Run to the last step."""
        self.outputs = outputs
        if self.state is None:
            self._write()
        else:
            # drop what was computed to examine the structure: the uninterrupted run did not
            states.restore(self.dynamics, self.state)
        while self.dynamics.nsteps < self.settings.steps:
            self._step()
            self._write()
            self.on_step(self.dynamics.nsteps, self.temperature)

    def _examine(self) -> None:
        """Raise UnstableRun, or remember the current structure as the last good one."""
        settings = self.settings
        step = self.dynamics.nsteps
        self.temperature = temperature(self.atoms, self.degrees_of_freedom)
        force = np.sqrt((self.atoms.get_forces() ** 2).sum(axis=1).max())
        energy = self.atoms.get_potential_energy()
        if not math.isfinite(energy):
            raise UnstableRun(f"step {step}: the energy is {energy}")
        # `not a <= b` is also true if a is not a number
        if not force <= settings.max_force:
            raise UnstableRun(
                f"step {step}: force of {force:.6g} eV/A, above the limit {settings.max_force:g}"
            )
        if not self.temperature <= settings.max_temperature:
            raise UnstableRun(
                f"step {step}: temperature of {self.temperature:.6g} K, above the limit"
                f" {settings.max_temperature:g}"
            )
        self.last_good = (step, self.atoms.copy())

    def _step(self) -> None:
        """Make one step; if it fails, write the last good structure into a file."""
        try:
            self.dynamics.run(1)
            self._examine()
        except OSError:
            raise
        except ValueError as error:  # calculators refuse structures that make no sense
            raise UnstableRun(
                f"step {self.dynamics.nsteps + 1}: {error}. {self._rescue()}; {ADVICE}"
            ) from error
        except UnstableRun as error:
            raise UnstableRun(f"{error}. {self._rescue()}; {ADVICE}") from None
        except Exception as error:
            error.add_note(self._rescue())
            raise

    def _rescue(self) -> str:
        """Write the last good structure; a sentence that says where it is."""
        step, atoms = self.last_good
        atoms.info.update(step=step)
        path = self.outputs.folder / LAST_GOOD
        ase.io.write(path, atoms)
        return f"The structure after step {step} is in {path}"

    def _write(self) -> None:
        """Write what is due after the current step: frame, row, state."""
        settings = self.settings
        step = self.dynamics.nsteps
        time = 0.001 * step * settings.multiple * settings.timestep  # ps
        if step % settings.interval == 0:
            self.outputs.write_frame(self.atoms, step, time, self.stress)
        if step % settings.thermo_interval == 0:
            row = thermo.row(self.dynamics, time, self.degrees_of_freedom, self.stress)
            self.outputs.write_row(row)
        if step % settings.checkpoint == 0 or step == settings.steps:
            state = states.capture(self.dynamics)
            states.write(self.outputs.folder, state, self.outputs.sizes())
            # go on as a run that is continued from this state would, see `states.restore`
            states.restore(self.dynamics, state)


def _prepare_dynamics(
    atoms: Atoms,
    settings: Settings,
    fast: AseCalculator | None,
    state: states.State | None,
) -> MolecularDynamics:
    """Integrator, after the atoms were put into the state or given initial momenta."""
    if state is not None:
        states.place(atoms, state)
    elif settings.momenta == "draw":
        start = settings.start_temperature
        if start is None:
            start = settings.temperature
        thermalise(atoms, start, np.random.default_rng([settings.seed, 0]))
    return integrator(atoms, settings, np.random.default_rng([settings.seed, 1]), fast)
