"""Table of a run (thermo.csv): its rows, and how it is read, summarised and plotted."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import PropertyNotImplementedError
from ase.md.md import MolecularDynamics

from ..extras import how_to_install
from .integrators import conserved_energy
from .momenta import temperature
from .outputs import THERMO

PICTURE = "thermo.png"
BLOCKS = 10  # of a run, for standard errors
EQUILIBRATION = 0.1  # fraction of a run, omitted from its summary

Table = dict[str, np.ndarray]


class Drift(NamedTuple):
    """Straight line through values over time."""

    slope: float  # unit of the values per unit of time
    error: float  # standard error of the slope
    rms: float  # root mean square of the distances from the line, in the unit of the values


def has_stress(atoms: Atoms) -> bool:
    """Whether `atoms` have a three-dimensional cell and their calculator implements the stress.

    Errors of the calculator other than ASE's PropertyNotImplementedError are raised.
    """
    if not atoms.pbc.all() or atoms.cell.rank < 3:
        return False
    try:
        atoms.get_stress()
    except PropertyNotImplementedError:
        return False
    return True


def row(
    dynamics: MolecularDynamics, time: float, degrees_of_freedom: int, stress: bool
) -> dict[str, float]:
    """Row of the table at the current step, as {column: value}; column names end with their unit.

    Parameters
    ----------
    dynamics:
        ASE integrator with its atoms.
    time:
        Time in ps.
    degrees_of_freedom:
        Number of degrees of freedom, for the temperature.
    stress:
        Whether to add pressure and volume.
    """
    atoms = dynamics.atoms
    values = {
        "step": dynamics.nsteps,
        "time_ps": time,
        "potential_eV": float(atoms.get_potential_energy()),
        "kinetic_eV": float(atoms.get_kinetic_energy()),
        "total_eV": float(atoms.get_total_energy()),
    }
    conserved = conserved_energy(dynamics)
    if conserved is not None:
        values["conserved_eV"] = conserved
    values["temperature_K"] = temperature(atoms, degrees_of_freedom)
    if stress:
        # the kinetic part of the pressure (ideal gas) is included
        tensor = atoms.get_stress(voigt=False, include_ideal_gas=True)
        pressure = -np.trace(tensor) / 3
        values["pressure_GPa"] = float(pressure / units.GPa)
        values["volume_A3"] = float(atoms.get_volume())
    return values


def read(folder: Path) -> Table:
    """Table of the run in a `folder`, as {column: (m,) array}."""
    with open(folder / THERMO, encoding="ascii") as file:
        names = file.readline().strip().split(",")
        columns = np.loadtxt(file, delimiter=",", ndmin=2).T
    return dict(zip(names, columns, strict=True))


def linear_drift(times: np.ndarray, values: np.ndarray) -> Drift:
    """Least-squares slope of values over time, its standard error, and the rms about the line.

    The error follows from the means of the residuals over ten blocks, because neighbouring
    residuals are correlated.

    Parameters
    ----------
    times:
        (m,) times.
    values:
        (m,) values, such as the conserved energy.
    """
    slope, offset = np.polyfit(times, values, 1)
    residuals = values - slope * times - offset
    error = _error_of_mean(residuals, fitted=2) / times.std()
    rms = np.sqrt(np.mean(residuals**2))
    return Drift(float(slope), float(error), float(rms))


def summary(table: Table, atoms: int) -> dict[str, float]:
    """Means with standard errors, and drift of the conserved energy in meV/atom/ps.

    The first tenth of the run is left out. Standard errors are those of means over ten blocks. The
    result is empty for fewer than twenty rows.

    Parameters
    ----------
    table:
        Table of the run, see `read`.
    atoms:
        Number of atoms.
    """
    rows = len(table["step"])
    if rows < 2 * BLOCKS:
        return {}
    late = slice(int(EQUILIBRATION * rows), None)
    results = {}
    for name in ("temperature_K", "pressure_GPa", "volume_A3"):
        if name in table:
            values = table[name][late]
            results[f"mean_{name}"] = float(values.mean())
            results[f"error_{name}"] = float(_error_of_mean(values, fitted=1))
    if "conserved_eV" in table:
        # meV per atom
        energy = 1000 * table["conserved_eV"][late] / atoms
        drift = linear_drift(table["time_ps"][late], energy)
        results["drift_meV_per_atom_per_ps"] = drift.slope
        results["error_drift"] = drift.error
        results["rms_meV_per_atom"] = drift.rms
    return results


def plot(folder: Path, atoms: int) -> Path:
    """Path of thermo.png: energies per atom, temperature and, in a cell, pressure over time.

    Parameters
    ----------
    folder:
        Folder of the run.
    atoms:
        Number of atoms.

    Raises
    ------
    ValueError
        Matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ValueError(
            f"the plot needs matplotlib, of the extra `train` ({how_to_install('train')}): {error}"
        ) from None
    table = read(folder)
    time = table["time_ps"]
    per_atom = 1000 / atoms  # eV to meV per atom
    names = [name for name in ("temperature_K", "pressure_GPa", "volume_A3") if name in table]
    panels = 2 + len(names)  # two of energies
    figure = Figure(figsize=(7, 2.2 * panels), layout="constrained")
    first, second, *others = figure.subplots(panels, 1, sharex=True)

    # Langevin dynamics has no conserved energy
    conserved = "conserved_eV" if "conserved_eV" in table else "total_eV"
    energy = table[conserved]
    change = per_atom * (energy - energy[0])
    first.plot(time, change, linewidth=0.8)
    label = conserved.removesuffix("_eV")
    first.set(ylabel=f"{label} (meV/atom)", title="energies are changes since the start")
    for name in ("potential", "kinetic"):
        energy = table[f"{name}_eV"]
        change = per_atom * (energy - energy[0])
        second.plot(time, change, label=name, linewidth=0.8)
    second.set(ylabel="energy (meV/atom)")
    second.legend(loc="upper right", ncols=2)
    for axes, name in zip(others, names, strict=True):
        axes.plot(time, table[name], linewidth=0.8)
        quantity, unit = name.rsplit("_", 1)
        axes.set(ylabel=f"{quantity} ({unit})")
    last = others[-1] if others else second
    last.set(xlabel="time (ps)")
    picture = folder / PICTURE
    figure.savefig(picture, dpi=130)
    return picture


def _error_of_mean(values: np.ndarray, fitted: int) -> float:
    """Standard error of the mean of (m,) values, from the means over blocks.

    fitted: number of parameters that were fitted to the values, 1 for their mean.
    """
    means = np.array([block.mean() for block in np.array_split(values, BLOCKS)])
    return float(np.sqrt(means.var(ddof=fitted) / BLOCKS))
