"""Runs of molecular dynamics with any ASE calculator, into a folder.

That can be stopped at any moment and go on.
"""

import dataclasses
import math
import time as clock
from pathlib import Path

import ase.io
import numpy as np

from . import folders, thermo
from . import state as states
from .integrators import integrator, thermostat_of
from .momenta import freedoms, temperature, thermalise
from .outputs import TRAJECTORY, Outputs, check_space, prepare, space
from .settings import Settings, settings

LAST_GOOD = "last_good.traj"
ADVICE = (
    "try a shorter `timestep`, relax the structure first, or examine the calculator with `ase-pet"
    " check`"
)


class Exploded(RuntimeError):
    """A run went where forces mean nothing.

    Temperature or a force above a limit, or numbers that are not finite.
    """


@dataclasses.dataclass(frozen=True)
class Result:
    """What a run left.

    Its folder, settings, steps in all and in this call, and the wall time of this call in s.
    """

    folder: Path
    settings: Settings
    atoms: int
    steps: int
    steps_now: int
    seconds: float

    @property
    def ns_per_day(self):
        """Simulated ns in a day of wall time, None where nothing was left to do."""
        simulated = 1e-6 * self.steps_now * self.settings.multiple * self.settings.timestep
        return 86400 * simulated / self.seconds if self.steps_now else None

    def thermo(self):
        """{column: (m,) array} of thermo.csv; the names of the columns say their unit."""
        return thermo.read(self.folder)

    def frames(self):
        """List of Atoms of the trajectory, with momenta, energy, forces, and `info["time_ps"]`."""
        return ase.io.read(self.folder / TRAJECTORY, ":")

    def summary(self):
        """{name: value}: means with standard errors, and drift of the conserved energy.

        `ase_pet.md.summary`.
        """
        return thermo.summary(self.thermo(), self.atoms)

    def plot(self):
        """Path of thermo.png, a picture of thermo.csv.

        Raises ValueError where matplotlib is missing.
        """
        return thermo.plot(self.folder, self.atoms)


def run(atoms, output, *, restart=False, fast=None, on_step=None, about=None, **values):
    """Result of molecular dynamics of `atoms` with their calculator, written into the folder
    `output`.

    values: fields of `ase_pet.md.Settings`, such as ensemble="nvt", temperature=300, time=10 (ps),
    timestep=1 (fs), seed=0.
    restart: continue what the folder holds, with the same settings but for `time`, the same
        structure and calculator. The files are then, byte for byte, those of a run that was not
        stopped. A folder without a run is begun.
    fast: calculator of cheap forces for `multiple` time steps in a step (`MultipleTimeStep`).
    on_step: called as on_step(step, temperature in K) after each step.
    about: {name: table} that settings.toml is to keep beside what it says of the run.

    The atoms are moved. Raises ValueError for bad settings or a structure that does not allow them,
    FileExistsError for a folder that holds a run, OSError where it cannot be written or its disk is
    too small; `Exploded` in the run.
    """
    chosen, folder = settings(**values), Path(output)
    if atoms.calc is None:
        raise ValueError("`atoms` have no calculator: set `atoms.calc`")
    if len(atoms) == 0:
        raise ValueError("`atoms` is empty")
    description = folders.describe(chosen, atoms, fast) | (about or {})
    state, sizes = folders.stored(folder, description, restart)
    prepare(folder)
    done = 0 if state is None else int(state["dynamics nsteps"])
    check_space(folder, space(atoms, chosen, max(chosen.steps - done, 0)))
    dynamics = _dynamics(atoms, chosen, fast, state)
    begin = clock.perf_counter()
    loop = _Loop(dynamics, chosen, on_step, state)
    outputs = Outputs(folder, atoms, chosen.extxyz, sizes)
    try:
        folders.write(folder, description)
        loop.go(outputs)
    finally:
        outputs.close()
    return Result(
        folder,
        chosen,
        len(atoms),
        dynamics.nsteps,
        dynamics.nsteps - done,
        clock.perf_counter() - begin,
    )


class _Loop:
    """Steps from a state (None: from the start), and what is written after each of them."""

    def __init__(self, dynamics, settings, on_step, state):
        self.dynamics, self.atoms, self.settings, self.state = (
            dynamics,
            dynamics.atoms,
            settings,
            state,
        )
        self.on_step = on_step or (lambda step, temperature: None)
        self.freedoms = freedoms(self.atoms, thermostat_of(settings))
        if state is not None:
            states.restore(dynamics, state)
        self.stress = thermo.has_stress(self.atoms)
        self._examine()  # before any file is touched: a structure that is refused leaves no trace

    def go(self, outputs):
        """Run to the last step."""
        self.outputs = outputs
        if self.state is None:
            self._write()
        else:  # what was computed to examine the structure leaves no trace either
            states.restore(self.dynamics, self.state)
        while self.dynamics.nsteps < self.settings.steps:
            self._step()
            self._write()
            self.on_step(self.dynamics.nsteps, self.temperature)

    def _examine(self):
        """Raise Exploded, or remember the present structure as good."""
        self.temperature = temperature(self.atoms, self.freedoms)
        force = np.sqrt((self.atoms.get_forces() ** 2).sum(axis=1).max())
        if not math.isfinite(self.atoms.get_potential_energy()):
            raise Exploded(
                f"step {self.dynamics.nsteps}: the energy is {self.atoms.get_potential_energy()}"
            )
        for value, limit, what in (
            (force, self.settings.max_force, "force of {:.6g} eV/A"),
            (self.temperature, self.settings.max_temperature, "temperature of {:.6g} K"),
        ):
            if not value <= limit:  # also where it is not a number
                raise Exploded(
                    f"step {self.dynamics.nsteps}: {what.format(value)}, above the limit {limit:g}"
                )
        self.good = self.dynamics.nsteps, self.atoms.copy()

    def _step(self):
        """Make a step; where it fails, the last good structure is kept in a file."""
        try:
            self.dynamics.run(1)
            self._examine()
        except OSError:
            raise
        except ValueError as error:  # calculators refuse structures that are no longer any
            raise Exploded(
                f"step {self.dynamics.nsteps + 1}: {error}. {self._rescue()}; {ADVICE}"
            ) from error
        except Exploded as error:
            raise Exploded(f"{error}. {self._rescue()}; {ADVICE}") from None
        except Exception as error:
            error.add_note(self._rescue())
            raise

    def _rescue(self):
        step, atoms = self.good
        atoms.info.update(step=step)
        path = self.outputs.folder / LAST_GOOD
        ase.io.write(path, atoms)
        return f"The structure after step {step} is in {path}"

    def _write(self):
        step, wanted = self.dynamics.nsteps, self.settings
        time = 0.001 * step * wanted.multiple * wanted.timestep
        if step % wanted.interval == 0:
            self.outputs.write_frame(self.atoms, step, time, self.stress)
        if step % wanted.thermo_interval == 0:
            self.outputs.write_row(thermo.row(self.dynamics, time, self.freedoms, self.stress))
        if step % wanted.checkpoint == 0 or step == wanted.steps:
            state = states.capture(self.dynamics)
            states.write(self.outputs.folder, state, self.outputs.sizes())
            states.restore(self.dynamics, state)


def _dynamics(atoms, chosen, fast, state):
    """Integrator on atoms that are where the run begins or goes on."""
    if state is not None:
        states.place(atoms, state)
    elif chosen.momenta == "draw":
        start = chosen.temperature if chosen.start_temperature is None else chosen.start_temperature
        thermalise(atoms, start, np.random.default_rng([chosen.seed, 0]))
    return integrator(atoms, chosen, np.random.default_rng([chosen.seed, 1]), fast)
