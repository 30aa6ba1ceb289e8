"""Motion: mean square displacement, diffusion coefficients, vibrational density of states."""

from __future__ import annotations

import math
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from ase import Atoms, units
from scipy.signal import welch

from ..graph.neighbours import half_list
from ..graph.structure import from_atoms
from ..md import degrees_of_freedom
from ._results import Analysis, Curve
from .trajectory import Trajectory

WAVENUMBER = 33.35641  # 1/cm for each THz
SEGMENTS = 8  # of a trajectory, for the error of diffusion coefficients
FIT = (0.2, 0.5)  # lags of the fit, in lengths of a segment
DIFFUSIVE = (0.75, 1.25)  # exponents of the mean square displacement that count as diffusion
ROUNDING = 1e-10  # A^2
NEAR = 0.05  # of the squared distance of neighbours; a solid melts at about this displacement
NEIGHBOURS = 6.0  # A, where neighbours are searched
NOT_AT_ALL = 0.3  # exponent of atoms that vibrate
FEWEST = 16  # frames of an analysis of the motion
FEWEST_FRAMES = 80  # for a diffusion coefficient
LONGEST_STEP = 0.35  # of an atom between frames, in periods of the cell
CHUNK = 2**24  # numbers in memory at once
PARTS = 4  # lengths of a spectrum in that of the trajectory
COARSE = 0.05  # resolution that is worth a note, in highest frequencies
HYDROGEN = 135.0  # THz, about the fastest vibration of H2
LIGHT = 75.0  # THz, of bonds between the elements up to fluorine, N2
HEAVY = 20.0  # THz for silicon; it falls with the square root of the mass
SILICON = 28.0  # u


def mean_square_displacement(trajectory: Trajectory, start: int = 0) -> Analysis:
    """Mean square displacement of each element over time, and diffusion coefficients.

    Positions are unwrapped, the motion of the centre of mass is removed, and with a changing cell
    displacements are those relative to the cell. All time origins count. D = slope / 6 between 0.2
    and 0.5 lengths of each of eight segments of the trajectory: their mean, and the standard error
    of it. Where the displacement is not proportional to the time, there is no D, and a note says
    so.

    Parameters
    ----------
    trajectory:
        Trajectory with a time between frames.
    start:
        Index of the first frame, after the equilibration.
    """
    interval = trajectory.require_interval("the mean square displacement")
    _check_frames(len(trajectory) - start)
    values: dict[str, Any] = {}
    notes = []
    with tempfile.TemporaryFile() as file:
        positions = unwrapped(trajectory, start, file)
        near = NEAR * _neighbour_distance(trajectory.first) ** 2
        table = {"time_ps": interval * np.arange(len(positions) // 2)}
        for element, members in _elements(trajectory).items():
            whole, segments = _displacements(positions, members)
            table[f"{element}_A2"] = whole
            found, note = _diffusion(segments, whole, interval, near)
            if found is None:
                notes.append(f"{element}: {note}")
            else:
                values[f"diffusion coefficient of {element} (cm^2/s)"] = found
    columns = tuple(name for name in table if name != "time_ps")
    curve = Curve("time_ps", columns, "time (ps)", "mean square displacement (Å²)")
    return Analysis("msd", "mean square displacement", values, table, (curve,), tuple(notes))


def _check_frames(count: int) -> None:
    """Raise ValueError for too few frames."""
    if count < FEWEST:
        raise ValueError(
            f"too few frames ({count}): expected {FEWEST} or more after the equilibration; lower"
            " --interval of the run"
        )


def _elements(trajectory: Trajectory) -> dict[str, np.ndarray]:
    """{element: indices of its atoms}."""
    symbols = np.array(list(trajectory.first.symbols))
    return {element: np.flatnonzero(symbols == element) for element in sorted(set(symbols))}


def _displacements(positions: np.ndarray, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean square displacements (frames / 2,) of all frames, and (SEGMENTS, lags) of segments."""
    frames = len(positions)
    whole = np.zeros(frames // 2)
    segments = np.zeros((SEGMENTS, frames // SEGMENTS))
    # the sums over atoms need no more memory than a block of them
    for block in _chunks(members, frames):
        part = np.asarray(positions[:, block], dtype=float)
        displacements = _windowed(part)
        whole += displacements[: frames // 2].sum(axis=1)
        segments += _of_segments(part)
    return whole / len(members), segments / len(members)


def unwrapped(trajectory: Trajectory, start: int, file: Any) -> np.ndarray:
    """(frames, n, 3) continuous positions in A without the motion of the centre of mass.

    Parameters
    ----------
    trajectory:
        Trajectory.
    start:
        Index of the first frame.
    file:
        File that holds the array: it may be larger than the memory.
    """
    frames = len(trajectory) - start
    shape = (frames, len(trajectory.first), 3)
    array = _on_disk(file, shape)
    weights = trajectory.masses / trajectory.masses.sum()
    longest = 0.0
    position = np.zeros(shape[1:])
    before: Atoms | None = None
    for index, atoms in enumerate(trajectory.frames(start)):
        if before is not None:
            step, fraction = _step(before, atoms)
            longest = max(longest, fraction)
            position = position + step - weights @ step
        array[index] = position
        before = atoms
    if longest > LONGEST_STEP:
        warnings.warn(
            f"an atom moves by {longest:.2f} periods of the cell between two frames: frames are too"
            " far apart to follow it across the boundary, and displacements may be wrong",
            stacklevel=4,
        )
    return array


def _on_disk(file: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Array of a shape in a file."""
    array: np.ndarray = np.memmap(file, dtype=np.float64, mode="w+", shape=shape)
    return array


def _step(before: Atoms, after: Atoms) -> tuple[np.ndarray, float]:
    """(n, 3) displacements in A relative to the cell, and the longest in periods of the cell."""
    old = before.cell.complete()
    new = after.cell.complete()
    scaled = new.scaled_positions(after.positions) - old.scaled_positions(before.positions)
    # the shortest one modulo the cell
    scaled -= np.round(scaled) * after.pbc
    longest = np.abs(scaled * after.pbc).max()
    return scaled @ new.array, float(longest)


def _chunks(members: np.ndarray, frames: int) -> Iterator[np.ndarray]:
    """Blocks of atoms whose arrays fit into memory."""
    size = max(1, CHUNK // (6 * frames))
    for first in range(0, len(members), size):
        yield members[first : first + size]


def _windowed(positions: np.ndarray) -> np.ndarray:
    """(frames, n) mean square displacement of each atom over all time origins.

    |r(t + lag) - r(t)|^2 = r(t + lag)^2 + r(t)^2 - 2 r(t + lag) r(t): the products are a
    correlation, computed by Fourier transforms. positions: (frames, n, 3).
    """
    frames = len(positions)
    positions = positions - positions.mean(axis=0)  # smaller numbers, less rounding
    squares = (positions**2).sum(axis=2)
    # sums over the origins of a lag: all squares but the first, or last, `lag` ones
    from_start = np.cumsum(squares, axis=0)
    from_end = np.cumsum(squares[::-1], axis=0)
    sums = from_start + from_end
    products = 2 * _correlation(positions)
    origins = np.arange(frames, 0, -1)
    return np.asarray((sums[::-1] - products) / origins[:, None])


def _correlation(positions: np.ndarray) -> np.ndarray:
    """(frames, n) sums over time of r(t + lag) r(t)."""
    frames = len(positions)
    # zeros after the end keep the end from meeting the start
    transform = np.fft.rfft(positions, 2 * frames, axis=0)
    power = np.abs(transform) ** 2
    products = np.fft.irfft(power.sum(axis=2), 2 * frames, axis=0)
    return products[:frames]


def _of_segments(positions: np.ndarray) -> np.ndarray:
    """(SEGMENTS, lags) sum over atoms of the mean square displacement in each segment."""
    length = len(positions) // SEGMENTS
    parts = [positions[index * length : (index + 1) * length] for index in range(SEGMENTS)]
    return np.array([_windowed(part).sum(axis=1) for part in parts])


def _diffusion(
    segments: np.ndarray, whole: np.ndarray, interval: float, near: float
) -> tuple[dict[str, float] | None, str]:
    """Diffusion coefficient in cm^2/s with its error, or None, and a note.

    segments: (SEGMENTS, lags) mean square displacement in A^2; whole: (frames / 2,) that of the
    whole trajectory; near: displacement in A^2 below which atoms have not left their places.
    """
    if 2 * len(whole) < FEWEST_FRAMES:
        return None, f"no diffusion coefficient from fewer than {FEWEST_FRAMES} frames"
    if not whole.max() > ROUNDING:
        return None, "no diffusion coefficient: the atoms do not move"
    fit = _range(segments.shape[1])
    times = interval * np.arange(segments.shape[1])[fit]
    # over the longest lags, vibrations look like what they are
    longest = _exponent(interval * np.arange(len(whole)), whole)
    if longest < NOT_AT_ALL or whole.max() < near:
        return None, "no diffusion coefficient: the atoms stay near their places"
    exponent = _exponent(interval * np.arange(segments.shape[1]), segments.mean(axis=0))
    if not DIFFUSIVE[0] < exponent < DIFFUSIVE[1]:
        return None, (
            f"no diffusion coefficient: the mean square displacement grows as t^{exponent:.2f}"
            " in the range of the fit, diffusion as t"
        )
    slopes = np.polyfit(times, segments[:, fit].T, 1)[0]  # A^2/ps
    coefficients = 1e-4 * slopes / 6  # 1 A^2/ps is 1e-4 cm^2/s
    error = coefficients.std(ddof=1) / np.sqrt(SEGMENTS)
    content = {"value": float(f"{coefficients.mean():.5g}"), "error": float(f"{error:.3g}")}
    return content | {"exponent": round(exponent, 3)}, ""


def _neighbour_distance(atoms: Atoms) -> float:
    """Median distance in A of the atoms to their nearest neighbours, 0 without neighbours."""
    found = half_list(from_atoms(atoms, conditioned=False), NEIGHBOURS)
    nearest = np.full(len(atoms), np.inf)
    distances = found.distances()
    np.minimum.at(nearest, found.centres, distances)
    np.minimum.at(nearest, found.neighbours, distances)
    known = nearest[np.isfinite(nearest)]
    return float(np.median(known)) if len(known) else 0.0


def _range(lags: int) -> slice:
    """Lags of the fit."""
    return slice(max(1, int(FIT[0] * lags)), max(3, int(FIT[1] * lags) + 1))


def _exponent(times: np.ndarray, displacements: np.ndarray) -> float:
    """Exponent a of displacements that grow as t^a in the range of the fit."""
    fit = _range(len(times))
    return float(np.polyfit(np.log(times[fit]), np.log(displacements[fit]), 1)[0])


def vibrational_density_of_states(trajectory: Trajectory, start: int = 0) -> Analysis:
    """Vibrational density of states, whose integral is the number of degrees of freedom.

    Spectrum of the velocities weighted by the masses, sum of m |v(f)|^2 (Welch's method), without
    the motion of the centre of mass. Velocities are those of the frames, or differences of
    positions, whose spectrum is divided by that of the difference.

    Parameters
    ----------
    trajectory:
        Trajectory with a time between frames.
    start:
        Index of the first frame, after the equilibration.

    Raises
    ------
    ValueError
        Without momenta, frames are too far apart for the vibrations.
    """
    interval = trajectory.require_interval("the vibrational density of states")
    _check_frames(len(trajectory) - start)
    highest = highest_frequency(trajectory.masses)
    limit = 0.5 / interval  # THz, of Nyquist
    coarse = (
        f"frames every {1000 * interval:g} fs show frequencies up to {limit:.1f} THz, and these"
        f" atoms may vibrate with up to about {highest:.0f} THz: write a frame at least every"
        f" {500 / highest:.1f} fs"
    )
    if limit < highest:
        if not trajectory.has_momenta:
            raise ValueError(
                f"the vibrational density of states of frames without momenta: {coarse}"
            )
        warnings.warn(f"{coarse}; higher ones appear at wrong, lower frequencies", stacklevel=2)
    with tempfile.TemporaryFile() as file:
        array = _velocities(trajectory, start, file)
        frequencies, spectra = _spectra(trajectory, array, interval)
    return _vibrations(trajectory, frequencies, spectra)


def highest_frequency(masses: np.ndarray) -> float:
    """Rough upper estimate in THz of the vibrations of atoms with these masses.

    Parameters
    ----------
    masses:
        Masses (n,) in u.
    """
    lightest = masses.min()
    if lightest < 4:
        return HYDROGEN / float(np.sqrt(lightest / 1.008))
    if lightest < 20:
        return LIGHT
    return HEAVY * float(np.sqrt(SILICON / lightest))


def _velocities(trajectory: Trajectory, start: int, file: Any) -> np.ndarray:
    """(frames, n, 3) velocities in A/ps, in a file."""
    if not trajectory.has_momenta:
        positions = unwrapped(trajectory, start, file)
        interval = trajectory.require_interval("velocities")
        for index in range(len(positions) - 1):
            positions[index] = (positions[index + 1] - positions[index]) / interval
        return positions[:-1]
    shape = (len(trajectory) - start, len(trajectory.first), 3)
    array = _on_disk(file, shape)
    masses = trajectory.masses
    for index, atoms in enumerate(trajectory.frames(start)):
        velocities = atoms.get_momenta() / masses[:, None]
        if not atoms.constraints:
            velocities -= masses @ velocities / masses.sum()
        array[index] = velocities * 1000 * units.fs
    return array


def _spectra(
    trajectory: Trajectory, array: np.ndarray, interval: float
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(k,) frequencies in THz, and {element: (k,) sum of m |v(f)|^2}."""
    length = max(16, len(array) // PARTS)
    frequencies = np.fft.rfftfreq(length, interval)
    spectra = {}
    for element, members in _elements(trajectory).items():
        total = np.zeros(len(frequencies))
        for block in _chunks(members, len(array)):
            part = np.asarray(array[:, block], dtype=float)
            power = welch(part, 1 / interval, nperseg=length, detrend=False, axis=0)[1]
            total += power.sum(axis=2) @ trajectory.masses[block]
        spectra[element] = total
    if not trajectory.has_momenta:
        # the difference of positions is the mean of the velocity between two frames
        response = np.sinc(frequencies * interval) ** 2
        spectra = {element: total / response for element, total in spectra.items()}
    return frequencies, spectra


def _vibrations(
    trajectory: Trajectory, frequencies: np.ndarray, spectra: dict[str, np.ndarray]
) -> Analysis:
    """Analysis with spectra that are normalised to the number of degrees of freedom."""
    count = degrees_of_freedom(trajectory.first)
    total = np.sum(list(spectra.values()), axis=0)
    area = np.trapezoid(total, frequencies)
    if not area > 0:
        raise ValueError("the vibrational density of states: the atoms do not move")
    scale = count / area
    table = {"frequency_THz": frequencies, "wavenumber_per_cm": WAVENUMBER * frequencies}
    table["total_per_THz"] = scale * total
    if len(spectra) > 1:
        table |= {f"{element}_per_THz": scale * part for element, part in spectra.items()}
    strongest = float(frequencies[int(np.argmax(total))])
    resolution = float(frequencies[1])
    values = {
        "degrees of freedom": count,
        "resolution (THz)": float(f"{resolution:.2g}"),
        "strongest peak (THz)": _resolved(strongest, resolution),
        "strongest peak (1/cm)": _resolved(WAVENUMBER * strongest, WAVENUMBER * resolution),
    }
    # 99.9 % of the states are below this frequency
    cumulative = np.cumsum(total) / total.sum()
    highest = float(frequencies[int(np.searchsorted(cumulative, 0.999))])
    notes: tuple[str, ...] = ()
    if resolution > COARSE * highest:
        length = PARTS / (COARSE * highest)
        notes = (
            f"the run is short: vibrations are resolved to {resolution:.2g} THz"
            f" ({WAVENUMBER * resolution:.0f}/cm); {length:.2g} ps or more show the spectrum",
        )
    else:
        values["99.9 % of the states below (THz)"] = _resolved(highest, resolution)
    shown = min(1.2 * highest + 1, float(frequencies[-1]))
    columns = tuple(name for name in table if name.endswith("_per_THz"))
    above = (WAVENUMBER, "wavenumber (1/cm)")
    label = "states per THz"
    panel = Curve("frequency_THz", columns, "frequency (THz)", label, xlim=(0, shown), top=above)
    return Analysis("vdos", "vibrational density of states", values, table, (panel,), notes)


def _resolved(value: float, resolution: float) -> float:
    """Value with the digits that a resolution allows."""
    digits = -math.floor(math.log10(resolution))
    return round(value, digits) if digits > 0 else int(round(value, digits))
