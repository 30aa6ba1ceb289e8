"""Trajectories of molecular dynamics: runs of this package, or any files that ASE reads."""

from __future__ import annotations

import dataclasses
import glob
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms, units

from ..md import folders, thermo
from ..md.outputs import SETTINGS, THERMO, TRAJECTORY

UNEVEN = 1e-3  # relative difference of the times between frames


@dataclasses.dataclass(frozen=True)
class Trajectory:
    """Frames of a trajectory, read one after the other whenever they are needed.

    Attributes
    ----------
    paths:
        Files with the frames, in this order.
    interval:
        Time between frames in ps, None if unknown.
    ensemble:
        nve, nvt or npt, None if unknown.
    series:
        {column: (m,) array} of each frame, or of each row of thermo.csv: time_ps and, where known,
        potential_eV, total_eV, kinetic_eV, temperature_K, pressure_GPa, volume_A3, uncertainty_eV,
        max_atom_uncertainty_eV.
    cells:
        (frames, 6) lengths in A and angles in degrees.
    first:
        First frame.
    masses:
        Masses of the atoms (n,) in u.
    has_momenta:
        Whether all frames have momenta.
    settings:
        Settings of the run in a folder, for others empty.
    uneven:
        Whether the frames have times that are not evenly spaced, so that there is no interval.
    """

    paths: tuple[Path, ...]
    interval: float | None
    ensemble: str | None
    series: dict[str, np.ndarray]
    cells: np.ndarray
    first: Atoms
    masses: np.ndarray
    has_momenta: bool
    settings: dict[str, Any]
    uneven: bool = False

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def periodic(self) -> bool:
        """Whether the cell is periodic in three directions."""
        return bool(self.first.pbc.all()) and self.first.cell.rank == 3

    def frames(self, start: int = 0, step: int = 1) -> Iterator[Atoms]:
        """Yield the frames from `start` on, each `step`-th of them.

        Parameters
        ----------
        start:
            Index of the first frame.
        step:
            Distance of the indices.
        """
        for index, atoms in enumerate(_read(self.paths)):
            if index >= start and (index - start) % step == 0:
                yield atoms

    def require_interval(self, what: str) -> float:
        """Time between frames in ps.

        Parameters
        ----------
        what:
            What needs it, for the error.

        Raises
        ------
        ValueError
            It is unknown.
        """
        if self.interval is None and self.uneven:
            raise ValueError(
                "the frames are not evenly spaced in time (`time_ps`): expected frames at one"
                " interval"
            )
        if self.interval is None:
            raise ValueError(
                f"{what} needs the time between frames, and the frames have no `time_ps` in their"
                " info: give `interval` in fs (--timestep-between-frames)"
            )
        return self.interval


def read(
    source: Path | str, interval: float | None = None, ensemble: str | None = None
) -> Trajectory:
    """Trajectory of a run folder, a file, or several files that match a pattern such as "*.traj".

    All frames are read once, and checked.

    Parameters
    ----------
    source:
        Folder of a run, path of a file, or pattern.
    interval:
        Time between frames in fs; None for that of `time_ps` in the info of the frames.
    ensemble:
        nve, nvt or npt; None for that in the settings of the run.

    Raises
    ------
    ValueError
        There are less than two frames, they have different atoms, or a number is not finite.
    OSError
        There is no such file.
    """
    if interval is not None and not (np.isfinite(interval) and interval > 0):
        raise ValueError(
            f"`interval` (--timestep-between-frames) is {interval!r}: expected fs, above 0"
        )
    if ensemble not in (None, "nve", "nvt", "npt"):
        raise ValueError(f"`ensemble` is {ensemble!r}: valid choices are nve, nvt, npt")
    folder = Path(source)
    settings: dict[str, Any] = {}
    if folder.is_dir() and (folder / SETTINGS).exists():
        settings = folders.read(folder)["settings"]
    paths = _paths(folder)
    scan = _Scan()
    for index, atoms in enumerate(_read(paths)):
        scan.add(index, atoms)
    scan.check(source)
    series = scan.series()
    times = series["time_ps"]
    if interval is None:
        spacing = _interval(times)
    else:
        spacing = interval / 1000
        series["time_ps"] = spacing * np.arange(len(scan.cells))
    # more rows than frames
    table = folder / THERMO
    if folder.is_dir() and table.exists():
        series = thermo.read(folder)
    return Trajectory(
        paths=paths,
        interval=spacing,
        ensemble=ensemble or settings.get("ensemble"),
        series=series,
        cells=np.array(scan.cells),
        first=scan.first,
        masses=scan.first.get_masses(),
        has_momenta=scan.has_momenta,
        settings=settings,
        uneven=interval is None and spacing is None and bool(np.isfinite(times).all()),
    )


class _Scan:
    """What is remembered of each frame, and what is checked."""

    def __init__(self) -> None:
        self.cells: list[np.ndarray] = []
        self.rows: list[dict[str, float]] = []
        self.has_momenta = True

    def add(self, index: int, atoms: Atoms) -> None:
        """Check a frame, and remember its cell, energies and time."""
        if index == 0:
            self.first = atoms
        if not np.array_equal(atoms.numbers, self.first.numbers):
            raise ValueError(
                f"frame {index} has the atoms {atoms.symbols}, and frame 0 {self.first.symbols}:"
                " expected the same atoms in the same order in all frames"
            )
        if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
            raise ValueError(f"frame {index} has positions or a cell that are not finite")
        momenta = atoms.arrays.get("momenta")
        if momenta is None:
            self.has_momenta = False
        elif not np.isfinite(momenta).all():
            raise ValueError(f"frame {index} has momenta that are not finite")
        self.cells.append(atoms.cell.cellpar())
        self.rows.append(self._row(atoms))

    def check(self, source: Path | str) -> None:
        """Raise ValueError if there is nothing to analyse."""
        if len(self.cells) < 2:
            raise ValueError(f"`{source}` has {len(self.cells)} frame: expected two or more")

    def series(self) -> dict[str, np.ndarray]:
        """Columns that all frames have; the time is nan where it is unknown."""
        shared = set(self.rows[0])
        for row in self.rows:
            shared &= row.keys()
        columns = {}
        for name in sorted(shared):
            columns[name] = np.array([row[name] for row in self.rows])
            if name != "time_ps":
                _check_finite(name, columns[name])
        return columns

    def _time(self, atoms: Atoms) -> float:
        """Time of a frame in ps, nan if it has none."""
        time = atoms.info.get("time_ps", np.nan)
        try:
            return float(time)
        except (TypeError, ValueError):
            raise ValueError(
                f"frame {len(self.rows)} has `time_ps` {time!r} in its info: expected a number"
            ) from None

    def _row(self, atoms: Atoms) -> dict[str, float]:
        """What is known of a frame: nothing is computed here by a calculator."""
        row = {"time_ps": self._time(atoms)}
        if atoms.cell.rank == 3:
            row["volume_A3"] = float(atoms.get_volume())
        if "energies_uncertainty_eV" in atoms.arrays:
            row["max_atom_uncertainty_eV"] = float(atoms.arrays["energies_uncertainty_eV"].max())
        results = {} if atoms.calc is None else atoms.calc.results
        if "energy" in results:
            row["potential_eV"] = float(results["energy"])
        if "momenta" in atoms.arrays:
            kinetic = float(atoms.get_kinetic_energy())
            degrees = max(3 * len(atoms) - 3, 1)
            row["kinetic_eV"] = kinetic
            row["temperature_K"] = 2 * kinetic / (degrees * units.kB)
        if {"potential_eV", "kinetic_eV"} <= row.keys():
            row["total_eV"] = row["potential_eV"] + row["kinetic_eV"]
        return row


def _check_finite(name: str, values: np.ndarray) -> None:
    """Raise ValueError for the first frame with a value that is no number."""
    finite = np.isfinite(values)
    if not finite.all():
        index = int(np.argmin(finite))
        raise ValueError(f"frame {index} has {name} {values[index]}: expected a number")


def _paths(source: Path) -> tuple[Path, ...]:
    """Files of a source; OSError if there are none."""
    if source.is_dir():
        file = source / TRAJECTORY
        if not file.exists():
            raise FileNotFoundError(f"`{source}` holds no {TRAJECTORY}")
        return (file,)
    if source.exists():
        return (source,)
    matches = tuple(Path(name) for name in sorted(glob.glob(str(source))))
    if not matches:
        raise FileNotFoundError(f"No such file or folder, and no match: '{source}'")
    return matches


def _read(paths: tuple[Path, ...]) -> Iterator[Atoms]:
    """Frames of the files."""
    for path in paths:
        try:
            yield from ase.io.iread(path, ":")
        except OSError:
            raise
        except Exception as error:  # readers of many formats, each with errors of its own
            raise ValueError(
                f"`{path}` cannot be read as a trajectory: {type(error).__name__}: {error}"
            ) from None


def _interval(times: np.ndarray) -> float | None:
    """Time between frames in ps, None if frames have no times or these are not even."""
    steps = np.diff(times)
    mean = float(np.mean(steps))
    if not np.isfinite(mean):
        return None
    if mean <= 0 or np.ptp(steps) > UNEVEN * mean:
        return None
    return mean
