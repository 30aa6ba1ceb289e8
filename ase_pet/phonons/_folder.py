"""Folders of results: whose they are, and the files of a relaxation while it goes on."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixSymmetry
from ase.io.trajectory import Trajectory

from .. import extxyz
from ._setting import restore_cell

RELAXED = "relaxed.extxyz"
TRAJECTORY = "relaxation.traj"


def identity(atoms: Atoms) -> dict[str, str]:
    """Formula of a structure and a hash of its cell, atoms and masses, to compare structures.

    Parameters
    ----------
    atoms:
        Structure.
    """
    digest = hashlib.sha256()
    arrays = (atoms.cell.array, atoms.positions, atoms.get_masses(), atoms.numbers, atoms.pbc)
    for values in arrays:
        # 1e-6 A: files round; -0.0 and 0.0 are the same
        rounded = np.round(np.asarray(values, dtype=float), 6) + 0.0
        digest.update(rounded.tobytes())
    formula = atoms.get_chemical_formula()
    return {"formula": formula, "sha256": digest.hexdigest()[:16]}


def require_own(path: Path | str, now: dict[str, str], overwrite: bool = False) -> None:
    """Raise ValueError if a report exists and belongs to another structure.

    Parameters
    ----------
    path:
        File of the report, in JSON, whose entry "input" is the `identity` of its structure.
    now:
        `identity` of the structure whose results will be written.
    overwrite:
        Allow it.
    """
    path = Path(path)
    if overwrite or not path.exists():
        return
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        before: Any = content.get("input")
    except (ValueError, AttributeError):
        before = None
    if isinstance(before, dict) and before.get("sha256") == now["sha256"]:
        return
    # a relaxation that goes on from its own result
    relaxed = path.parent / RELAXED
    if isinstance(before, dict) and relaxed.exists():
        own: Any = ase.io.read(relaxed)
        if identity(own)["sha256"] == now["sha256"]:
            return
    whose = before.get("formula", "?") if isinstance(before, dict) else "another structure"
    raise ValueError(
        f"`{path}` holds results of {whose}, from another structure than this {now['formula']}:"
        " choose another folder (--output), or allow to replace them (--overwrite)"
    )


class Record:
    """Files of a relaxation, written at each of its steps, so that they survive its end.

    relaxed.extxyz is the last structure; its `info["converged"]` says whether it is the result.
    relaxation.traj holds all of them, with energies and forces.

    Parameters
    ----------
    folder:
        Folder to write to; it is created if needed. None: nothing is written.
    initial:
        Structure of the user, in whose setting of the cell the files are.
    """

    def __init__(self, folder: Path | str | None, initial: Atoms) -> None:
        self.folder = None if folder is None else Path(folder)
        self._initial = initial
        self._trajectory: Any = None
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._trajectory = Trajectory(self.folder / TRAJECTORY, "w")

    def __enter__(self) -> Record:
        """The record itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the files; kind, error, traceback: those of an exception, which is not handled."""
        if self._trajectory is not None:
            self._trajectory.close()

    def structure(self, atoms: Atoms, converged: bool) -> None:
        """Write the last structure.

        Parameters
        ----------
        atoms:
            Structure with its calculator.
        converged:
            Whether it is the result.
        """
        if self.folder is None:
            return
        frame = _frame(atoms, self._initial)
        frame.info["converged"] = converged
        # a file that is replaced is never half written
        temporary = self.folder / f".{RELAXED}"
        extxyz.write(temporary, [frame])
        os.replace(temporary, self.folder / RELAXED)

    def step(self, atoms: Atoms) -> None:
        """Add a structure to the trajectory.

        Parameters
        ----------
        atoms:
            Structure with its calculator.
        """
        if self.folder is None:
            return
        self.structure(atoms, converged=False)
        self._trajectory.write(_frame(atoms, self._initial))


def _frame(atoms: Atoms, initial: Atoms) -> Atoms:
    """Copy with the energy, forces and stress that the calculator has computed already."""
    frame: Atoms = atoms.copy()
    # it holds a structure of its own, which trajectories cannot store
    constraints = [item for item in atoms.constraints if not isinstance(item, FixSymmetry)]
    frame.set_constraint(constraints)
    restore_cell(frame, initial)
    results = {
        "energy": float(atoms.get_potential_energy(apply_constraint=False)),
        "forces": np.array(atoms.get_forces(apply_constraint=False)),
    }
    try:
        stress = atoms.calc.get_property("stress", atoms, allow_calculation=False)
    except PropertyNotImplementedError:
        stress = None
    if stress is not None:
        results["stress"] = np.array(stress)
    frame.calc = SinglePointCalculator(frame, **results)
    return frame
