"""Files of a run: trajectory, table, settings.

They can be cut back to what they were at a state of the run.
"""

import errno
import fcntl
import os
import shutil

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.extxyz import write_extxyz
from ase.io.trajectory import TrajectoryWriter, get_header_data

TRAJECTORY, TEXT, THERMO, SETTINGS = (
    "trajectory.traj",
    "trajectory.extxyz",
    "thermo.csv",
    "settings.toml",
)
# byte at which a file of ASE's format ULM says how many frames it has and where their offsets are
COUNTERS = 32
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
FRAME_BYTES, FRAME_BYTES_OF_AN_ATOM = 1000, 72  # positions, momenta, forces
TEXT_BYTES, TEXT_BYTES_OF_AN_ATOM = 600, 160
ROW_BYTES = 170


class Outputs:
    """Writers of trajectory.traj, thermo.csv and, if asked for, trajectory.extxyz.

    sizes: None for a new run; else what `sizes()` gave: all files are cut back to that point, and
    continued. One process at a time may hold a folder. Raises OSError where another one does, or a
    file is shorter than it was.
    """

    def __init__(self, folder, atoms, extxyz=False, sizes=None):
        self.folder, self._text = folder, None
        # open for the whole run
        self._table = (folder / THERMO).open("a+", encoding="ascii")
        try:
            _lock(self._table, folder)
            self._cut(sizes or {THERMO: 0})
            self._frames = TrajectoryWriter(folder / TRAJECTORY, "a" if sizes else "w")
        except BaseException:
            self._table.close()
            raise
        # compared with the atoms of each frame: the objects of constraints are never those of the
        # file
        if sizes:
            self._frames.header_data = get_header_data(atoms)
        if extxyz:
            self._text = (folder / TEXT).open("a" if sizes else "w", encoding="utf-8")

    def write_frame(self, atoms, step, time, stress):
        """Add a frame: structure, momenta, energy, forces and, if `stress`, the stress.

        Time in ps.
        """
        results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        if stress:
            results["stress"] = atoms.get_stress()
        frame = atoms.copy()
        frame.info.update(step=step, time_ps=time)
        frame.calc = SinglePointCalculator(frame, **results)
        self._frames.write(frame)
        if self._text is not None:
            write_extxyz(self._text, [frame])

    def write_row(self, values):
        """Add a row to the table; the first one adds the names of its columns as well."""
        if self._table.tell() == 0:
            self._table.write(",".join(values) + "\n")
        self._table.write(",".join(f"{value:.12g}" for value in values.values()) + "\n")

    def sizes(self):
        """{file.

        Bytes} after everything has reached the disk, and the counters of the trajectory.
        """
        backend = self._frames.backend
        handles = {TRAJECTORY: backend.fd, THERMO: self._table}
        if self._text is not None:
            handles[TEXT] = self._text
        found = {"frames": int(backend.nitems), "offsets": int(backend.pos0)}
        for name, handle in handles.items():
            handle.flush()
            os.fsync(handle.fileno())
            found[name] = os.fstat(handle.fileno()).st_size
        return found

    def close(self):
        """Close all files."""
        self._frames.close()
        if self._text is not None:
            self._text.close()
        self._table.close()  # last: it is what is locked

    def _cut(self, sizes):
        for name in (THERMO, TRAJECTORY, TEXT):
            if name in sizes:
                _truncate(self.folder / name, sizes[name])
        if TRAJECTORY in sizes:
            with open(self.folder / TRAJECTORY, "r+b") as file:
                file.seek(COUNTERS)
                file.write(np.array([sizes["frames"], sizes["offsets"]], dtype="<i8").tobytes())
        self._table.seek(0, os.SEEK_END)


def prepare(folder):
    """Make the folder and see that files can be written there; raises OSError that names it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise OSError(f"`output` {folder} cannot be written: {error.strerror}") from None


def check_space(folder, needed):
    """Raise OSError where the disk of a folder has fewer free bytes than `needed`."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(
            f"`output` {folder}: the run will write about {needed} bytes, and {free} bytes are free"
            " there: raise `interval` and `thermo_interval`, or use another disk"
        )


def space(atoms, settings, steps):
    """Bytes that so many steps will write, rounded up."""
    count = len(atoms)
    frame = FRAME_BYTES + FRAME_BYTES_OF_AN_ATOM * count
    if settings.extxyz:
        frame += TEXT_BYTES + TEXT_BYTES_OF_AN_ATOM * count
    states = 2 * (10000 + 400 * count)  # the old one and the new one
    return (
        (steps // settings.interval + 1) * frame
        + (steps // settings.thermo_interval + 1) * ROW_BYTES
        + states
    )


def _lock(file, folder):
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BlockingIOError(
            f"`output` {folder} belongs to a run that is going on: wait for it, or use another "
            "folder"
        ) from None
    except OSError as error:
        if (
            error.errno not in NO_LOCKS
        ):  # some file systems of clusters have none: nothing to ask there
            raise


def _truncate(path, size):
    found = path.stat().st_size if path.exists() else 0
    if found < size:
        raise OSError(
            f"`{path}` has {found} bytes, and had {size} at the state to be continued: files of the"
            " run were removed or changed"
        )
    os.truncate(path, size)
