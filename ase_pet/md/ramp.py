"""Temperature ramps: the target temperature of each step, and how integrators are given it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import units
from ase.md.bussi import Bussi
from ase.md.langevin import Langevin
from ase.md.md import MolecularDynamics

from .rules import temperatures
from .settings import Settings


def target(settings: Settings, step: int) -> float:
    """Target temperature in K after a number of steps.

    Parameters
    ----------
    settings:
        Settings of the run.
    step:
        Number of steps since its beginning.
    """
    points = temperatures(settings.temperature)
    if settings.ramp_time is None:
        return float(points[0])
    elapsed = 0.001 * step * settings.multiple * settings.timestep  # ps
    # parts of equal length; beyond the end `interp` keeps the last temperature
    times = np.linspace(0, settings.ramp_time, len(points))
    return float(np.interp(elapsed, times, points))


def set_target(dynamics: MolecularDynamics, kelvin: float) -> None:
    """Give a thermostat, and a barostat with it, a new target temperature.

    The masses of chains stay those of the first temperature.

    Parameters
    ----------
    dynamics:
        ASE integrator with a thermostat.
    kelvin:
        Temperature in K.
    """
    if isinstance(dynamics, Langevin):
        dynamics.set_temperature(temperature_K=kelvin)
        return
    energy = units.kB * kelvin
    if isinstance(dynamics, Bussi):
        dynamics.temp = energy
        dynamics.target_kinetic_energy = 0.5 * dynamics.ndof * energy
        return
    # ASE's chains and barostats have no public way to change it
    chains: Any = dynamics
    parts = [chains, chains._thermostat]
    if "_barostat" in vars(chains):
        parts.append(chains._barostat)
    for part in parts:
        if "_kT" in vars(part):
            part._kT = energy


def parts(settings: Settings, table: Mapping[str, np.ndarray]) -> list[dict[str, float]]:
    """Means over each part of a ramp, and over the time after it; [] without a ramp.

    Each has from_K, to_K, begin_ps, end_ps, and the means of temperature, potential energy,
    pressure and volume, without errors: a ramp has no equilibrium.

    Parameters
    ----------
    settings:
        Settings of the run.
    table:
        Table of the run, {column: (m,) array}.
    """
    if settings.ramp_time is None:
        return []
    points = temperatures(settings.temperature)
    times = np.linspace(0, settings.ramp_time, len(points)).tolist()
    if settings.time > settings.ramp_time:
        times.append(settings.time)
        points = (*points, points[-1])
    results = []
    for number, (begin, end) in enumerate(itertools.pairwise(times)):
        inside = (table["time_ps"] >= begin) & (table["time_ps"] <= end)
        if not inside.any():
            continue
        part = {"from_K": points[number], "to_K": points[number + 1]}
        part |= {"begin_ps": begin, "end_ps": end}
        for name in ("temperature_K", "potential_eV", "pressure_GPa", "volume_A3"):
            if name in table:
                part[f"mean_{name}"] = float(table[name][inside].mean())
        results.append(part)
    return results


def conserves_energy(settings: Settings) -> bool:
    """Whether the integrator of these `settings` conserves an energy while the target changes."""
    chains = settings.ensemble == "npt" or settings.thermostat == "nose-hoover"
    return not (settings.is_ramp and chains)
