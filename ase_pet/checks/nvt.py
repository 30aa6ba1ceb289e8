"""NVT: a Langevin thermostat gives the distribution of kinetic energies of its temperature.

2 K / kT of N atoms follows the chi-squared distribution with 3N degrees of freedom. Forces that are
not the gradient of an energy heat or cool against the thermostat.

What helps: conservative forces (`gradients`, `jacobian`); a stronger thermostat hides it only.

Where it fails, averages are not those of the temperature that was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms, units
from ase.md.langevin import Langevin
from scipy.stats import chi2

from . import net_torque
from ._check import Calculate, Properties
from ._dynamics import thermalised, time_step
from ._equivariance import altered
from ._results import Limit, Measured
from ._subject import Subject

LEVEL = "full"
STRUCTURES = "any"
# exceeded with a probability of 1e-3, with 7 degrees of freedom
LIMITS = {"chi^2 per degree": Limit("", float64=3.5, float32=3.5)}
FRICTION = 0.05  # 1/fs
APART = 40.0  # fs between samples: four times the decay time of the kinetic energy
BINS = 8
SAMPLES = 240
EQUILIBRATION = 20  # samples that are left out at the start


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield chi^2 per degree of freedom of kinetic energies of a run of `atoms` with `subject`.

    chi^2 = sum over bins (count - expected)^2 / expected, with bins of equal probability.
    """
    kinetic = _kinetic_energies(subject, atoms)
    degrees = 3 * len(atoms)
    # The cumulative distribution maps the kinetic energies to uniform numbers from 0 to 1.
    uniform = chi2.cdf(kinetic, degrees)
    bins = (BINS * uniform).astype(int)
    counts = np.bincount(np.minimum(bins, BINS - 1), minlength=BINS)
    expected = SAMPLES / BINS
    deviations = counts - expected  # (BINS,)
    chi_squared = np.sum(deviations**2) / expected

    kelvin = subject.temperature / degrees  # temperature of a sample over its 2 K / kT
    mean = kelvin * np.mean(kinetic)
    standard_error = np.std(kinetic) / np.sqrt(SAMPLES)
    error = kelvin * standard_error
    note = f"mean {mean:.1f} +- {error:.1f} K, expected {subject.temperature:.1f} K"
    yield Measured("chi^2 per degree", chi_squared / (BINS - 1), note)


def _kinetic_energies(subject: Subject, atoms: Atoms) -> list[float]:
    """Samples of 2 K / kT in equilibrium."""
    moving = thermalised(subject, atoms)
    step = time_step(atoms)
    dynamics = Langevin(
        moving,
        step * units.fs,
        temperature_K=subject.temperature,
        friction=FRICTION / units.fs,
        fixcm=False,
        rng=subject.generator(1),
    )
    steps = max(1, round(APART / step))
    samples = []
    # The first samples remember the start; they are dropped at the end.
    for _ in range(EQUILIBRATION + SAMPLES):
        dynamics.run(steps)
        kinetic = moving.get_kinetic_energy()
        samples.append(2 * kinetic / (units.kB * subject.temperature))
    return samples[EQUILIBRATION:]


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with forces around an axis, which heat."""

    def wrong(atoms: Atoms) -> Properties:
        return altered(calculate(atoms), forces=0.5 * net_torque.forces_around_axis(atoms))

    return wrong
