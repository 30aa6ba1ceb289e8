"""Lattice thermal conductivity of a crystal from third-order force constants, with phono3py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_masses
from ase.stress import voigt_6_to_full_3x3_stress

from .. import constraints
from ..display import Displayed
from ..extras import how_to_install
from ..staging import staged
from . import _costs, _numbers
from ._folder import identity
from ._forces import forces
from ._setting import require_crystal
from ._symmetry import TOLERANCE
from .force_constants import DISPLACEMENTS, Crystal, require_bonds
from .relaxation import Relaxation, relax
from .spectrum import IMAGINARY

DISPLACEMENT = 0.03  # A; third derivatives need larger displacements than second derivatives
EXCHANGE = [1, 0, 2]  # order of the vectors of a left-handed cell that makes it right-handed
UPPER_LIMIT = 1e6  # W/m/K, above any material: diamond has 2e3


@dataclass(frozen=True, repr=False)
class Conductivity(
    Displayed,
    shows={"temperatures": "{} K", "mean": "{} W/m/K", "displaced_supercells": "{}"},
):
    """Lattice thermal conductivity in the relaxation-time approximation.

    Attributes
    ----------
    temperatures:
        (T,) temperatures in K.
    tensors:
        (T, 3, 3) conductivities in W/m/K.
    displaced_supercells:
        Number of displaced supercells that were evaluated.
    calculated:
        Phono3py object with all results.
    relaxation:
        Relaxation that preceded the calculation, if any.
    facts:
        Further entries of the report: the input.
    """

    temperatures: np.ndarray
    tensors: np.ndarray
    displaced_supercells: int
    calculated: Any
    relaxation: Relaxation | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def mean(self) -> np.ndarray:
        """(T,) mean of the diagonal in W/m/K, that of a polycrystal to first order."""
        return np.asarray(np.trace(self.tensors, axis1=1, axis2=2) / 3)

    def as_dict(self) -> dict[str, Any]:
        """The numbers, for JSON."""
        return {
            **self.facts,
            "temperatures": self.temperatures.tolist(),
            "mean": self.mean.tolist(),
            "tensors": self.tensors.tolist(),
            "displaced_supercells": self.displaced_supercells,
            "relaxation": None if self.relaxation is None else self.relaxation.as_dict(),
        }

    def write(self, folder: Path | str) -> Path:
        """Path of phono3py_params.yaml in the `folder`.

        It holds displacements and forces; `phono3py-load` continues from it.
        """
        name = "phono3py_params.yaml"
        with staged(Path(folder)) as stage:
            self.calculated.save(stage / name)
        return Path(folder) / name


def conductivity(
    atoms: Atoms,
    supercell: Sequence[int] | Sequence[Sequence[int]] | np.ndarray = (2, 2, 2),
    *,
    displacement: float = DISPLACEMENT,
    mesh: Sequence[int] = (11, 11, 11),
    temperatures: float | Sequence[float] | np.ndarray = (300.0,),
    isotopes: bool = True,
    symmetry: bool = True,
    tolerance: float | None = None,
    relaxed: bool = True,
    fmax: float = 1e-4,
    pressure: float = 0.0,
    limits: bool = True,
    record: Path | str | None = None,
    on_progress: Callable[[int, int], object] | None = None,
) -> Conductivity:
    """Thermal conductivity of a crystal, best with a calculator in float64.

    Constraints of the atoms are ignored with a warning.
    Supercells with one and two displaced atoms, as many as the space group requires, are evaluated
    in batches. The force constants are symmetrised to obey the sum rule and the exchange of
    indices.

    Source: A. Togo, L. Chaput, I. Tanaka, Phys. Rev. B 91, 094306 (2015),
    doi:10.1103/PhysRevB.91.094306, as implemented in phono3py.

    Parameters
    ----------
    atoms:
        Unit cell with its calculator.
    supercell:
        Three repeats, or a (3, 3) matrix of integers.
    displacement:
        Length of the displacements in A.
    mesh:
        Number of q-points along each reciprocal vector, to be converged.
    temperatures:
        Temperatures in K.
    isotopes:
        Include scattering by the natural isotopes of the elements; atoms to which the user gave
        another mass than that of their element count as pure isotopes.
    symmetry:
        Keep the space group in the relaxation, and use its primitive cell. The operations that the
        supercell has within `tolerance` reduce the displacements in each case: phono3py has no
        third derivatives without them.
    tolerance:
        Tolerance of the space group in A; None: see `relax`.
    relaxed:
        Relax atoms and cell first.
    fmax:
        Largest force of the relaxation in eV/A.
    pressure:
        Pressure of the relaxation in GPa.
    limits:
        Refuse supercells and meshes that are predicted to be too large.
    record:
        Folder for the files of the relaxation, see `relax`.
    on_progress:
        Function called as on_progress(supercells done, number of supercells).

    Raises
    ------
    ValueError
        Phono3py is not installed, the crystal has imaginary modes, or nothing scatters: in very
        small supercells the third derivatives are zero by symmetry.
    """
    phono3py_class = _phono3py_class()
    if atoms.calc is None:
        raise ValueError("`atoms` has no calculator: set `atoms.calc`")
    require_crystal(atoms, "conductivities")
    kelvin = _numbers.temperatures(temperatures, lowest=1.0)
    distance = _numbers.between("displacement", displacement, *DISPLACEMENTS, "A")
    points = _numbers.mesh(mesh)
    if limits:
        _costs.require_scattering(points)
    if pressure and not relaxed:
        raise ValueError("`pressure` is that of a relaxation: expected relaxed=True (--relax)")
    free = constraints.without(atoms, "the conductivity")
    # third derivatives by finite differences depend on the directions of the displacements, which
    # follow the vectors: an exchange gives those of the right-handed cell
    left_handed = np.linalg.det(atoms.cell) < 0
    if left_handed:
        free.set_cell(atoms.cell[EXCHANGE])
        supercell = _numbers.supercell_matrix(supercell)[np.ix_(EXCHANGE, EXCHANGE)]
        points = (points[1], points[0], points[2])
    own = TOLERANCE / 10 if tolerance is None else tolerance
    options: dict[str, Any] = {"symmetry": symmetry, "tolerance": own, "limits": limits}
    Crystal(free, supercell, **options)  # refuses wrong input before the relaxation
    relaxation = None
    if relaxed:
        relaxation = relax(
            free,
            fmax=fmax,
            symmetry=symmetry,
            tolerance=tolerance,
            pressure=pressure,
            record=record,
        )
    crystal = Crystal(free if relaxation is None else relaxation.atoms, supercell, **options)
    phono3py = phono3py_class(
        crystal.phonopy.unitcell,
        supercell_matrix=crystal.phonopy.supercell_matrix,
        primitive_matrix=crystal.phonopy.primitive_matrix,
        symprec=own,
    )
    phono3py.generate_displacements(distance=distance)
    cells = [phono3py.supercell, *phono3py.supercells_with_displacements]
    if limits:
        _costs.require_evaluations(len(cells), len(phono3py.supercell))
    structures = [crystal.as_atoms(cell) for cell in cells]
    # forces of the undisplaced supercell are subtracted, as in `Crystal.from_forces`
    at_rest, *displaced = forces(free.calc, structures, on_progress=on_progress)
    phono3py.forces = np.array(displaced) - at_rest
    variances = _mass_variances(crystal) if isotopes else None
    tensors = _tensors(phono3py, points, kelvin, variances)
    if not np.abs(tensors).max() < UPPER_LIMIT:
        raise ValueError(
            f"`supercell` {supercell!r} is too small: no phonon scatters in it; expected a"
            " larger one"
        )
    if left_handed and relaxation is not None:
        relaxation.atoms.set_cell(relaxation.atoms.cell[EXCHANGE])
    facts = {"input": identity(atoms), "stand_ins": crystal.stand_ins}
    return Conductivity(kelvin, tensors, len(displaced), phono3py, relaxation, facts)


def _tensors(
    phono3py: Any, mesh: Sequence[int], kelvin: np.ndarray, variances: np.ndarray | None
) -> np.ndarray:
    """(T, 3, 3) conductivities in W/m/K, from the forces that phono3py holds."""
    phono3py.produce_fc3()
    phono3py.symmetrize_fc3()
    phono3py.produce_fc2()
    phono3py.symmetrize_fc2()
    require_bonds(phono3py.fc2)
    try:
        phono3py.mesh_numbers = mesh
    except RuntimeError as error:
        raise ValueError(
            f"`mesh` is {tuple(mesh)}: it has not the symmetry of the crystal ({error}); expected"
            " the same number along equivalent vectors"
        ) from None
    phono3py.init_phph_interaction()
    _require_stable(phono3py)
    phono3py.run_thermal_conductivity(
        temperatures=kelvin, is_isotope=variances is not None, mass_variances=variances
    )
    # (1, T, 6) -> (T, 3, 3)
    kappa = np.array(phono3py.thermal_conductivity.kappa)[0]
    return np.asarray(voigt_6_to_full_3x3_stress(kappa))


def _mass_variances(crystal: Crystal) -> np.ndarray:
    """Variance of the mass of each atom of the primitive cell: 0 where the user gave the mass."""
    from phono3py.other.isotope import get_mass_variances

    variances = np.array(get_mass_variances(symbols=crystal.elements))
    primitive = crystal.primitive
    natural = atomic_masses[primitive.numbers]
    # masses in files have few digits
    given = np.abs(primitive.get_masses() / natural - 1) > 1e-3
    variances[given] = 0.0
    return variances


def _require_stable(phono3py: Any) -> None:
    """Raise ValueError if a mode is imaginary, because scattering rates are then meaningless."""
    phono3py.run_phonon_solver()
    frequencies, _, _ = phono3py.get_phonon_data()
    if frequencies.min() < IMAGINARY:
        raise ValueError(
            f"the crystal has imaginary modes on the mesh, the lowest {frequencies.min():.2f} THz:"
            " it has no conductivity (`ase-pet phonons` shows them)"
        )


def _phono3py_class() -> Any:
    try:
        from phono3py import Phono3py
    except ImportError as error:
        raise ValueError(
            "conductivity needs phono3py, of the extra `conductivity`"
            f" ({how_to_install('conductivity')}): {error}"
        ) from None
    return Phono3py
