"""NVT: the kinetic energy of a run with a Langevin thermostat is distributed as that of the
temperature.

2 K / kT of N atoms follows the chi-squared distribution of 3N degrees of freedom. Forces that
belong to no energy heat or cool against the thermostat.

Where it fails, averages are not those of the temperature that was asked for.
"""

import numpy as np
from ase import units
from ase.md.langevin import Langevin
from scipy.stats import chi2

from ._dynamics import thermal, time_step
from ._equivariance import altered
from ._results import Limit, Measured

LEVEL, STRUCTURES = "full", "any"
LIMITS = {
    "chi^2 per degree": Limit("", float64=3.5, float32=3.5)
}  # probability 1e-3 with 7 degrees of freedom
FRICTION, APART = 0.05, 40.0  # 1/fs; fs between samples: four times of decay of the kinetic energy
BINS, SAMPLES, EQUILIBRATION = 8, 240, 20


def measure(subject, atoms):
    """chi^2 of the histogram of kinetic energies in bins of equal probability.

    Per degree of freedom.
    """
    moving, step = thermal(subject, atoms), time_step(atoms)
    dynamics = Langevin(
        moving,
        step * units.fs,
        temperature_K=subject.temperature,
        friction=FRICTION / units.fs,
        fixcm=False,
        rng=subject.generator(1),
    )
    kinetic = []
    for k in range(EQUILIBRATION + SAMPLES):
        dynamics.run(max(1, round(APART / step)))
        if k >= EQUILIBRATION:
            kinetic.append(2 * moving.get_kinetic_energy() / (units.kB * subject.temperature))
    degrees = 3 * len(atoms)
    bins = np.minimum((BINS * chi2.cdf(kinetic, degrees)).astype(int), BINS - 1)
    expected = SAMPLES / BINS
    value = np.sum((np.bincount(bins, minlength=BINS) - expected) ** 2) / expected / (BINS - 1)
    mean, error = (
        subject.temperature
        / degrees
        * np.array([np.mean(kinetic), np.std(kinetic) / np.sqrt(SAMPLES)])
    )
    yield Measured(
        "chi^2 per degree",
        value,
        f"mean {mean:.1f} +- {error:.1f} K, expected {subject.temperature:.1f} K",
    )


def broken(calculate):
    """Forces around an axis, which heat."""

    def wrong(atoms):
        arms = atoms.positions - atoms.positions.mean(axis=0)
        return altered(calculate(atoms), forces=0.5 * np.cross([0, 0, 1], arms))

    return wrong
