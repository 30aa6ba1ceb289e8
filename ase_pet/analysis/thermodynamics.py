"""Thermodynamics: density, lattice parameters, heat capacity, thermal expansion."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import units

from .. import statistics
from ..md import degrees_of_freedom, thermo
from ._results import Analysis, Curve, number
from .trajectory import Trajectory, read

LATTICE = ("a (A)", "b (A)", "c (A)", "alpha (deg)", "beta (deg)", "gamma (deg)")
GRAMS = 1e24 * units._amu * 1e3  # u/A^3 to g/cm^3
SMALLEST_DIFFERENCE = 1.0  # K, of runs for thermal expansion
# column of tables: what results call it
COLUMNS = {
    "temperature_K": "temperature (K)",
    "pressure_GPa": "pressure (GPa)",
    "volume_A3": "volume (A^3)",
    "potential_eV": "potential energy (eV)",
    "total_eV": "total energy (eV)",
    "density_g_per_cm3": "density (g/cm^3)",
}


def averages(trajectory: Trajectory) -> tuple[Analysis, float | None]:
    """Means of temperature, pressure, energy, volume, density and lattice, and their beginning.

    Parameters
    ----------
    trajectory:
        Trajectory.

    Returns
    -------
    tuple
        The means, and the fraction of the trajectory after which it is equilibrated, None if it
        still drifts.
    """
    series = _series(trajectory)
    means = thermo.means(series, trajectory.series.get("target_K"))
    notes = [mean.note for mean in means.values()]
    used = [mean.start for mean in means.values() if mean.note == ""]
    time = trajectory.series["time_ps"]
    begin = max(used, default=0) / len(time)
    values: dict[str, Any] = {COLUMNS[name]: number(mean) for name, mean in means.items()}
    unsettled = next((note for note in notes if note in statistics.NO_MEAN), None)
    if trajectory.first.cell.rank == 3:
        values |= _lattice(trajectory, int(begin * len(trajectory)), unsettled)
    table = {}
    curves: list[Curve] = []
    # times may be unknown
    if np.isfinite(time).all():
        table = {"time_ps": time, **series}
        curves = [_panel(name, mean) for name, mean in means.items()]
    title = "averages over the trajectory"
    analysis = Analysis("averages", title, values, table, tuple(curves))
    return analysis, begin if unsettled is None else None


def _series(trajectory: Trajectory) -> dict[str, np.ndarray]:
    """{column: (m,) array} of what is averaged."""
    series = {name: trajectory.series[name] for name in COLUMNS if name in trajectory.series}
    if trajectory.periodic and "volume_A3" in series:
        mass = GRAMS * trajectory.masses.sum()
        series["density_g_per_cm3"] = mass / series["volume_A3"]
    return series


def _panel(name: str, mean: statistics.Mean) -> Curve:
    """Panel of a column over time, with its mean where it has an error."""
    # "volume (A^3)" on two lines
    label = COLUMNS[name].replace(" (", "\n(").replace("A^3", "Å³").replace("cm^3", "cm³")
    if mean.error is None:
        return Curve("time_ps", (name,), "time (ps)", label)
    line = (mean.value, f"mean {mean}")
    return Curve("time_ps", (name,), "time (ps)", label, (line,))


def _lattice(trajectory: Trajectory, first: int, unsettled: str | None) -> dict[str, Any]:
    """Mean lengths in A and angles in degrees of the cell after a frame.

    unsettled: why the run has no means, None if it has.
    """
    values = {}
    for name, column in zip(LATTICE, trajectory.cells.T, strict=True):
        mean = statistics.mean(column[first:], start=0)
        if unsettled is not None and mean.note != statistics.CONSTANT:
            mean = mean._replace(error=None, note=unsettled)
        values[name] = number(mean)
    return values


def heat_capacity(trajectory: Trajectory, start: float) -> Analysis:
    """Heat capacity from fluctuations: of the volume in nvt and nve, of the pressure in npt.

    nvt: C_V = <dE^2> / (k T^2), with the total energy E. npt: C_P = <dH^2> / (k T^2), with H = E +
    P V. nve: C_V = (f k / 2) / (1 - f <dK^2> / (2 <K>^2)), with the kinetic energy K of f degrees
    of freedom (J. L. Lebowitz, J. K. Percus and L. Verlet, Phys. Rev. 153, 250 (1967)). All are
    classical: quantum effects are large below the Debye temperature.

    Parameters
    ----------
    trajectory:
        Trajectory with energies and momenta.
    start:
        Fraction of the trajectory before which it is not equilibrated.

    Raises
    ------
    ValueError
        The ensemble is unknown, or frames have no energies or momenta.
    """
    needed = {"total_eV", "kinetic_eV", "temperature_K"}
    missing = sorted(needed - trajectory.series.keys())
    if missing:
        raise ValueError(f"the heat capacity needs energies and momenta: no {', '.join(missing)}")
    if trajectory.ensemble is None:
        raise ValueError(
            "the heat capacity needs the ensemble: give `ensemble` nve, nvt or npt (--ensemble)"
        )
    late = _late(trajectory, start)
    if trajectory.ensemble == "nve":
        capacity = _microcanonical(late, degrees_of_freedom(trajectory.first))
    else:
        capacity = _canonical(late, _enthalpy(trajectory, late))
    symbol = "C_P" if trajectory.ensemble == "npt" else "C_V"
    per_atom = _scaled(capacity, 1 / len(trajectory.first))
    values = {
        f"{symbol} (k per atom)": number(_scaled(per_atom, 1 / units.kB), 5),
        f"{symbol} (J/K per mol of atoms)": number(_scaled(per_atom, units.mol / units.J), 5),
    }
    note = "classical; quantum effects lower it below the Debye temperature"
    title = f"heat capacity {symbol} from fluctuations in {trajectory.ensemble}"
    return Analysis("heat_capacity", title, values, {}, (), (note,))


def _enthalpy(trajectory: Trajectory, late: dict[str, np.ndarray]) -> np.ndarray:
    """(m,) energy, and in npt enthalpy, in eV."""
    if trajectory.ensemble != "npt":
        return late["total_eV"]
    pressure = np.mean(trajectory.settings.get("pressure", 0.0)) * units.GPa
    return np.asarray(late["total_eV"] + pressure * late["volume_A3"])


def _canonical(late: dict[str, np.ndarray], energy: np.ndarray) -> statistics.Mean:
    """Heat capacity in eV/K from the variance of the energy."""
    temperature = late["temperature_K"].mean()
    squares = (energy - energy.mean()) ** 2
    # the mean of the run takes up one of the independent samples
    samples = statistics.mean(energy, start=0).samples
    unbiased = samples / max(samples - 1, 1)
    factor = unbiased / (units.kB * temperature**2)
    return _scaled(statistics.mean(squares, start=0), factor)


def _microcanonical(late: dict[str, np.ndarray], degrees: int) -> statistics.Mean:
    """Heat capacity in eV/K from the variance of the kinetic energy in nve."""
    kinetic = late["kinetic_eV"]
    average = kinetic.mean()
    squares = (kinetic - average) ** 2 / average**2
    variance = statistics.mean(squares, start=0)
    # of the kinetic energy alone
    ideal = degrees * units.kB / 2
    denominator = 1 - degrees * variance.value / 2
    if denominator <= 0:
        raise ValueError(
            "the heat capacity in nve: the run is too short, as the kinetic energy fluctuates no"
            " less than at constant temperature"
        )
    capacity = ideal / denominator
    # error propagation: dC = C^2 / ideal * degrees / 2 * dvariance
    slope = capacity**2 / ideal * degrees / 2
    error = None if variance.error is None else slope * variance.error
    return variance._replace(value=float(capacity), error=error)


def _scaled(mean: statistics.Mean, factor: float) -> statistics.Mean:
    error = None if mean.error is None else float(mean.error * factor)
    return mean._replace(value=float(mean.value * factor), error=error)


def expansion_from_fluctuations(trajectory: Trajectory, start: float) -> Analysis:
    """Volumetric thermal expansion (1/V) dV/dT = <dV dH> / (k T^2 <V>) of an npt run.

    Parameters
    ----------
    trajectory:
        Trajectory in npt with energies, momenta and volumes.
    start:
        Fraction of the trajectory before which it is not equilibrated.

    Raises
    ------
    ValueError
        The ensemble is not npt, or frames have no energies or momenta.
    """
    missing = sorted({"total_eV", "temperature_K", "volume_A3"} - trajectory.series.keys())
    if trajectory.ensemble != "npt" or missing:
        raise ValueError("thermal expansion from fluctuations needs an npt run with energies")
    late = _late(trajectory, start)
    enthalpy = _enthalpy(trajectory, late)
    volume = late["volume_A3"]
    mean_volume = volume.mean()
    products = (volume - mean_volume) * (enthalpy - enthalpy.mean())
    temperature = late["temperature_K"].mean()
    factor = 1 / (units.kB * temperature**2 * mean_volume)
    expansion = _scaled(statistics.mean(products, 0), factor)
    linear = _scaled(expansion, 1 / 3)
    values = {
        "volumetric expansion (1/K)": number(expansion, 5),
        "linear expansion, third of it (1/K)": number(linear, 5),
    }
    return Analysis("expansion", "thermal expansion from fluctuations", values, {}, ())


def _late(trajectory: Trajectory, start: float) -> dict[str, np.ndarray]:
    """Columns after a fraction of the trajectory."""
    first = int(start * len(trajectory.series["total_eV"]))
    return {name: values[first:] for name, values in trajectory.series.items()}


def thermal_expansion(sources: Sequence[Path | str | Trajectory]) -> Analysis:
    """Thermal expansion from the mean volumes of npt runs at several temperatures.

    A straight line is fitted to the volume over the mean temperature, weighted by the errors;
    alpha = slope / mean volume.

    Parameters
    ----------
    sources:
        Run folders, files or trajectories, at two or more temperatures.

    Raises
    ------
    ValueError
        Runs have different atoms, no volume or temperature, or fewer than two temperatures.
    """
    runs = []
    for source in sources:
        run = source if isinstance(source, Trajectory) else read(source)
        runs.append(run)
    formulas = {run.first.get_chemical_formula() for run in runs}
    # volumes of the same cell
    if len(formulas) > 1:
        different = ", ".join(sorted(formulas))
        raise ValueError(f"thermal expansion of runs with different atoms: {different}")
    rows = np.array([_volume(run) for run in runs])
    temperatures = rows[:, 0]
    if np.ptp(temperatures) < SMALLEST_DIFFERENCE:
        raise ValueError("thermal expansion needs runs at two or more temperatures")
    return _expansion(*rows.T)


def _expansion(
    temperature: np.ndarray, temperature_error: np.ndarray, volume: np.ndarray, error: np.ndarray
) -> Analysis:
    """Thermal expansion from (k,) temperatures in K and volumes in A^3 with their errors."""
    # an error of the temperature shifts the volume along the line
    slope = np.polyfit(temperature, volume, 1)[0]
    error = np.hypot(error, slope * temperature_error)
    known = bool(np.isfinite(error).all())
    weights = 1 / error if known else np.ones(len(error))
    line, covariance = np.polyfit(temperature, volume, 1, w=weights, cov="unscaled")
    average = np.average(volume, weights=weights**2)
    variance = covariance[0, 0]
    slope_error = float(np.sqrt(variance)) if known else None
    values = {
        "volumetric expansion (1/K)": _ratio(line[0], slope_error, average),
        "linear expansion (1/K)": _ratio(line[0], slope_error, 3 * average),
    }
    table = {
        "temperature_K": temperature,
        "volume_A3": volume,
        "error_A3": error,
        "line_A3": np.polyval(line, temperature),
    }
    return _expansion_analysis(values, table, known)


def _expansion_analysis(
    values: dict[str, Any], table: dict[str, np.ndarray], known: bool
) -> Analysis:
    """Analysis with the picture; known: whether all volumes have error bars."""
    notes: tuple[str, ...] = ()
    if not known:
        notes = ("a run is too short for an error bar of its volume: the result has none",)
    columns = ("volume_A3", "line_A3")
    curve = Curve("temperature_K", columns, "temperature (K)", "volume (Å³)", style="o-")
    title = "thermal expansion"
    return Analysis("thermal_expansion", title, values, table, (curve,), notes)


def _ratio(value: float, error: float | None, divisor: float) -> dict[str, float | None]:
    """Value and error over a divisor, for JSON."""
    scaled = None if error is None else float(f"{error / divisor:.3g}")
    return {"value": float(f"{value / divisor:.5g}"), "error": scaled}


def _volume(trajectory: Trajectory) -> tuple[float, float, float, float]:
    """Temperature in K and its error, mean volume in A^3 and its error, nan if it has none.

    The temperature is that of the thermostat, or the mean of a trajectory without settings.
    """
    names = ("temperature_K", "volume_A3")
    if any(name not in trajectory.series for name in names):
        raise ValueError("thermal expansion needs momenta and a cell in all runs")
    means = statistics.means({name: trajectory.series[name] for name in names})
    volume = means["volume_A3"]
    if volume.note == statistics.CONSTANT:
        raise ValueError("thermal expansion needs npt runs: the volume of a run is constant")
    target = trajectory.settings.get("temperature")
    if isinstance(target, int | float):
        return float(target), 0.0, volume.value, _known(volume.error)
    kelvin = means["temperature_K"]
    return kelvin.value, _known(kelvin.error), volume.value, _known(volume.error)


def _known(error: float | None) -> float:
    """An error, nan if there is none."""
    return np.nan if error is None else error
