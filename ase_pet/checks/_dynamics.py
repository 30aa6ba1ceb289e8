"""Molecular dynamics runs that several checks share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.md.verlet import VelocityVerlet
from ase.optimize import FIRE

from ._subject import Subject

RELAXED = 0.02  # eV/A, largest force of a relaxed structure
RELAXATION = 60  # steps at most
STEP_OF_HYDROGEN = 0.4  # fs; periods of vibration grow with the square root of the mass


def time_step(atoms: Atoms) -> float:
    """Time step in fs for `atoms`: 1/20 to 1/30 of their shortest period of vibration."""
    return STEP_OF_HYDROGEN * float(np.sqrt(atoms.get_masses().min()))


def thermalised(subject: Subject, atoms: Atoms, stream: int = 0) -> Atoms:
    """Copy of `atoms` with calculator and thermal momenta, without net momentum.

    Parameters
    ----------
    subject:
        Calculator, temperature and seed.
    atoms:
        Structure.
    stream:
        Stream of random numbers for the momenta.
    """
    atoms = subject.with_calculator(atoms)
    thermalize_momenta(atoms, temperature_K=subject.temperature, rng=subject.generator(stream))
    Stationary(atoms)
    return atoms


def relaxed(subject: Subject, atoms: Atoms) -> Atoms:
    """Copy of `atoms` after at most 60 steps of minimisation in the fixed cell, without calculator.

    Parameters
    ----------
    subject:
        Calculator.
    atoms:
        Structure.
    """
    moving = subject.with_calculator(atoms)
    # Steps are short: a bad start must not be thrown apart.
    FIRE(moving, logfile=None, maxstep=0.05).run(fmax=RELAXED, steps=RELAXATION)
    result: Atoms = moving.copy()
    return result


def run_verlet(atoms: Atoms, step: float, steps: int, record: Callable[[Atoms], Any]) -> np.ndarray:
    """Recorded values (steps + 1, ...) at the start and after each step of velocity Verlet.

    Parameters
    ----------
    atoms:
        Structure with calculator and momenta; the run moves its atoms.
    step:
        Time step in fs.
    steps:
        Number of steps.
    record:
        Function Atoms -> number or array to record.
    """
    values = [record(atoms)]
    dynamics = VelocityVerlet(atoms, timestep=step * units.fs)
    for _ in range(steps):
        dynamics.run(1)
        values.append(record(atoms))
    return np.array(values)
