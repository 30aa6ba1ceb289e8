"""Steps of a run, the examination of each of them, and what is written after it."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.md.md import MolecularDynamics

from .. import constraints
from ..errors import WrongResult, error_text
from ..uncertainty_policy import THRESHOLD
from . import ramp, same_calculator, thermo
from . import state as states
from ._protocols import HasParameters, ListsProperties
from .integrators import thermostat_name
from .momenta import degrees_of_freedom, temperature
from .multiple_time_step import InnerSteps
from .outputs import UNCERTAIN, Outputs, write_text
from .settings import Settings

LAST_GOOD = "last_good.traj"
FINAL = "final.extxyz"
ADVICE = (
    "try a shorter `timestep`, relax the structure first, or examine the calculator with `ase-pet"
    " check`"
)
UNCERTAINTY = "energies_uncertainty"

OnStep = Callable[[int, float], object]


class UnstableRun(RuntimeError):
    """The temperature or a force is above its limit, or a number is not finite."""


class Loop:
    """Steps from a state (None: from the start), and the output after each of them.

    Parameters
    ----------
    dynamics:
        ASE integrator with its atoms.
    settings:
        Settings of the run.
    on_step:
        Function called as on_step(step, temperature in K) after each step, or None.
    state:
        State to continue from, None for a new run.
    start:
        Structure at the beginning of the run, see `states.structure`.
    folder:
        Folder of the run.
    """

    def __init__(
        self,
        dynamics: MolecularDynamics,
        settings: Settings,
        on_step: OnStep | None,
        state: states.State | None,
        start: states.State,
        folder: Path,
    ) -> None:
        self.dynamics = dynamics
        self.atoms: Atoms = dynamics.atoms
        self.settings = settings
        self.state = state
        self.start = start
        self.folder = folder
        self.on_step = on_step or (lambda step, temperature: None)
        self.degrees_of_freedom = degrees_of_freedom(self.atoms, thermostat_name(settings))
        if state is not None:
            states.restore(dynamics, state)
        # errors of energy and forces are not those of the stress
        self.atoms.get_forces()
        self.stress = self._has_stress()
        calculator = self.atoms.calc
        listed = isinstance(calculator, ListsProperties)
        self.uncertainty = listed and UNCERTAINTY in calculator.implemented_properties
        self.threshold = THRESHOLD  # eV, above which a frame is marked
        if isinstance(calculator, HasParameters):
            self.threshold = calculator.parameters.get("uncertainty_threshold", THRESHOLD)
        self._examine()
        self._measure()
        if state is not None:
            energy = self.atoms.get_potential_energy(apply_constraint=False)
            forces = constraints.true_forces(self.atoms)
            same_calculator.compare_forces(folder, state, energy, forces)
            if isinstance(dynamics, InnerSteps):
                same_calculator.compare_fast_forces(folder, state, dynamics.fast_forces())

    def go(self, outputs: Outputs, sizes: dict[str, int] | None) -> None:
        """Run to the last step.

        Parameters
        ----------
        outputs:
            Open files of the run.
        sizes:
            Their sizes at the state to continue from, None for a new run.
        """
        self.outputs = outputs
        if self.state is None or sizes is None:
            self._write()
        else:
            self.saved = (self.state, sizes)
            # drop what was computed to examine the structure: the uninterrupted run did not
            states.restore(self.dynamics, self.state)
        while self.dynamics.nsteps < self.settings.steps:
            self._step()
            self._write()
            self.on_step(self.dynamics.nsteps, self.temperature)
        self._finish()

    def _has_stress(self) -> bool:
        """Whether the pressure can be computed; an NPT run without it is refused."""
        atoms = self.atoms
        needed = self.settings.ensemble == "npt"
        reason = "its calculator implements no stress"
        try:
            if thermo.has_stress(atoms):
                return constraints.stress_is_complete(atoms)
        except (OSError, MemoryError, WrongResult):
            raise
        except Exception as error:  # other calculators raise what they like
            reason = error_text(error)
            if not needed:
                warnings.warn(f"no pressure: the stress cannot be computed, {reason}", stacklevel=5)
        if needed:
            raise ValueError(
                f"`ensemble` 'npt' needs the stress, which cannot be computed: {reason}"
            )
        return False

    def _examine(self) -> None:
        """Raise UnstableRun, or remember the current structure as the last good one."""
        settings = self.settings
        atoms = self.atoms
        self.temperature = temperature(atoms, self.degrees_of_freedom)
        # causes before their effects: a bad stress or force spoils momenta, then positions
        if self.stress and settings.ensemble == "npt":
            # the integrator has computed it: the calculator returns it from its cache
            self._require_finite({"stress": atoms.get_stress()})
        energy = atoms.get_potential_energy()
        if not math.isfinite(energy):
            raise UnstableRun(f"step {self.dynamics.nsteps}: the energy is {energy}")
        # constraints hide the forces of fixed atoms
        forces = constraints.true_forces(atoms)
        self._require_finite(
            {
                "forces": forces,
                "momenta": atoms.get_momenta(),
                "positions": atoms.positions,
                "cell": atoms.cell.array,
            }
        )
        # each call compares the structure with that of the calculator, which takes time
        acting = atoms.get_forces() if atoms.constraints else forces
        force = np.sqrt((acting**2).sum(axis=1).max())
        step = self.dynamics.nsteps
        if force > settings.max_force:
            raise UnstableRun(
                f"step {step}: force of {force:.6g} eV/A, above the limit {settings.max_force:g}"
            )
        if self.temperature > settings.max_temperature:
            raise UnstableRun(
                f"step {step}: temperature of {self.temperature:.6g} K, above the limit"
                f" {settings.max_temperature:g}"
            )
        self.last_good = (step, atoms.copy())

    def _require_finite(self, quantities: Mapping[str, np.ndarray | float]) -> None:
        step = self.dynamics.nsteps
        for name, values in quantities.items():
            array = np.asarray(values)
            finite = np.isfinite(array)
            if finite.all():
                continue
            # index of the first bad number, () of a single one
            first = np.argwhere(~finite)[0]
            value = array[tuple(first)]
            place = "".join(f"[{index}]" for index in first)
            raise UnstableRun(f"step {step}: {name}{place} is {value}, not a finite number")

    def _measure(self) -> None:
        """Compute what is due after the current step, and raise UnstableRun if it is not finite."""
        settings = self.settings
        step = self.dynamics.nsteps
        frame = step % settings.interval == 0
        row = step % settings.thermo_interval == 0
        self.row: dict[str, float] = {}
        if not (frame or row):
            return
        if self.stress:
            stress = self.atoms.get_stress()
            self._require_finite({"stress": stress})
        self.uncertainties = self._uncertainties()
        if row:
            # an empty row is not written
            self.row = self._row()
            self._require_finite(self.row)

    def _uncertainties(self) -> dict[str, np.ndarray]:
        """Standard deviations in eV of energy and atomic energies, if the model has them."""
        if not self.uncertainty:
            return {}
        atoms = self.atoms
        names = ("energy_uncertainty", UNCERTAINTY)
        values = {name: np.asarray(atoms.calc.get_property(name, atoms)) for name in names}
        self._require_finite(values)
        return values

    def _row(self) -> dict[str, float]:
        """Row of thermo.csv."""
        settings = self.settings
        time = self._time()
        row = thermo.row(self.dynamics, time, self.degrees_of_freedom, self.stress)
        # chains conserve no energy while their temperature changes
        if not ramp.conserves_energy(settings):
            row.pop("conserved_eV", None)
        if settings.is_ramp:
            row["target_K"] = ramp.target(settings, self.dynamics.nsteps)
        if self.uncertainties:
            total = self.uncertainties["energy_uncertainty"]
            atoms = self.uncertainties[UNCERTAINTY]
            row["uncertainty_eV"] = float(total)
            row["max_atom_uncertainty_eV"] = float(atoms.max())
        return row

    def _time(self) -> float:
        """Time in ps."""
        return 0.001 * self.dynamics.nsteps * self.settings.multiple * self.settings.timestep

    def _step(self) -> None:
        """Make one step; if it fails, write the last good structure into a file."""
        try:
            if self.settings.is_ramp:
                target = ramp.target(self.settings, self.dynamics.nsteps)
                ramp.set_target(self.dynamics, target)
            self.dynamics.run(1)
            self._examine()
            self._measure()
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
        if step % settings.interval == 0:
            self.outputs.write_frame(self._frame())
        if self.row:
            self.outputs.write_row(self.row)
        if step % settings.checkpoint == 0:
            state = states.capture(self.dynamics) | self.start
            sizes = self.outputs.sizes()
            states.write(self.outputs.folder, state, sizes)
            self.saved = (state, sizes)
            # go on as a run that is continued from this state would, see `states.restore`
            states.restore(self.dynamics, state)

    def _frame(self) -> Atoms:
        """Copy of the structure with energy, forces, stress, step, time and uncertainties."""
        frame = self.outputs.frame(
            self.atoms, self.dynamics.nsteps, self._time(), self.stress, self.uncertainties
        )
        if self.uncertainties:
            largest = self.uncertainties[UNCERTAINTY].max()
            frame.info[UNCERTAIN] = bool(largest > self.threshold)
        return frame

    def _finish(self) -> None:
        """Write the last structure, and into the state that the run has ended.

        The state itself stays that of the last multiple of `checkpoint`. A longer run continues
        from there, as it would have done without an end.
        """
        self.uncertainties = self._uncertainties()
        with open(self.folder / FINAL, "w", encoding="utf-8") as file:
            write_text(file, self._frame())
        end_sizes = self.outputs.sizes()  # all data is on disk before the state says so
        state, sizes = self.saved
        end = states.structure(self.atoms, states.END)
        end[states.END + "nsteps"] = np.array(self.dynamics.nsteps)
        end[states.END + "sizes"] = np.array(json.dumps(end_sizes))
        states.write(self.folder, state | end, sizes)
