"""Runs of molecular dynamics that several checks share."""

import numpy as np
from ase import units
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.md.verlet import VelocityVerlet

STEP_OF_HYDROGEN = 0.4  # fs; periods of vibration grow with the square root of the mass


def time_step(atoms):
    """fs, about a twentieth to a thirtieth of the shortest period of vibration."""
    return STEP_OF_HYDROGEN * float(np.sqrt(atoms.get_masses().min()))


def thermal(subject, atoms, stream=0):
    """A copy with the calculator and momenta of the subject's temperature, without net momentum."""
    atoms = subject.attached(atoms)
    thermalize_momenta(atoms, temperature_K=subject.temperature, rng=subject.generator(stream))
    Stationary(atoms)
    return atoms


def verlet(atoms, step, steps, record):
    """(m, ...) what `record(atoms)` gives at the start and after each step of velocity Verlet.

    Step in fs.
    """
    found = [record(atoms)]
    dynamics = VelocityVerlet(atoms, timestep=step * units.fs)
    for _ in range(steps):
        dynamics.run(1)
        found.append(record(atoms))
    return np.array(found)


def line(times, values, blocks=8):
    """Slope of a straight line through the values, its standard error by means over blocks.

    And the rms about it.
    """
    slope, offset = np.polyfit(times, values, 1)
    rest = values - slope * times - offset
    means = np.array([block.mean() for block in np.array_split(rest, blocks)])
    error = np.sqrt(means.var(ddof=2) / blocks / times.var())
    return slope, error, np.sqrt(np.mean(rest**2))
