"""NVE: total energy is conserved, with an error proportional to the square of the time step.

Velocity Verlet conserves an energy that differs from the true one by a term in dt^2. For a smooth
potential whose forces are its gradient, the rms of the total energy therefore falls by 4 when the
time step is halved. It does not where the energy jumps or the forces are not its gradient. Jumps of
the forces alone are too small to be seen here: `cutoff_pair` finds them.

What helps: a smooth energy (see `cutoff_pair`), conservative forces (`gradients`), float64, a
shorter time step.

Where it fails, long runs heat or cool; a thermostat hides that, but transport coefficients are
wrong.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms, units

from ..statistics import fit_line
from ._check import Calculate, Properties
from ._dynamics import relaxed, run_verlet, thermalised, time_step
from ._results import Limit, Measured, Plot
from ._subject import Subject

LEVEL = "quick"
STRUCTURES = "any"
LIMITS = {
    "rms ratio": Limit("", float64=4.4, float32=4.4, low=3.6),
    # up to what is tolerated in practice, for self-consistent forces that are not quite gradients
    "drift": Limit("meV/atom/ps", float64=0.01, float32=0.01, most=1.0),
    "rms": Limit("meV/atom"),
}
STEPS = {False: 100, True: 2000}  # by subject.full
EQUILIBRATION = {False: 30, True: 400}  # steps before, by subject.full
ERRORS = 2.0  # standard errors that a drift may have by chance


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield the ratio of the rms with dt and dt/2, the drift and the rms, of `atoms` and `subject`.

    Both runs start from one state: the structure is relaxed, and a short run distributes the
    energy, since a structure that is far from its minimum heats while it relaxes. The rms is about
    a straight line through the total energy b(t) per atom, and the drift is the slope in the limit
    of a zero time step: that of (4 b(dt/2) - b(dt)) / 3, in which terms in dt^2 cancel
    (Richardson's extrapolation). What counts is the part of it beyond two standard errors.
    """
    step = time_step(atoms)
    half_step = step / 2
    steps = STEPS[subject.full]
    start = thermalised(subject, relaxed(subject, atoms))
    run_verlet(start, step, EQUILIBRATION[subject.full], Atoms.get_temperature)
    times = step * np.arange(steps + 1) / 1000  # ps
    # (steps + 1,) meV/atom, at the same times
    coarse = _energies(subject, start, step, steps)
    fine = _energies(subject, start, half_step, 2 * steps)
    fine = fine[::2]
    coarse = coarse - coarse[0]
    fine = fine - fine[0]

    coarse_line = fit_line(times, coarse)
    fine_line = fit_line(times, fine)
    extrapolated = (4 * fine - coarse) / 3
    limit_line = fit_line(times, extrapolated)
    curves = {
        f"{step:.2f} fs": (times, coarse),
        f"{half_step:.2f} fs": (times, fine),
    }
    plot = Plot("time (ps)", "total energy (meV/atom)", curves)
    duration = step * steps / 1000  # ps
    run_note = (
        f"{len(atoms)} atoms, relaxed and heated to {subject.temperature:.0f} K, {duration:.2f} ps,"
        f" {step:.2f} fs"
    )
    drift_note = (
        f"beyond two standard errors: {limit_line.slope:.2g} +- {limit_line.error:.2g};"
        f" {fine_line.slope:.2g} at {half_step:.2f} fs"
    )
    by_chance = ERRORS * limit_line.error
    drift = max(abs(limit_line.slope) - by_chance, 0.0)
    ratio = coarse_line.rms / fine_line.rms
    yield Measured("rms ratio", ratio, run_note, plot)
    # work in meV/ps of a force that scatters, at the speed of an atom
    velocities = start.get_velocities() * units.fs  # A/fs
    speeds = np.linalg.norm(velocities, axis=1)
    noise = 1e6 * subject.noise.forces * speeds.mean()
    yield Measured("drift", drift, drift_note, noise=noise)
    yield Measured("rms", fine_line.rms, f"at {half_step:.2f} fs")


def _energies(subject: Subject, start: Atoms, step: float, steps: int) -> np.ndarray:
    """Total energies (steps + 1,) in meV/atom of a run from a state; step in fs."""
    moving = subject.with_calculator(start)
    return 1e3 * run_verlet(moving, step, steps, _energy_per_atom)


def _energy_per_atom(atoms: Atoms) -> float:
    """Total energy in eV/atom."""
    return float(atoms.get_total_energy()) / len(atoms)


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with forces that are 5 % too large."""

    def wrong(atoms: Atoms) -> Properties:
        properties = calculate(atoms)
        return properties | {"forces": 1.05 * properties["forces"]}

    return wrong
