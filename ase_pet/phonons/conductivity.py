"""Thermal conductivity of a crystal from third-order force constants, by phono3py."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from ..extras import how_to_install
from .force_constants import Crystal, forces
from .relaxation import TOLERANCE, Relaxation, relax
from .spectrum import IMAGINARY

DISPLACEMENT = 0.03  # A: third derivatives by differences need longer ones than second derivatives
MOST = 1e6  # W/m/K; diamond has 2e3


@dataclass(frozen=True)
class Conductivity:
    """Lattice thermal conductivity (T, 3, 3) in W/m/K at temperatures (T,) in K, in the
    relaxation-time approximation.

    displaced_supercells: number of structures evaluated; calculated: the Phono3py object;
    relaxation: before it, if any.
    """

    temperatures: np.ndarray
    tensors: np.ndarray
    displaced_supercells: int
    calculated: object
    relaxation: Relaxation | None = None

    @property
    def mean(self):
        """(T,) a third of the trace: that of a polycrystal to first order."""
        return np.trace(self.tensors, axis1=1, axis2=2) / 3

    def as_dict(self):
        """The numbers for programs."""
        return {
            "temperatures": self.temperatures.tolist(),
            "mean": self.mean.tolist(),
            "tensors": self.tensors.tolist(),
            "displaced_supercells": self.displaced_supercells,
            "relaxation": None if self.relaxation is None else self.relaxation.as_dict(),
        }

    def write(self, folder):
        """Path of phono3py_params.yaml in the folder.

        Displacements and forces, which `phono3py-load` continues from.
        """
        path = Path(folder) / "phono3py_params.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.calculated.save(path)
        return path


def conductivity(
    atoms,
    supercell=(2, 2, 2),
    *,
    displacement=DISPLACEMENT,
    mesh=(11, 11, 11),
    temperatures=(300.0,),
    isotopes=True,
    relaxed=True,
    fmax=1e-4,
    on_progress=None,
):
    """Conductivity of a crystal with its calculator, best in float64.

    One and two atoms of the supercell are displaced by `displacement` (A), as the space group
    allows, and evaluated in batches; force constants are made to obey the sum rule and the exchange
    of indices. mesh: q-points, to be converged;
    isotopes: scattering by those of natural elements; relaxed: relax atoms and cell to fmax (eV/A)
    first; temperatures in K.

    Source: A. Togo, L. Chaput, I. Tanaka, Phys. Rev. B 91, 094306 (2015),
    doi:10.1103/PhysRevB.91.094306, as phono3py has it. Raises ValueError where phono3py is missing,
    where the crystal has imaginary modes, or where nothing scatters: in very small supercells
    symmetry makes the third derivatives zero.
    """
    Phono3py, temperatures = _phono3py(), np.atleast_1d(np.asarray(temperatures, dtype=float))
    if atoms.calc is None or not (temperatures > 0).all() or not displacement > 0 or len(mesh) != 3:
        raise ValueError(
            "expected `atoms` with a calculator, `temperatures` above 0 K, a `displacement` above 0"
            " A and three numbers of q-points in `mesh`"
        )
    Crystal(atoms, supercell)  # refuses bad input before the relaxation
    relaxation = relax(atoms, fmax=fmax) if relaxed else None
    crystal = Crystal(
        relaxation.atoms if relaxed else atoms, supercell, tolerance=TOLERANCE / 10
    ).phonopy
    found = Phono3py(
        crystal.unitcell,
        supercell_matrix=crystal.supercell_matrix,
        primitive_matrix=crystal.primitive_matrix,
        symprec=TOLERANCE / 10,
    )
    found.generate_displacements(distance=displacement)
    structures = [_atoms(cell) for cell in (found.supercell, *found.supercells_with_displacements)]
    rest, *moved = forces(atoms.calc, structures, on_progress=on_progress)
    found.forces = np.array(moved) - rest
    found.produce_fc3()
    found.symmetrize_fc3()
    found.produce_fc2()
    found.symmetrize_fc2()
    found.mesh_numbers = mesh
    found.init_phph_interaction()
    _check_stable(found)
    found.run_thermal_conductivity(temperatures=temperatures, is_isotope=isotopes)
    voigt = np.array(found.thermal_conductivity.kappa)[0]  # xx, yy, zz, yz, xz, xy
    tensors = voigt[:, [[0, 5, 4], [5, 1, 3], [4, 3, 2]]]
    if not np.abs(tensors).max() < MOST:
        raise ValueError(
            f"`supercell` {supercell!r} is too small: no phonon scatters in it; expected a"
            " larger one"
        )
    return Conductivity(temperatures, tensors, len(moved), found, relaxation)


def _atoms(cell):
    return Atoms(
        cell.symbols, cell=cell.cell, positions=cell.positions, masses=cell.masses, pbc=True
    )


def _check_stable(found):
    """Raise ValueError where a mode of the mesh is imaginary.

    Nothing decays into it, and no number would mean a thing.
    """
    found.run_phonon_solver()
    frequencies, _, _ = found.get_phonon_data()
    if frequencies.min() < IMAGINARY:
        raise ValueError(
            f"the crystal has imaginary modes on the mesh, the lowest {frequencies.min():.2f} THz:"
            " it has no conductivity (`ase-pet phonons` shows them)"
        )


def _phono3py():
    try:
        from phono3py import Phono3py
    except ImportError as error:
        raise ValueError(
            "conductivity needs phono3py, of the extra `conductivity`"
            f" ({how_to_install('conductivity')}): {error}"
        ) from None
    return Phono3py
