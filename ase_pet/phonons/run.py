"""Phonons of a crystal, from its structure to its spectrum."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ase import Atoms

from ._protocols import AseCalculator
from .force_constants import PROJECTIONS, Crystal, forces
from .relaxation import TOLERANCE, Relaxation, relax
from .spectrum import Spectrum

METHODS = ("displacements", "hessian")

OnProgress = Callable[[str, int, int | None], object]


def run(
    atoms: Atoms,
    supercell: Sequence[int] | Sequence[Sequence[int]] | np.ndarray = (2, 2, 2),
    *,
    method: str = "displacements",
    displacement: float = 0.01,
    projection: str = "symfc",
    symmetry: bool = True,
    relaxed: bool = True,
    fmax: float = 1e-4,
    mesh: Sequence[int] = (20, 20, 20),
    temperature_max: float = 1000.0,
    on_progress: OnProgress | None = None,
) -> Spectrum:
    """Phonon spectrum of a crystal.

    The calculator should use float64: noise of s eV/A in the forces is noise of s / displacement in
    the force constants.

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
    relaxed:
        Relax atoms and cell first.
    fmax:
        Largest force of the relaxation in eV/A.
    mesh:
        Number of q-points along each reciprocal vector.
    temperature_max:
        Highest temperature of the thermal properties in K.
    on_progress:
        Function called as on_progress(stage, steps done, number of steps or None).

    Raises
    ------
    NotRelaxed
        The relaxation failed.
    ValueError
        An argument is wrong.
    """
    if method not in METHODS:
        raise ValueError(f"`method` is {method!r}: valid choices are {', '.join(METHODS)}")
    if projection not in PROJECTIONS:
        raise ValueError(
            f"`projection` is {projection!r}: valid choices are {', '.join(PROJECTIONS)}"
        )
    if atoms.calc is None:
        raise ValueError("`atoms` has no calculator: set `atoms.calc`")
    report = on_progress or (lambda stage, done, total: None)
    Crystal(atoms, supercell)  # refuses wrong input before the relaxation
    relaxation = _relax(atoms, fmax, symmetry, report) if relaxed else None
    unit = atoms if relaxation is None else relaxation.atoms
    crystal = Crystal(unit, supercell, symmetry=symmetry, tolerance=TOLERANCE / 10)
    spectrum = Spectrum(crystal, relaxation)
    start = time.perf_counter()
    facts = _force_constants(crystal, unit.calc, method, displacement, report)
    spectrum.facts = {
        "method": method,
        "projection": projection,
        "supercell_atoms": len(crystal.phonopy.supercell),
        **facts,
        "seconds": round(time.perf_counter() - start, 3),
    }
    spectrum.residuals["before"] = crystal.residuals()
    crystal.project(projection)
    spectrum.residuals["after"] = crystal.residuals()
    report("bands and density of states", 0, None)
    spectrum.compute(mesh, temperature_max)
    return spectrum


def _relax(atoms: Atoms, fmax: float, symmetry: bool, report: OnProgress) -> Relaxation:
    def on_step(step: int, force: float) -> None:
        report(f"relaxation, {force:.1e} eV/A", step, None)

    return relax(atoms, fmax=fmax, symmetry=symmetry, on_step=on_step)


def _force_constants(
    crystal: Crystal,
    calculator: AseCalculator,
    method: str,
    displacement: float,
    report: OnProgress,
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
    )
    crystal.from_forces(all_forces)
    # the first structure is the undisplaced supercell
    at_rest = np.linalg.norm(all_forces[0], axis=1)
    return {
        "displacement": displacement,
        "displaced_supercells": len(structures) - 1,
        "largest_force_at_rest": float(at_rest.max()),
    }
