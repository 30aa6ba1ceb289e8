"""NVE: the total energy is conserved, with an error that falls with the square of the time step.

Velocity Verlet follows an energy that differs from the true one by a term in dt^2, so that for a
smooth potential whose forces are its gradient the rms of the total energy falls by 4 when the step
is halved. It does not where the energy jumps or the forces belong to no energy. Jumps of the forces
alone are below what this sees: `cutoff_pair` finds them.

Where it fails, long runs heat or cool; a thermostat hides that, and transport coefficients do not.
"""

import numpy as np

from ._dynamics import line, thermal, time_step, verlet
from ._results import Limit, Measured, Plot

LEVEL, STRUCTURES = "quick", "any"
LIMITS = {
    "rms ratio": Limit("", float64=4.4, float32=4.4, low=3.6),
    "drift": Limit("meV/atom/ps", float64=0.01, float32=0.01),
    "rms": Limit("meV/atom"),
}
STEPS = {False: 100, True: 2000}


def measure(subject, atoms):
    """Ratio of the rms with dt and dt/2 from one state; drift in the limit of a zero step.

    Drift: slope of E_tot / N per time. (4 b(dt/2) - b(dt)) / 3 has no term in dt^2, as Richardson's
    extrapolation.
    """
    step, steps = time_step(atoms), STEPS[subject.full]
    start = thermal(subject, atoms)
    energies, lines = [], []
    for halves in (1, 2):
        moving = subject.attached(start)
        found = 1e3 * verlet(moving, step / halves, steps * halves, _energy)[::halves]
        energies.append(found - found[0])
        lines.append(line(_times(step, steps), energies[-1]))
    (_, _, coarse), (_, _, fine) = lines
    drift, error, _ = line(_times(step, steps), (4 * energies[1] - energies[0]) / 3)
    plot = Plot(
        "time (ps)",
        "total energy (meV/atom)",
        {
            f"{step / halves:.2f} fs": (_times(step, steps), found)
            for halves, found in zip((1, 2), energies, strict=True)
        },
    )
    what = (
        f"{len(atoms)} atoms, {subject.temperature:.0f} K at the start, {step * steps / 1000:.2f}"
        f" ps, {step:.2f} fs"
    )
    yield Measured("rms ratio", coarse / fine, what, plot)
    yield Measured(
        "drift", abs(drift), f"standard error {error:.2g}; {lines[1][0]:.2g} at {step / 2:.2f} fs"
    )
    yield Measured("rms", fine, f"at {step / 2:.2f} fs")


def _energy(atoms):
    return atoms.get_total_energy() / len(atoms)


def _times(step, steps):
    return step * np.arange(steps + 1) / 1000  # ps


def broken(calculate):
    """Forces that are 5 % too large."""

    def wrong(atoms):
        results = calculate(atoms)
        return results | {"forces": 1.05 * results["forces"]}

    return wrong
