"""Harmonic vibrations, from a structure to its frequencies and modes."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.constraints import FixAtoms

from ..choices import one_of
from ..constraints import describe
from ..display import Displayed
from ..phonons import Relaxation, relax
from ..phonons._numbers import between
from ..phonons._protocols import SupportsHessian
from ..phonons.force_constants import DISPLACEMENTS
from ..phonons.run import name_of
from .derivatives import OnProgress, has_dipole, infrared_intensities, second_derivatives
from .modes import IMAGINARY, external_motions, external_of, is_isolated, is_linear, solve

METHODS = ("hessian", "displacements")
MOST_ATOMS = 4000  # that move; three matrices of (3k, 3k) numbers then take 3 GiB
UNRELAXED = 0.01  # eV/A; above this force the frequencies are said to be doubtful
PLANCK = units._hplanck / units._e * 1e12  # eV in a THz


@dataclass(frozen=True, repr=False)
class Vibrations(Displayed, shows={"wavenumbers": "{} cm^-1", "imaginary": "{}"}):
    """Harmonic vibrations of a structure; imaginary modes are negative numbers.

    Attributes
    ----------
    atoms:
        Structure of n atoms with its calculator.
    moving:
        (k,) indices of the atoms that move; the others are fixed.
    hessian:
        (3k, 3k) second derivatives in eV/A^2, symmetrised.
    asymmetry:
        Largest difference of two second derivatives that should be equal, in eV/A^2.
    energies:
        (m,) energies of the modes in eV, lowest first.
    modes:
        (m, n, 3) Cartesian displacements of the modes in A/sqrt(amu).
    energies_before:
        (3k,) energies in eV before translations and rotations are projected out.
    external:
        What is projected out: molecule (translations and rotations), translations, none.
    method:
        How the second derivatives were computed.
    displacement:
        Displacement in A, None with the method hessian.
    largest_force:
        Largest force on an atom that moves in eV/A.
    intensities:
        (m,) infrared intensities in km/mol, None where the calculator has no dipole.
    relaxation:
        Relaxation that came before, if any.
    """

    atoms: Atoms
    moving: np.ndarray
    hessian: np.ndarray
    asymmetry: float
    energies: np.ndarray
    modes: np.ndarray
    energies_before: np.ndarray
    external: str
    method: str
    displacement: float | None
    largest_force: float
    intensities: np.ndarray | None = None
    relaxation: Relaxation | None = None

    @property
    def wavenumbers(self) -> np.ndarray:
        """(m,) wavenumbers of the modes in cm^-1."""
        return np.asarray(self.energies / units.invcm)

    @property
    def frequencies(self) -> np.ndarray:
        """(m,) frequencies of the modes in THz."""
        return np.asarray(self.energies / PLANCK)

    @property
    def imaginary(self) -> int:
        """Number of imaginary modes, below -0.8 cm^-1."""
        return int((self.energies < IMAGINARY).sum())

    @property
    def zero_point_energy(self) -> float:
        """Half the sum of the energies of the real modes, in eV."""
        return float(self.energies[self.energies > 0].sum() / 2)

    @property
    def linear(self) -> bool:
        """Whether this is a linear molecule."""
        return self.external == "molecule" and is_linear(self.atoms)

    def as_dict(self) -> dict[str, Any]:
        """Report for JSON; imaginary modes come first."""
        intensities = self.intensities
        # what users look for first comes first
        return {
            "imaginary": self.imaginary,
            "formula": self.atoms.get_chemical_formula(),
            "calculator": name_of(self.atoms.calc),
            "energy": float(self.atoms.get_potential_energy()),
            "cm-1": self.wavenumbers.tolist(),
            "THz": self.frequencies.tolist(),
            "meV": (1e3 * self.energies).tolist(),
            "infrared_km_per_mol": None if intensities is None else intensities.tolist(),
            "zero_point_energy": self.zero_point_energy,
            "projected_out": len(self.energies_before) - len(self.energies),
            "external": self.external,
            "linear": self.linear,
            "before_projection_cm-1": (self.energies_before / units.invcm).tolist(),
            "moving_atoms": self.moving.tolist(),
            "masses": self.atoms.get_masses().tolist(),
            "largest_force": self.largest_force,
            "method": self.method,
            "displacement": self.displacement,
            "asymmetry": self.asymmetry,
            "relaxation": None if self.relaxation is None else self.relaxation.as_dict(),
        }


def run(
    atoms: Atoms,
    *,
    method: str | None = None,
    displacement: float = 0.01,
    relaxed: bool = False,
    fmax: float = 1e-3,
    steps: int = 500,
    infrared: bool = True,
    on_progress: OnProgress | None = None,
) -> Vibrations:
    """Harmonic vibrations of a molecule or of an adsorbate, best in float64.

    Translations and rotations are projected out of a molecule, translations of a periodic
    structure. Masses are those of `atoms`, such as isotopes. Fixed atoms (FixAtoms) do not move:
    the Hessian is that of the others, and nothing is projected out. Other constraints are ignored
    with a warning.

    Parameters
    ----------
    atoms:
        Structure with its calculator.
    method:
        hessian: from the calculator's method `hessian`; displacements: central differences of
        forces; None: hessian if the calculator has it.
    displacement:
        Displacement of atoms in A, for forces and for dipoles.
    relaxed:
        Relax the atoms first, with fixed cell.
    fmax:
        Largest force of the relaxation in eV/A.
    steps:
        Maximum number of steps of the relaxation.
    infrared:
        Compute infrared intensities if the calculator has a dipole and the structure is a molecule.
    on_progress:
        Function called as on_progress(stage, steps done, number of steps or None).

    Raises
    ------
    ValueError
        Nothing can vibrate, or an argument is wrong.
    NotRelaxed
        The relaxation failed.
    """
    if method is not None:
        one_of("method", method, METHODS)
    between("displacement", displacement, *DISPLACEMENTS, "A")
    report = on_progress or (lambda stage, done, total: None)
    start = _prepared(atoms)
    if method == "hessian" and not isinstance(atoms.calc, SupportsHessian):
        raise ValueError(
            f"`method` is 'hessian', but {type(atoms.calc).__name__} has no method of that name:"
            " use 'displacements'"
        )
    relaxation = None
    if relaxed:
        relaxation = relax(
            start,
            fmax=fmax,
            cell=False,
            symmetry=False,
            steps=steps,
            on_step=lambda step, force: report(f"relaxation, {force:.1e} eV/A", step, None),
        )
    structure = start if relaxation is None else relaxation.atoms
    moving = _moving(structure)
    largest = _largest_force(structure, moving)
    used, full = second_derivatives(structure, moving, method, displacement, report)
    if not np.isfinite(full).all():
        raise ValueError("the calculator returned second derivatives or forces with nan or inf")
    symmetric = (full + full.T) / 2
    # energies and modes, before and after the projection
    masses = structure.get_masses()[moving]
    external = external_of(structure, moving)
    if external == "translations" and is_isolated(structure):
        warnings.warn(
            "this seems to be a molecule in a periodic box: its rotations are not projected out;"
            " remove the periodic directions (atoms.pbc = False, or a file without a cell)",
            stacklevel=2,
        )
    motions = external_motions(structure[moving], external)
    before, _ = solve(symmetric, masses, motions[:, :0])
    energies, weighted = solve(symmetric, masses, motions)
    modes = np.zeros((len(energies), len(structure), 3))
    modes[:, moving] = weighted.reshape(len(energies), -1, 3) / np.sqrt(masses)[:, None]
    intensities = None
    if infrared and external == "molecule" and has_dipole(structure.calc):
        intensities = infrared_intensities(structure, modes, displacement, report)
    return Vibrations(
        atoms=structure,
        moving=moving,
        hessian=symmetric,
        asymmetry=float(np.abs(full - full.T).max()),
        energies=energies,
        modes=modes,
        energies_before=before,
        external=external,
        method=used,
        displacement=displacement if used == "displacements" else None,
        largest_force=largest,
        intensities=intensities,
        relaxation=relaxation,
    )


def _prepared(atoms: Atoms) -> Atoms:
    """Copy with its calculator and with fixed atoms as the only constraints."""
    if atoms.calc is None:
        raise ValueError("`atoms` has no calculator: set `atoms.calc`")
    masses = atoms.get_masses()
    if not (np.isfinite(masses).all() and (masses > 0).all()):
        raise ValueError("`masses` of atoms: expected finite numbers above 0 in amu")
    prepared: Atoms = atoms.copy()
    prepared.calc = atoms.calc
    # FixAtoms has a meaning for vibrations: a partial Hessian
    fixed = [one for one in atoms.constraints if isinstance(one, FixAtoms)]
    others = [one for one in atoms.constraints if not isinstance(one, FixAtoms)]
    if others:
        rest = atoms.copy()
        rest.set_constraint(others)
        warnings.warn(
            f"constraints of the structure ({describe(rest)}) are ignored for vibrations",
            stacklevel=3,
        )
    prepared.set_constraint(fixed)
    moving = _moving(prepared)
    if len(moving) == 0:
        raise ValueError("all atoms are fixed: expected some that vibrate")
    if len(moving) > MOST_ATOMS:
        raise ValueError(
            f"{len(moving)} atoms move, and the limit is {MOST_ATOMS}: fix those that are far from"
            " what you look at (FixAtoms)"
        )
    if len(prepared) == 1:
        raise ValueError(
            "a single atom has no vibrations; those of a crystal are its phonons"
            " (`ase-pet phonons`)"
        )
    return prepared


def _moving(atoms: Atoms) -> np.ndarray:
    """(k,) indices of atoms that are not fixed."""
    fixed = [constraint.index for constraint in atoms.constraints]
    return np.setdiff1d(np.arange(len(atoms)), np.concatenate([np.array([], dtype=int), *fixed]))


def _largest_force(atoms: Atoms, moving: np.ndarray) -> float:
    """Largest force of the calculator in eV/A on atoms that move, with a warning if it is large."""
    at_rest = atoms.get_forces(apply_constraint=False)[moving]
    largest = float(np.linalg.norm(at_rest, axis=1).max())
    if not np.isfinite(largest):
        raise ValueError("the calculator returned forces with nan or inf")
    if largest > UNRELAXED:
        warnings.warn(
            f"the largest force is {largest:.2g} eV/A: harmonic frequencies are those of a"
            " minimum; relax first",
            stacklevel=3,
        )
    return largest
