"""Files of a run: trajectory, table and settings.

All of them can be cut back to their size at a saved state of the run.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.extxyz import write_extxyz
from ase.io.trajectory import TrajectoryWriter, get_header_data

from ..constraints import true_forces
from ..extxyz import without_labels, writable
from .settings import Settings

TRAJECTORY = "trajectory.traj"
UNCERTAIN = "uncertain"  # info of a frame with an atom above the threshold of uncertainty
TEXT = "trajectory.extxyz"
THERMO = "thermo.csv"
SETTINGS = "settings.toml"

# Byte of ASE's trajectory format (ULM) that holds the number of frames and, after it, the position
# of the table of their offsets.
COUNTERS = 32
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)

# estimated sizes in bytes
FRAME_BYTES = 1000
FRAME_BYTES_PER_ATOM = 72  # positions, momenta, forces
TEXT_BYTES = 600
TEXT_BYTES_PER_ATOM = 160
ROW_BYTES = 170
STATE_BYTES = 10000
STATE_BYTES_PER_ATOM = 400


class Outputs:
    """Writers of trajectory.traj, thermo.csv and, if asked for, trajectory.extxyz.

    Only one process at a time can write to a folder.

    Parameters
    ----------
    folder:
        Folder of the run.
    atoms:
        Structure of the run.
    extxyz:
        Whether to write trajectory.extxyz as well.
    sizes:
        Result of `sizes()` of a run to be continued: all files are cut back to these sizes. None
        for a new run.

    Raises
    ------
    OSError
        Another process writes to the folder, or a file is shorter than its size in `sizes`.
    """

    def __init__(
        self,
        folder: Path,
        atoms: Atoms,
        extxyz: bool = False,
        sizes: dict[str, int] | None = None,
    ) -> None:
        self.folder = folder
        self._text: IO[str] | None = None
        # the lock on this file is held until it is closed, at the end of the run
        self._table = (folder / THERMO).open("a+", encoding="ascii")
        try:
            _lock(self._table, folder)
            self._cut(sizes or {THERMO: 0})
            self._frames: Any = TrajectoryWriter(folder / TRAJECTORY, "a" if sizes else "w")
        except BaseException:
            self._table.close()
            raise
        # ASE compares the constraints of each frame with those of the file, by identity: without
        # this line it would write a new header
        if sizes:
            self._frames.header_data = get_header_data(atoms)
        if extxyz:
            self._text = (folder / TEXT).open("a" if sizes else "w", encoding="utf-8")

    def frame(
        self,
        atoms: Atoms,
        step: int,
        time: float,
        stress: bool,
        uncertainties: Mapping[str, np.ndarray],
    ) -> Atoms:
        """Copy of a structure with momenta, energy and forces, those of the potential.

        Parameters
        ----------
        atoms:
            Structure with its calculator.
        step:
            Number of the step.
        time:
            Time in ps.
        stress:
            Whether to store the stress as well.
        uncertainties:
            Standard deviations in eV, {ASE's name: value}; empty without any.
        """
        # readers of the frame apply its constraints again, such as the energy of a Hookean
        energy = atoms.get_potential_energy(apply_constraint=False)
        results = {"energy": energy, "forces": true_forces(atoms)}
        if stress:
            results["stress"] = atoms.get_stress(apply_constraint=False)
        frame: Atoms = atoms.copy()
        without_labels(frame)
        frame.info.update(step=step, time_ps=time)
        for name, values in uncertainties.items():
            # one value for each atom, or one for the structure
            if values.ndim:
                frame.arrays[f"{name}_eV"] = values
            else:
                frame.info[f"{name}_eV"] = float(values)
        frame.calc = SinglePointCalculator(frame, **results)
        return frame

    def write_frame(self, frame: Atoms) -> None:
        """Append a `frame` to the trajectory."""
        self._frames.write(frame)
        if self._text is not None:
            write_text(self._text, frame)

    def write_row(self, values: Mapping[str, float]) -> None:
        """Append a row of `values` to the table, after the names of the columns if it is empty."""
        if self._table.tell() == 0:
            self._table.write(",".join(values) + "\n")
        self._table.write(",".join(f"{value:.12g}" for value in values.values()) + "\n")

    def sizes(self) -> dict[str, int]:
        """Size in bytes of each file, after all data has reached the disk.

        "frames" and "offsets" are the counters of the trajectory, see `COUNTERS`.
        """
        backend = self._frames.backend
        handles = {TRAJECTORY: backend.fd, THERMO: self._table}
        if self._text is not None:
            handles[TEXT] = self._text
        # the counters are in memory only as long as the trajectory is open
        sizes = {"frames": int(backend.nitems), "offsets": int(backend.pos0)}
        for name, handle in handles.items():
            handle.flush()
            number = handle.fileno()
            os.fsync(number)
            sizes[name] = os.fstat(number).st_size
        return sizes

    def close(self) -> None:
        """Close all files."""
        self._frames.close()
        if self._text is not None:
            self._text.close()
        self._table.close()  # last: this releases the lock

    def _cut(self, sizes: dict[str, int]) -> None:
        """Cut the files that are named back to their sizes."""
        for name in (THERMO, TRAJECTORY, TEXT):
            if name in sizes:
                _truncate(self.folder / name, sizes[name])
        if TRAJECTORY in sizes:
            # frames that were cut off are still counted at the beginning of the file
            counters = np.array([sizes["frames"], sizes["offsets"]], dtype="<i8")
            trajectory = self.folder / TRAJECTORY
            with open(trajectory, "r+b") as file:
                file.seek(COUNTERS)
                file.write(counters.tobytes())
        self._table.seek(0, os.SEEK_END)


def write_text(file: IO[str], frame: Atoms) -> None:
    """Append a `frame` to an open `file` in extxyz, without what the format cannot hold."""
    fitting = writable(frame)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Skipping unhashable information")
        write_extxyz(file, [fitting])


def are_complete(folder: Path, sizes: Mapping[str, int]) -> bool:
    """Whether trajectory and table have at least their sizes at the end of a run.

    Parameters
    ----------
    folder:
        Folder of the run.
    sizes:
        Result of `Outputs.sizes` at the end.
    """
    paths = {name: folder / name for name in (TRAJECTORY, THERMO)}
    return all(path.exists() and path.stat().st_size >= sizes[name] for name, path in paths.items())


def prepare(folder: Path) -> None:
    """Create a `folder` and check that files can be written there; OSError names it if not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise OSError(f"`output` {folder} cannot be written: {error.strerror}") from None


def check_space(folder: Path, needed: int) -> None:
    """Raise OSError if the disk of a `folder` has fewer free bytes than `needed`."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(
            f"`output` {folder}: the run will write about {needed} bytes, and {free} bytes are free"
            " there: raise `interval` and `thermo_interval`, or use another disk"
        )


def space(atoms: Atoms, settings: Settings, steps: int) -> int:
    """Upper estimate of the bytes that a run writes.

    Parameters
    ----------
    atoms:
        Structure of the run.
    settings:
        Settings of the run.
    steps:
        Number of steps.
    """
    count = len(atoms)
    frame = FRAME_BYTES + FRAME_BYTES_PER_ATOM * count
    if settings.extxyz:
        frame += TEXT_BYTES + TEXT_BYTES_PER_ATOM * count
    state = STATE_BYTES + STATE_BYTES_PER_ATOM * count
    # the first step has a frame and a row as well
    frames = steps // settings.interval + 1
    rows = steps // settings.thermo_interval + 1
    states = 2 * state  # the old one and the new one
    return frames * frame + rows * ROW_BYTES + states


def _lock(file: IO[str], folder: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BlockingIOError(
            f"`output` {folder} belongs to a run that is going on: wait for it, or use another "
            "folder"
        ) from None
    except OSError as error:
        # some file systems of clusters have no locks: the run then goes on without one
        if error.errno not in NO_LOCKS:
            raise


def _truncate(path: Path, size: int) -> None:
    current = path.stat().st_size if path.exists() else 0
    if current < size:
        raise OSError(
            f"`{path}` has {current} bytes, and had {size} at the state to be continued: files of"
            " the run were removed or changed"
        )
    os.truncate(path, size)
