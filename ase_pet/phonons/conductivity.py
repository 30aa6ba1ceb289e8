"""Lattice thermal conductivity of a crystal from third-order force constants, with phono3py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress

from ..extras import how_to_install
from .force_constants import Crystal, forces
from .relaxation import TOLERANCE, Relaxation, relax
from .spectrum import IMAGINARY

DISPLACEMENT = 0.03  # A; third derivatives need larger displacements than second derivatives
UPPER_LIMIT = 1e6  # W/m/K, above any material: diamond has 2e3


@dataclass(frozen=True)
class Conductivity:
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
    """

    temperatures: np.ndarray
    tensors: np.ndarray
    displaced_supercells: int
    calculated: Any
    relaxation: Relaxation | None = None

    @property
    def mean(self) -> np.ndarray:
        """(T,) mean of the diagonal in W/m/K, that of a polycrystal to first order."""
        return np.asarray(np.trace(self.tensors, axis1=1, axis2=2) / 3)

    def as_dict(self) -> dict[str, Any]:
        """The numbers, for JSON."""
        return {
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
        path = Path(folder) / "phono3py_params.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.calculated.save(path)
        return path


def conductivity(
    atoms: Atoms,
    supercell: Sequence[int] | Sequence[Sequence[int]] | np.ndarray = (2, 2, 2),
    *,
    displacement: float = DISPLACEMENT,
    mesh: Sequence[int] = (11, 11, 11),
    temperatures: float | Sequence[float] | np.ndarray = (300.0,),
    isotopes: bool = True,
    relaxed: bool = True,
    fmax: float = 1e-4,
    on_progress: Callable[[int, int], object] | None = None,
) -> Conductivity:
    """Thermal conductivity of a crystal, best with a calculator in float64.

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
        Include scattering by the natural isotopes of the elements.
    relaxed:
        Relax atoms and cell first.
    fmax:
        Largest force of the relaxation in eV/A.
    on_progress:
        Function called as on_progress(supercells done, number of supercells).

    Raises
    ------
    ValueError
        Phono3py is not installed, the crystal has imaginary modes, or nothing scatters: in very
        small supercells the third derivatives are zero by symmetry.
    """
    phono3py_class = _phono3py_class()
    kelvin = np.atleast_1d(np.asarray(temperatures, dtype=float))
    if atoms.calc is None or not (kelvin > 0).all() or not displacement > 0 or len(mesh) != 3:
        raise ValueError(
            "expected `atoms` with a calculator, `temperatures` above 0 K, a `displacement` above 0"
            " A and three numbers of q-points in `mesh`"
        )
    Crystal(atoms, supercell)  # refuses wrong input before the relaxation
    relaxation = relax(atoms, fmax=fmax) if relaxed else None
    unit = atoms if relaxation is None else relaxation.atoms
    crystal = Crystal(unit, supercell, tolerance=TOLERANCE / 10).phonopy
    phono3py = phono3py_class(
        crystal.unitcell,
        supercell_matrix=crystal.supercell_matrix,
        primitive_matrix=crystal.primitive_matrix,
        symprec=TOLERANCE / 10,
    )
    phono3py.generate_displacements(distance=displacement)
    cells = [phono3py.supercell, *phono3py.supercells_with_displacements]
    structures = [_as_atoms(cell) for cell in cells]
    # forces of the undisplaced supercell are subtracted, as in `Crystal.from_forces`
    at_rest, *displaced = forces(atoms.calc, structures, on_progress=on_progress)
    phono3py.forces = np.array(displaced) - at_rest
    phono3py.produce_fc3()
    phono3py.symmetrize_fc3()
    phono3py.produce_fc2()
    phono3py.symmetrize_fc2()
    phono3py.mesh_numbers = mesh
    phono3py.init_phph_interaction()
    _require_stable(phono3py)
    phono3py.run_thermal_conductivity(temperatures=kelvin, is_isotope=isotopes)
    # (1, T, 6) -> (T, 3, 3)
    tensors = voigt_6_to_full_3x3_stress(np.array(phono3py.thermal_conductivity.kappa)[0])
    if not np.abs(tensors).max() < UPPER_LIMIT:
        raise ValueError(
            f"`supercell` {supercell!r} is too small: no phonon scatters in it; expected a"
            " larger one"
        )
    return Conductivity(kelvin, tensors, len(displaced), phono3py, relaxation)


def _as_atoms(cell: Any) -> Atoms:
    """Atoms of one of phono3py's supercells."""
    return Atoms(
        cell.symbols, cell=cell.cell, positions=cell.positions, masses=cell.masses, pbc=True
    )


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
