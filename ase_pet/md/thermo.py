"""Table of a run (thermo.csv): its rows, and how it is read, summarised and plotted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import PropertyNotImplementedError
from ase.md.md import MolecularDynamics

from .. import statistics
from ..uncertainty_policy import THRESHOLD
from . import folders, plots
from .integrators import conserved_energy
from .momenta import temperature
from .outputs import SETTINGS, THERMO

PICTURE = "thermo.png"
SETTLING = 0.1  # fraction of a run, omitted from the drift of the conserved energy
AVERAGED = ("temperature_K", "pressure_GPa", "volume_A3", "potential_eV")
LARGE_DRIFT = 0.05  # of kT for each atom, over the run
DRIFT_ERRORS = 4  # standard errors above which a drift is significant
STRUCTURAL = ("volume_A3", "potential_eV")  # the pressure is not equilibrated before these are

Table = dict[str, np.ndarray]
Drift = statistics.Line
linear_drift = statistics.fit_line


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


def summary(table: Table, atoms: int) -> dict[str, Any]:
    """Means with standard errors, and drift of the conserved energy in meV/atom/ps.

    `mean_X` of the columns temperature_K, pressure_GPa, volume_A3 and potential_eV is the mean
    after `equilibrated_from_ps`, which is detected (`ase_pet.statistics.equilibration`). `error_X`
    is its standard error and `samples_X` the number of independent samples; `inefficiency_X` rows
    are one sample. A constant column, one that still drifts, or one with too few samples has no
    error; `notes` says so, as {X: text}. The drift leaves out the first tenth of the run. The
    result is empty for fewer than twenty rows.

    Parameters
    ----------
    table:
        Table of the run, see `read`.
    atoms:
        Number of atoms.
    """
    rows = len(table["step"])
    if rows < statistics.FEWEST_ROWS:
        return {}
    columns = {name: table[name] for name in AVERAGED if name in table}
    averages = means(columns, table.get("target_K"))
    used = [mean.start for mean in averages.values() if mean.error is not None]
    results: dict[str, Any] = {}
    # one time for all of them
    if used:
        start = max(used)
        time = table["time_ps"][start]
        results["equilibrated_from_ps"] = float(time)
    for name, mean in averages.items():
        results[f"mean_{name}"] = mean.value
        if mean.error is not None:
            results[f"error_{name}"] = mean.error
            results[f"samples_{name}"] = mean.samples
            results[f"inefficiency_{name}"] = mean.inefficiency
    notes = {name: mean.note for name, mean in averages.items()}
    results["notes"] = {name: note for name, note in notes.items() if note}
    if "conserved_eV" in table:
        results |= _drift(table, atoms)
    return results


def means(series: Table, target: np.ndarray | None = None) -> dict[str, statistics.Mean]:
    """Means of columns of one run, {column: mean}, without errors where it has no equilibrium.

    A ramp of the temperature has no means, and neither has a run whose temperature drifts. The
    pressure has none while the structure relaxes.

    Parameters
    ----------
    series:
        {column: (m,) values} to average.
    target:
        Target temperature (m,) in K, None if it is constant or unknown.
    """
    results = statistics.means(series)
    drifting = {name for name, mean in results.items() if mean.note == statistics.DRIFTING}
    if target is not None and np.ptp(target) > 0:
        return {name: _no_result(mean, statistics.RAMP) for name, mean in results.items()}
    if "temperature_K" in drifting:
        return {name: _no_result(mean, statistics.DRIFTING) for name, mean in results.items()}
    # the structure may relax without a visible change of the pressure
    if "pressure_GPa" in results and drifting & set(STRUCTURAL):
        results["pressure_GPa"] = _no_result(results["pressure_GPa"], statistics.DRIFTING)
    return results


def _no_result(mean: statistics.Mean, note: str) -> statistics.Mean:
    """Mean without an error and with a note, unless the series is constant."""
    if mean.note == statistics.CONSTANT:
        return mean
    return mean._replace(error=None, note=note)


def _drift(table: Table, atoms: int) -> dict[str, float]:
    """Drift of the conserved energy in meV/atom/ps, its error, and the rms in meV/atom."""
    late = slice(int(SETTLING * len(table["step"])), None)
    energy = 1000 * table["conserved_eV"][late] / atoms  # meV per atom
    drift = linear_drift(table["time_ps"][late], energy)
    return {
        "drift_meV_per_atom_per_ps": drift.slope,
        "error_drift": drift.error,
        "rms_meV_per_atom": drift.rms,
    }


def described(means: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Rows (quantity, value with error or why there is none, unit) for tables of a `summary`.

    Parameters
    ----------
    means:
        Result of `summary`.
    """
    rows = []
    # columns are named after their quantity and unit
    for name in AVERAGED:
        if f"mean_{name}" in means:
            quantity, unit = name.rsplit("_", 1)
            symbol = unit.replace("A3", "A^3")
            text = _text(means, name)
            # a text that is no number has no unit
            rows.append((f"mean {quantity}", text, "" if text == statistics.DRIFTING else symbol))
    if "equilibrated_from_ps" in means:
        start = means["equilibrated_from_ps"]
        rows.append(("equilibrated from", f"{start:.4g}", "ps"))
    if "drift_meV_per_atom_per_ps" in means:
        slope = means["drift_meV_per_atom_per_ps"]
        error = means["error_drift"]
        rms = means["rms_meV_per_atom"]
        drift = statistics.with_error(slope, error)
        rows.append(("drift of the conserved energy", drift, "meV/atom/ps"))
        rows.append(("RMS about the drift", f"{rms:.2g}", "meV/atom"))
    return rows


def _text(means: dict[str, Any], name: str) -> str:
    """Mean of a column with its error, or why it has none."""
    note: str | None = means["notes"].get(name)
    if note in statistics.NO_MEAN:
        return note  # the mean is no result
    value: float = means[f"mean_{name}"]
    if note is not None:
        return f"{value:.8g} ({note})"
    return statistics.with_error(value, means[f"error_{name}"])


def drift_note(table: Table, means: dict[str, Any]) -> str | None:
    """Note on a drift of the conserved energy that is significant and a part of kT; else None.

    Parameters
    ----------
    table:
        Table of the run.
    means:
        Its `summary`.
    """
    if not means.get("error_drift", 0) > 0:
        return None
    drift = means["drift_meV_per_atom_per_ps"]
    error = means["error_drift"]
    length = float(table["time_ps"][-1])
    change = abs(drift) * length  # meV/atom
    thermal = 1000 * units.kB * max(means["mean_temperature_K"], 1.0)
    if abs(drift) <= DRIFT_ERRORS * error or change <= LARGE_DRIFT * thermal:
        return None
    return (
        f"the conserved energy drifts by {drift:.3g} +- {error:.2g} meV/atom/ps, by {change:.3g}"
        f" meV/atom in {length:g} ps, {change / thermal:.2g} of kT: try a shorter `timestep`, a"
        " longer `thermostat_time` or `barostat_time`, or examine the calculator with `ase-pet"
        " check --only nve`"
    )


def uncertainty_threshold(folder: Path) -> float:
    """Energy in eV, above which the calculator of a run calls an atomic energy uncertain.

    Parameters
    ----------
    folder:
        Folder of the run; the default for other folders.
    """
    if not (folder / SETTINGS).exists():
        return THRESHOLD
    calculator = folders.read(folder).get("calculator", {})
    text = calculator.get("parameters", {}).get("uncertainty_threshold", THRESHOLD)
    return float(text)


def plot(folder: Path, atoms: int) -> Path:
    """Path of thermo.png: energies per atom, temperature and, in a cell, pressure over time.

    Dashed lines are the targets of thermostat and barostat; the equilibration is grey.

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
    plots.figure_class()  # fails before anything is read
    table = read(folder)
    settings = folders.read(folder)["settings"] if (folder / SETTINGS).exists() else {}
    settings |= {"uncertainty_threshold": uncertainty_threshold(folder)}
    results = summary(table, atoms)
    figure = plots.draw(table, results, settings, atoms, plots.title(folder))
    picture = folder / PICTURE
    figure.savefig(picture, dpi=130)
    return picture
