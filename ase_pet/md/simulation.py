"""Molecular dynamics with any ASE calculator, into a folder; runs can be stopped and continued."""

from __future__ import annotations

import dataclasses
import time as clock
import warnings
from pathlib import Path
from typing import Any

import ase.io
from ase import Atoms
from ase.md.md import MolecularDynamics

from ..display import Displayed, shown
from . import begin, folders, ramp, thermo
from . import state as states
from ._protocols import AseCalculator
from ._sharing import owned
from .begin import Stage
from .integrators import thermostat_name
from .loop import Loop, OnStep
from .momenta import remove_conserved
from .outputs import TRAJECTORY, Outputs, are_complete, check_space, prepare, space
from .settings import Settings, make_settings, refuse_unused


@dataclasses.dataclass(frozen=True, repr=False)
class Result(Displayed):
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

    def displayed(self) -> dict[str, str]:
        """{name: value with unit} of folder, ensemble, length and speed."""
        settings = self.settings
        rows = {
            "folder": shown(self.folder),
            "ensemble": settings.ensemble,
            "temperature": f"{shown(settings.temperature)} K",
            "atoms": str(self.atoms),
            "steps": str(self.steps),
            "time": f"{settings.time:g} ps",
        }
        if self.ns_per_day is not None:
            rows["speed"] = f"{self.ns_per_day:.3g} ns/day"
        return rows

    def thermo(self) -> thermo.Table:
        """Table of the run, as {column: (m,) array}; column names end with their unit."""
        return thermo.read(self.folder)

    def frames(self) -> list[Atoms]:
        """Trajectory, with momenta, energy, forces, and the time in ps in `info["time_ps"]`."""
        frames = ase.io.read(self.folder / TRAJECTORY, ":", format="traj")
        assert isinstance(frames, list)  # ":" reads all of them
        return frames

    def summary(self) -> dict[str, Any]:
        """Means with standard errors and drift of the conserved energy, see `md.summary`."""
        means = thermo.summary(self.thermo(), self.atoms)
        if self.settings.is_ramp:
            # a mean over a ramp is that of no temperature; see `ramp_parts`
            return {
                name: value
                for name, value in means.items()
                if "_per_atom" in name or name == "error_drift"
            }
        return means

    def ramp_parts(self) -> list[dict[str, float]]:
        """Means over each part of a temperature ramp, see `md.ramp.parts`; [] without a ramp."""
        return ramp.parts(self.settings, self.thermo())

    def equilibration(self) -> dict[str, Any]:
        """Means of the equilibration before the run, {} without one or if it was too short."""
        stage = self.folder / folders.EQUILIBRATION
        if not self.settings.equilibrate or not stage.exists():
            return {}
        return thermo.summary(thermo.read(stage), self.atoms)

    def inner_steps(self) -> dict[str, Any]:
        """What was measured about inner steps before the run, see `md.inner`; {} without them."""
        from . import inner as inner_steps

        return inner_steps.read(self.folder) if self.settings.multiple > 1 else {}

    def plot(self) -> Path:
        """Path of thermo.png, a plot of thermo.csv; ValueError if matplotlib is missing."""
        return thermo.plot(self.folder, self.atoms)


def run(
    atoms: Atoms,
    output: Path | str,
    *,
    restart: bool = False,
    fast: AseCalculator | None = None,
    inner: AseCalculator | Path | str | None = None,
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
        Continue the run in the folder, with the same settings but for `time` and what is written,
        the same structure and the same calculator. The files are then, byte for byte, those of an
        uninterrupted run. If the folder holds no run, a new one begins.
    fast:
        ASE calculator of cheap forces for `multiple` time steps, see `MultipleTimeStep`.
    inner:
        The same by name: "plain" for the model of `atoms.calc` without its symmetriser, the name or
        path of another calculator, or an ASE calculator. With `inner_steps`, the other name of
        `multiple`. Before the first step the fluctuation of the energy and the fastest vibration
        are measured, and a warning says if there are too many inner steps.
    on_step:
        Function called as on_step(step, temperature in K) after each step; steps of the
        equilibration are negative, and end with 0.
    about:
        Further tables for settings.toml, as {name: table}.
    values:
        Fields of `ase_pet.md.Settings`, whose help lists them with units, such as ensemble="nvt",
        temperature=300, time=10 (ps), timestep=1 (fs), seed=0. `temperature` may be a ramp,
        "300:1200" or (300, 1200).

    Raises
    ------
    ValueError
        A setting is wrong or would be ignored, or the structure does not allow it.
    FileExistsError
        The folder holds a run.
    OSError
        The folder cannot be written, or its disk is too small.
    UnstableRun
        The run became unstable.
    """
    settings = make_settings(**values)
    folder = Path(output)
    first = folders.first_state(folder, settings) if restart else None
    if first is None:
        refuse_unused(settings, values)
    begin.check(atoms, settings)
    fast = _inner_calculator(atoms, settings, fast, inner)
    with owned(atoms.calc, fast):
        if first is not None:
            states.require_same_atoms(atoms, first)
        begin.initialise_constraints(atoms, first)
        description = folders.describe(settings, atoms, fast) | (about or {})
        saved = folders.stored(folder, description, restart)
        if saved[0] is not None:
            begin.note_changed_outputs(folder, settings, saved[0])
        start = begin.start(folder, atoms, settings, first)
        stage = Stage(settings, atoms, folder, description, start, fast)
        if settings.equilibrate and saved[0] is None:
            _equilibrate(stage, restart, on_step)
        return _run(stage, saved, on_step)


def _inner_calculator(
    atoms: Atoms,
    settings: Settings,
    fast: AseCalculator | None,
    inner: AseCalculator | Path | str | None,
) -> AseCalculator | None:
    """Calculator of cheap forces, None without any."""
    if inner is None:
        return fast
    if fast is not None:
        raise ValueError("`inner` and `fast` are both given: they are the same calculator")
    if settings.multiple == 1:
        raise ValueError(
            "`inner` needs `inner_steps`, the number of inner steps: expected 2 or more"
        )
    from . import inner as inner_steps  # imports torch, which other runs may not need

    return inner_steps.calculator(inner, atoms.calc)


def _equilibrate(stage: Stage, restart: bool, on_step: OnStep | None) -> None:
    """Run the equilibration, in a folder of its own, and leave the atoms in its last state."""
    settings = stage.settings
    prepare(stage.folder)
    # a restart of a run that was stopped during its equilibration reads this file
    folders.write(stage.folder, stage.description)
    own = settings.of_equilibration()
    own_folder = stage.folder / folders.EQUILIBRATION
    atoms = stage.atoms
    description = folders.describe(own, atoms, stage.fast)
    saved = folders.stored(own_folder, description, restart)
    before = Stage(own, atoms, own_folder, description, stage.start, stage.fast, stream=2)
    steps = own.steps

    def report(step: int, temperature: float) -> None:
        if on_step is not None:
            on_step(step - steps, temperature)

    _run(before, saved, report)
    if thermostat_name(settings) != "langevin":
        # the thermostat of the equilibration may have moved and turned the structure as a whole
        remove_conserved(atoms)


def _run(
    stage: Stage,
    saved: tuple[states.State, dict[str, int]] | tuple[None, None],
    on_step: OnStep | None,
) -> Result:
    """Result of one stage of a run, begun or continued."""
    settings = stage.settings
    folder = stage.folder
    atoms = stage.atoms
    state, sizes = saved
    done = 0 if state is None else states.steps_done(state)
    if state is not None and settings.steps < done:
        raise ValueError(
            f"`time` is {settings.time:g} ps, but the run in {folder} has made {done} steps, more"
            f" than its {settings.steps}: give a longer `time`, or start a run in another folder"
        )
    end_sizes = None if state is None else states.end_sizes(state)
    has_ended = end_sizes is not None and settings.steps == done
    if state is not None and has_ended and are_complete(folder, end_sizes or {}):
        states.place(atoms, state, states.END)
        return Result(folder, settings, len(atoms), done, 0, 0.0)
    prepare(folder)
    steps_before = 0 if state is None else int(state["dynamics nsteps"])
    check_space(folder, space(atoms, settings, settings.steps - steps_before))
    dynamics = stage.dynamics(state)
    time = clock.perf_counter()
    # the first structure is examined before any file is touched: a bad one writes no files
    loop = Loop(dynamics, settings, on_step, state, stage.start, folder)
    if stage.fast is not None and state is None:
        _examine_inner(stage, dynamics)
    outputs = Outputs(folder, atoms, settings.extxyz, sizes)
    try:
        folders.write(folder, stage.description)
        loop.go(outputs, sizes)
    finally:
        outputs.close()
    result = Result(
        folder=folder,
        settings=settings,
        atoms=len(atoms),
        steps=dynamics.nsteps,
        steps_now=dynamics.nsteps - steps_before,
        seconds=clock.perf_counter() - time,
    )
    _warn_of_drift(result)
    return result


def _examine_inner(stage: Stage, dynamics: MolecularDynamics) -> None:
    """Measure whether the inner steps of a new run are too many, and write what was measured."""
    from . import inner as inner_steps

    assert stage.fast is not None
    inner_steps.check(dynamics, stage.fast)
    if stage.stream == 1:  # not of the equilibration, which may begin far from equilibrium
        measured = inner_steps.examine(stage.atoms, stage.settings, stage.fast)
        inner_steps.write(stage.folder, measured)


def _warn_of_drift(result: Result) -> None:
    """Warn if the conserved energy drifted by a part of the thermal energy."""
    table = result.thermo()
    note = thermo.drift_note(table, thermo.summary(table, result.atoms))
    if note is not None:
        warnings.warn(note, stacklevel=4)
