"""Phonons of a crystal, from its structure to its spectrum."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from .. import constraints, executors
from ..choices import one_of
from . import _costs, _numbers, _paths
from ._folder import identity
from ._forces import forces
from ._protocols import AseCalculator, SupportsCard
from ._symmetry import TOLERANCE, tolerance_of
from .force_constants import DISPLACEMENTS, PROJECTIONS, Crystal
from .relaxation import relax
from .spectrum import LARGE_FORCE, Spectrum

METHODS = ("displacements", "hessian")
LARGEST_FORCE = 0.1  # eV/A in a structure whose phonons are computed without another word
INCONSISTENT = 1e-3  # eV/A, difference of the forces of unit cell and supercell

OnProgress = Callable[[str, int, int | None], object]


def run(
    atoms: Atoms,
    supercell: Sequence[int] | Sequence[Sequence[int]] | np.ndarray = (2, 2, 2),
    *,
    method: str = "displacements",
    displacement: float = 0.01,
    projection: str = "symfc",
    symmetry: bool = True,
    tolerance: float | None = None,
    relaxed: bool = True,
    fmax: float = 1e-4,
    steps: int = 500,
    pressure: float = 0.0,
    allow_forces: bool = False,
    nac: Path | str | None = None,
    mesh: Sequence[int] = (20, 20, 20),
    temperature_max: float = 1000.0,
    temperatures: Sequence[float] | np.ndarray | None = None,
    path: str | None = None,
    q_points: Sequence[Sequence[float]] | np.ndarray | None = None,
    limits: bool = True,
    record: Path | str | None = None,
    on_progress: OnProgress | None = None,
    executor: Any = None,
) -> Spectrum:
    """Phonon spectrum of a crystal, or of a layer that is periodic in two directions.

    Constraints of the atoms are ignored with a warning. The calculator should use float64: noise of
    s eV/A in the forces is noise of s / displacement in the force constants.

    Parameters
    ----------
    atoms:
        Unit cell with its calculator.
    supercell:
        Three repeats, or a (3, 3) matrix of integers.
    method:
        displacements: from forces of displaced supercells, in one batch if the calculator has
        `evaluate`; hessian: from the calculator's `hessian`, without a displacement.
    displacement:
        Length of the displacements in A.
    projection:
        Symmetrisation of the force constants, see `Crystal.project`.
    symmetry:
        Keep the space group, which also needs fewer displacements.
    tolerance:
        Tolerance of the space group in A; None: see `relax`.
    relaxed:
        Relax atoms and cell first.
    fmax:
        Largest force of the relaxation in eV/A.
    steps:
        Maximum number of steps of the relaxation.
    pressure:
        Pressure of the relaxation in GPa.
    allow_forces:
        Compute phonons of a structure with forces above 0.1 eV/A, which is at no minimum.
    nac:
        File BORN for the non-analytical correction of polar crystals; None for no correction.
    mesh:
        Number of q-points along each reciprocal vector.
    temperature_max:
        Highest temperature of the thermal properties in K, if `temperatures` is None.
    temperatures:
        Temperatures of the thermal properties in K.
    path:
        Path of the bands, such as "G,X,L"; None: that of seekpath.
    q_points:
        (k, 3) q-points of which the report lists the frequencies.
    limits:
        Refuse supercells and meshes that are predicted to be too large.
    record:
        Folder for the files of the relaxation, see `relax`.
    on_progress:
        Function called as on_progress(stage, steps done, number of steps or None).
    executor:
        Processes that share the displaced supercells, see `ase_pet.executors`; None for this one.

    Raises
    ------
    NotRelaxed
        The relaxation failed.
    ValueError
        An argument is wrong.
    """
    one_of("method", method, METHODS)
    one_of("projection", projection, PROJECTIONS)
    executors.check(executor)
    if atoms.calc is None:
        raise ValueError("`atoms` has no calculator: set `atoms.calc`")
    report = on_progress or (lambda stage, done, total: None)
    _numbers.between("displacement", displacement, *DISPLACEMENTS, "A")
    spectrum_options = {
        "mesh": _numbers.mesh(mesh),
        "temperature_max": temperature_max,
        "temperatures": temperatures,
        "path": path,
        "q_points": q_points,
        "limits": limits,
    }
    free = constraints.without(atoms, "phonons")
    own = _tolerance(free, tolerance, symmetry, relaxed)
    # wrong input is refused before the relaxation, after which it is used again
    first = Crystal(free, supercell, symmetry=symmetry, tolerance=own, limits=limits)
    _rehearse(Spectrum(first), nac, displacement, spectrum_options, relaxed)
    relaxation = None
    if relaxed:
        relaxation = relax(
            free,
            fmax=fmax,
            symmetry=symmetry,
            tolerance=tolerance,
            steps=steps,
            pressure=pressure,
            record=record,
            on_step=lambda step, force: report(f"relaxation, {force:.1e} eV/A", step, None),
        )
    elif pressure:
        raise ValueError("`pressure` is that of a relaxation: expected relaxed=True (--relax)")
    unit = free if relaxation is None else relaxation.atoms
    at_rest = _require_minimum(unit, allow_forces)
    crystal = Crystal(unit, supercell, symmetry=symmetry, tolerance=own, limits=limits)
    spectrum = Spectrum(crystal, relaxation)
    _look_up(spectrum, nac, path)
    start = time.perf_counter()
    facts = _force_constants(crystal, unit.calc, method, displacement, report, executor)
    spectrum.facts = {
        "input": identity(atoms),
        "calculator": name_of(unit.calc),
        "method": method,
        "projection": projection,
        "supercell": np.array(crystal.phonopy.supercell_matrix).tolist(),
        "supercell_atoms": len(crystal.phonopy.supercell),
        "largest_force": at_rest,
        **facts,
        "stand_ins": crystal.stand_ins,
        "nac": None if nac is None else str(nac),
        "seconds": round(time.perf_counter() - start, 3),
    }
    _compare_forces(spectrum.facts)
    _project(spectrum, projection, nac)
    report("bands and density of states", 0, None)
    spectrum.compute(**spectrum_options)  # type: ignore[arg-type]
    return spectrum


def _project(spectrum: Spectrum, projection: str, nac: Path | str | None) -> None:
    """Project the force constants, measure their symmetries before and after, add charges."""
    crystal = spectrum.crystal
    spectrum.residuals["before"] = crystal.residuals()
    crystal.project(projection)
    spectrum.residuals["after"] = crystal.residuals()
    if nac is not None:
        crystal.correct_for_charges(nac)


def name_of(calculator: object) -> str:
    """Name of a calculator, for titles: that of its model, or of its class.

    Parameters
    ----------
    calculator:
        Any ASE calculator.
    """
    if isinstance(calculator, SupportsCard):
        return str(calculator.card.name)
    return type(calculator).__name__


def _tolerance(atoms: Atoms, tolerance: float | None, symmetry: bool, relaxed: bool) -> float:
    """Tolerance in A of phonopy: that of the user, or a tenth of that of the relaxation.

    A relaxation leaves positions that are symmetric to rounding.
    """
    if tolerance is not None:
        return _numbers.between("tolerance", tolerance, 1e-8, 1.0, "A")
    if symmetry and not relaxed and atoms.pbc.all():
        wide = tolerance_of(atoms)
        if wide > TOLERANCE:
            return wide
    return TOLERANCE / 10


def _rehearse(
    spectrum: Spectrum,
    nac: Path | str | None,
    displacement: float,
    options: dict[str, Any],
    relaxed: bool,
) -> None:
    """Refuse what would fail after the relaxation: costs, path, q-points, BORN file."""
    crystal = spectrum.crystal
    numbers = spectrum.mesh_of(options["mesh"])
    if options["limits"]:
        _costs.require_mesh(numbers, 3 * len(crystal.phonopy.primitive))
        crystal.phonopy.generate_displacements(distance=displacement)
        dataset: Any = crystal.phonopy.dataset
        _costs.require_evaluations(len(dataset["first_atoms"]), len(crystal.phonopy.supercell))
    spectrum.check(options["temperatures"], options["temperature_max"], options["q_points"])
    # a relaxation that gains symmetry gives points other names, and a file BORN other atoms
    if options["path"] is not None and relaxed:
        _paths.check(options["path"])
    if not relaxed:
        _look_up(spectrum, nac, options["path"])
    elif nac is not None and not Path(nac).is_file():
        raise ValueError(f"`nac` is {str(nac)!r}: there is no such file")


def _look_up(spectrum: Spectrum, nac: Path | str | None, path: str | None) -> None:
    """Refuse a path and a file BORN that do not belong to the crystal."""
    if path is not None:
        spectrum.band_path(path)
    if nac is not None:
        spectrum.crystal.correct_for_charges(nac)
        # they are set after the projection: residuals are those of the force constants
        spectrum.phonopy.nac_params = None


def _require_minimum(atoms: Atoms, allowed: bool) -> float:
    """Largest force in eV/A of the unit cell; an error or a warning if it is large."""
    values = constraints.true_forces(atoms)
    _numbers.require_finite("forces", values, "of the unit cell")
    largest = float(np.linalg.norm(values, axis=1).max())
    if largest > LARGEST_FORCE and not allowed:
        raise ValueError(
            f"the largest force is {largest:.2g} eV/A: the structure is at no minimum, and has no"
            " phonons; relax it (relaxed=True, --relax), or allow such forces (allow_forces=True,"
            " --allow-forces)"
        )
    if largest > LARGE_FORCE and not allowed:
        warnings.warn(
            f"the largest force is {largest:.2g} eV/A: the structure is at no minimum",
            stacklevel=3,
        )
    return largest


def _compare_forces(facts: dict[str, Any]) -> None:
    """Warn if the supercell at rest has other forces than the unit cell, which it repeats."""
    at_rest = facts.get("largest_force_at_rest", facts["largest_force"])
    if abs(at_rest - facts["largest_force"]) > INCONSISTENT:
        warnings.warn(
            f"the largest force is {facts['largest_force']:.2g} eV/A in the unit cell, but"
            f" {at_rest:.2g} in the supercell, which repeats it: the calculator is wrong for one of"
            " them (`ase-pet check`)",
            stacklevel=3,
        )


def _force_constants(
    crystal: Crystal,
    calculator: AseCalculator,
    method: str,
    displacement: float,
    report: OnProgress,
    executor: Any,
) -> dict[str, Any]:
    """Set the force constants; entries of the report about them."""
    if method == "hessian":
        report("second derivatives", 0, None)
        crystal.from_hessian(calculator)
        return {}
    structures = crystal.displaced(displacement)
    all_forces = forces(
        calculator,
        structures,
        crystal.moves,
        lambda done, total: report("displaced supercells", done, total),
        executor,
    )
    crystal.from_forces(all_forces)
    # the first structure is the undisplaced supercell
    at_rest = np.linalg.norm(all_forces[0], axis=1)
    return {
        "displacement": displacement,
        "displaced_supercells": len(structures) - 1,
        "largest_force_at_rest": float(at_rest.max()),
    }
