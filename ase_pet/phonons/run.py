"""Phonons of a crystal from its structure to its spectrum."""

import time

import numpy as np

from .force_constants import PROJECTIONS, Crystal, forces
from .relaxation import TOLERANCE, relax
from .spectrum import Spectrum

METHODS = ("displacements", "hessian")


def run(
    atoms,
    supercell=(2, 2, 2),
    *,
    method="displacements",
    displacement=0.01,
    projection="symfc",
    symmetry=True,
    relaxed=True,
    fmax=1e-4,
    mesh=(20, 20, 20),
    temperature_max=1000.0,
    on_progress=None,
):
    """Spectrum of a crystal with its calculator.

    method: displacements of `displacement` (A), evaluated in one batch where the calculator has
    `evaluate`; hessian: second derivatives by the calculator's `hessian`, without a step length.
    projection: of the force constants (`Crystal.project`). symmetry: keep to the space group, which
    also saves displacements. relaxed: relax atoms and cell to fmax (eV/A) first. mesh: q-points;
    temperature_max: K. on_progress: called with (stage, done, of how many or None).

    Forces are best in float64: noise of s eV/A in forces is s / displacement in force constants.
    Raises NotRelaxed, and ValueError for a bad argument, before anything is displaced.
    """
    if method not in METHODS:
        raise ValueError(f"`method` is {method!r}: valid choices are {', '.join(METHODS)}")
    if projection not in PROJECTIONS:
        raise ValueError(
            f"`projection` is {projection!r}: valid choices are {', '.join(PROJECTIONS)}"
        )
    if atoms.calc is None:
        raise ValueError("`atoms` has no calculator: set `atoms.calc`")
    report = on_progress or (lambda *_: None)
    Crystal(atoms, supercell)  # refuses bad input before the relaxation
    relaxation = None
    if relaxed:
        relaxation = relax(
            atoms,
            fmax=fmax,
            symmetry=symmetry,
            on_step=lambda step, force: report(f"relaxation, {force:.1e} eV/A", step, None),
        )
    unit = relaxation.atoms if relaxed else atoms
    crystal = Crystal(unit, supercell, symmetry=symmetry, tolerance=TOLERANCE / 10)
    found = Spectrum(crystal, relaxation)
    start = time.perf_counter()
    found.facts = {
        "method": method,
        "projection": projection,
        "supercell_atoms": len(crystal.phonopy.supercell),
    }
    found.facts |= _force_constants(crystal, unit.calc, method, displacement, report)
    found.facts["seconds"] = round(time.perf_counter() - start, 3)
    found.residuals["before"] = crystal.residuals()
    crystal.project(projection)
    found.residuals["after"] = crystal.residuals()
    report("bands and density of states", 0, None)
    found.compute(mesh, temperature_max)
    return found


def _force_constants(crystal, calculator, method, displacement, report):
    """Set the force constants; facts of how that was done."""
    if method == "hessian":
        report("second derivatives", 0, None)
        crystal.from_hessian(calculator)
        return {}
    structures = crystal.displaced(displacement)
    found = forces(
        calculator,
        structures,
        crystal.moves,
        lambda done, total: report("displaced supercells", done, total),
    )
    crystal.from_forces(found)
    return {
        "displacement": displacement,
        "displaced_supercells": len(structures) - 1,
        "largest_force_at_rest": float(np.linalg.norm(found[0], axis=1).max()),
    }
