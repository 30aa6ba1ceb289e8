"""Force constants of a crystal, from forces of displaced supercells or from second derivatives.

`Crystal.residuals` measures how well they obey the acoustic sum rule and the exchange of indices.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms, units

from ..extras import how_to_install
from . import _costs, _numbers
from ._forces import CHUNK_ATOMS, CHUNK_MOVES, forces
from ._protocols import Displacement, SupportsHessian
from ._setting import (
    require_crystal,
    right_handed,
    symbols_of_kinds,
    vacuum_axis,
    with_vacuum,
)

if TYPE_CHECKING:
    from phonopy import Phonopy

__all__ = ["CHUNK_ATOMS", "CHUNK_MOVES", "PROJECTIONS", "Crystal", "forces"]

PROJECTIONS = ("symfc", "traditional", "none")
DISPLACEMENTS = (1e-5, 0.3)  # A, the shortest and the longest displacement
WEAKEST = 1e-6  # eV/A^2; force constants below it are those of isolated atoms
EXTRA = f"of the extra `phonons` ({how_to_install('phonons')})"


class Crystal:
    """A crystal and its supercell: structures to evaluate, and force constants in eV/A^2.

    `phonopy` is the Phonopy object. A left-handed cell becomes right-handed by reversing its three
    vectors; a layer, periodic in two directions, gets a third vector normal to its plane.

    Parameters
    ----------
    atoms:
        Unit cell, periodic in three directions, or in two for a layer.
    supercell:
        Three repeats, or a (3, 3) matrix of integers; along the vacuum of a layer there is one.
    symmetry:
        Use the space group to reduce the displacements and to find the primitive cell. Atoms of an
        element with different masses or magnetic moments are not equivalent.
    tolerance:
        Tolerance of the space group in A.
    limits:
        Refuse supercells that are too large.

    Raises
    ------
    ValueError
        Phonopy or seekpath is not installed, or the structure is not a neutral crystal.
    """

    def __init__(
        self,
        atoms: Atoms,
        supercell: Sequence[int] | Sequence[Sequence[int]] | np.ndarray,
        *,
        symmetry: bool = True,
        tolerance: float = 1e-5,
        limits: bool = True,
    ) -> None:
        phonopy_class, cell_class = _phonopy_classes()
        require_crystal(atoms, "phonons", layers=True)
        _numbers.require_masses(atoms)
        if atoms.info.get("charge") or atoms.info.get("spin", 1) != 1:
            raise ValueError(
                "phonons are of a neutral crystal without a total spin: remove `charge` and `spin`"
                " from `atoms.info`"
            )
        self.vacuum = vacuum_axis(atoms)
        self.symmetry = symmetry
        self.tolerance = tolerance
        matrix = _repeats(supercell, self.vacuum)
        if limits:
            _costs.require_supercell(len(atoms), matrix)
        # constraints of the unit cell do not apply to displaced supercells
        self._unit = right_handed(with_vacuum(atoms))
        self._unit.set_constraint()
        self._unit.calc = None
        if self.vacuum is not None:
            # phonopy wraps atoms into the cell, which must not split a layer
            self._unit.center(axis=self.vacuum)
        symbols, self.stand_ins = symbols_of_kinds(atoms)
        moments = atoms.get_initial_magnetic_moments()
        cell = cell_class(
            symbols=symbols,
            cell=self._unit.cell[:],
            scaled_positions=self._unit.get_scaled_positions(wrap=False),
            masses=atoms.get_masses(),
            magnetic_moments=moments if np.any(moments) else None,
        )
        self.phonopy: Phonopy = phonopy_class(
            cell,
            supercell_matrix=matrix,
            primitive_matrix=_primitive_matrix(cell, tolerance) if symmetry else "P",
            is_symmetry=symmetry,
            symprec=tolerance,
        )

    @property
    def supercell(self) -> Atoms:
        """Supercell in phonopy's order, with tags, charges and moments of the unit cell."""
        return self.as_atoms(self.phonopy.supercell)

    @property
    def primitive(self) -> Atoms:
        """Primitive cell in phonopy's order, with the elements, masses and moments of the atoms."""
        primitive: Any = self.phonopy.primitive
        supercell: Any = self.phonopy.supercell
        rows = [supercell.u2u_map[first] for first in supercell.s2u_map[primitive.p2s_map]]
        atoms: Atoms = self._unit[rows]
        atoms.set_cell(primitive.cell)
        atoms.positions = primitive.positions
        return atoms

    @property
    def elements(self) -> list[str]:
        """Element of each atom of the primitive cell."""
        return [str(symbol) for symbol in self.primitive.symbols]

    def correct_for_charges(self, path: Path | str) -> None:
        """Add the non-analytical correction, which splits optical modes of polar crystals.

        Parameters
        ----------
        path:
            File BORN of phonopy: dielectric tensor and effective charges of the atoms of the
            primitive cell that symmetry does not relate.

        Raises
        ------
        ValueError
            The file is absent, or does not belong to this crystal.
        """
        from phonopy.file_IO import parse_BORN

        primitive: Any = self.phonopy.primitive
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                nac: Any = parse_BORN(
                    primitive, symprec=self.tolerance, is_symmetry=self.symmetry, filename=path
                )
            values = [nac["dielectric"], nac["born"]]
            if not all(np.isfinite(value).all() for value in values):
                raise ValueError("a number is NaN or infinite")
            if not np.linalg.det(nac["dielectric"]) > 0:
                raise ValueError("the dielectric tensor is not positive")
        except OSError as error:
            raise ValueError(f"`nac` is {str(path)!r}: {error.strerror}") from None
        except Exception as error:  # phonopy raises several kinds
            raise ValueError(
                f"`nac` is {str(path)!r}, which is no BORN file of this crystal ({error}): expected"
                " a line with the factor (or `default`), one with nine numbers of the dielectric"
                " tensor, and one with nine numbers for each independent atom of the primitive cell"
            ) from None
        # eV A: e^2 / (4 pi epsilon_0)
        nac.setdefault("factor", units.Hartree * units.Bohr)
        self.phonopy.nac_params = nac

    def displaced(self, distance: float = 0.01) -> list[Atoms]:
        """The supercell, followed by its copies with one atom displaced by `distance` (A)."""
        distance = _numbers.between("displacement", distance, *DISPLACEMENTS, "A")
        self.phonopy.generate_displacements(distance=distance)
        displaced: Any = self.phonopy.supercells_with_displacements
        return [self.as_atoms(cell) for cell in (self.phonopy.supercell, *displaced)]

    @property
    def moves(self) -> list[Displacement]:
        """Displaced atom and its displacement (3,) in A of each structure of `displaced`.

        That of the first structure, the supercell itself, is zero.
        """
        dataset: Any = self.phonopy.dataset
        moves = [(0, np.zeros(3))]
        for move in dataset["first_atoms"]:
            moves.append((int(move["number"]), np.array(move["displacement"])))
        return moves

    def from_forces(self, forces: Sequence[np.ndarray]) -> None:
        """Set the force constants from forces.

        The forces of the undisplaced supercell are subtracted. They vanish by symmetry, unless the
        calculator breaks it or the structure is not relaxed.

        Parameters
        ----------
        forces:
            Forces (n, 3) in eV/A of each structure of `displaced`.
        """
        self.phonopy.forces = np.array(forces[1:]) - forces[0]
        self.phonopy.produce_force_constants(calculate_full_force_constants=False)
        self._require_bonds()

    def from_hessian(self, calculator: object) -> None:
        """Set the force constants from second derivatives of the energy.

        Parameters
        ----------
        calculator:
            Calculator with a method `hessian`. If that takes the argument `of`, only the rows of
            the primitive cell are computed.

        Raises
        ------
        ValueError
            The calculator has no method `hessian`.
        """
        if not isinstance(calculator, SupportsHessian):
            raise ValueError(
                f"`method` is 'hessian', but {type(calculator).__name__} has no method of that"
                " name: use 'displacements'"
            )
        rows = self.phonopy.primitive.p2s_map  # (k,) atoms of the primitive cell
        structure = self.supercell
        hessian: Any = calculator.hessian
        if "of" in inspect.signature(hessian).parameters:
            selected = hessian(structure, of=rows)
        else:
            full = hessian(structure)
            selected = np.reshape(full, (len(structure), 3, -1))[rows]
        # (k, 3, n, 3) -> (k, n, 3, 3)
        _numbers.require_finite("second derivatives", selected, "of the supercell")
        blocks = np.reshape(selected, (len(rows), 3, len(structure), 3)).transpose(0, 2, 1, 3)
        self.phonopy.force_constants = np.array(blocks, dtype=float, order="C")
        self._require_bonds()

    def project(self, how: str = "symfc") -> None:
        """Replace the force constants by the closest ones that obey their symmetries.

        Parameters
        ----------
        how:
            symfc: sum rule, exchange of indices and space group, all at once; traditional: sum rule
            and exchange of indices, one after the other; none: no change.
        """
        if how not in PROJECTIONS:
            raise ValueError(f"`projection` is {how!r}: valid choices are {', '.join(PROJECTIONS)}")
        if how != "none":
            self.phonopy.symmetrize_force_constants(use_symfc_projector=how == "symfc")

    def residuals(self) -> dict[str, float]:
        """Deviations of the force constants Phi from their symmetries.

        sum_rule: largest |sum_j Phi_ij| in eV/A^2; exchange: largest |Phi_ij - Phi_ji^T| in eV/A^2;
        acoustic: largest |frequency| of the three acoustic modes at Gamma in THz.
        """
        from phonopy.harmonic.force_constants import compact_fc_to_full_fc

        full: Any = self.phonopy.force_constants
        # phonopy may store the rows of the primitive cell only: (k, n, 3, 3) -> (n, n, 3, 3)
        if full.shape[0] != full.shape[1]:
            full = compact_fc_to_full_fc(self.phonopy.primitive, full)
        sums = [np.abs(full.sum(axis)).max() for axis in (0, 1)]
        at_gamma = self.phonopy.run_qpoints([[0, 0, 0]]).frequencies[0]
        lowest = np.sort(np.abs(at_gamma))[:3]
        return {
            "sum_rule": float(max(sums)),
            "exchange": float(np.abs(full - full.transpose(1, 0, 3, 2)).max()),
            "acoustic": float(lowest[2]),
        }

    def as_atoms(self, cell: Any) -> Atoms:
        """Atoms of one of the supercells of phonopy or phono3py.

        Parameters
        ----------
        cell:
            Supercell, with or without displacements.
        """
        supercell = self.phonopy.supercell
        # index in the unit cell of each atom of the supercell
        unit_indices = [supercell.u2u_map[first] for first in supercell.s2u_map]
        atoms: Atoms = self._unit[unit_indices]
        atoms.set_cell(cell.cell)
        atoms.positions = cell.positions
        return atoms

    def _require_bonds(self) -> None:
        """Raise ValueError if no force depends on a displacement."""
        require_bonds(self.phonopy.force_constants)


def require_bonds(force_constants: Any) -> None:
    """Raise ValueError if no force depends on a displacement.

    Parameters
    ----------
    force_constants:
        (k, n, 3, 3) in eV/A^2.
    """
    largest = np.abs(np.asarray(force_constants)).max()
    if not largest > WEAKEST:
        raise ValueError(
            f"the largest force constant is {largest:.1g} eV/A^2: for this calculator these are"
            " isolated atoms, which have no phonons (or a supercell of one atom: take a larger one)"
        )


def _repeats(supercell: _numbers.Supercell, vacuum: int | None) -> np.ndarray:
    """(3, 3) supercell matrix, with one cell along the vacuum of a layer."""
    matrix = _numbers.supercell_matrix(supercell)
    if vacuum is None:
        return matrix
    if np.ndim(supercell) == 1:
        matrix[vacuum, vacuum] = 1
    expected = np.zeros(3, dtype=int)
    expected[vacuum] = 1
    if not (
        np.array_equal(matrix[vacuum], expected) and np.array_equal(matrix[:, vacuum], expected)
    ):
        raise ValueError(
            f"`supercell` is {matrix.tolist()}: expected one cell along vector {vacuum + 1}, which"
            " is not periodic"
        )
    return matrix


def _phonopy_classes() -> tuple[Any, Any]:
    try:
        import seekpath  # noqa: F401  used for the band path, at the end of a long calculation
        from phonopy import Phonopy
        from phonopy.structure.atoms import PhonopyAtoms
    except ImportError as error:
        raise ValueError(f"phonons need phonopy and seekpath, {EXTRA}: {error}") from None
    return Phonopy, PhonopyAtoms


def _primitive_matrix(cell: Any, tolerance: float) -> Any:
    """(3, 3) vectors of the primitive cell in units of those of the cell.

    "P" if the cell is primitive already, so that it keeps its vectors.
    """
    from phonopy.structure.cells import guess_primitive_matrix

    with warnings.catch_warnings():
        # that magnetic order makes the primitive cell larger is what it has to do
        warnings.simplefilter("ignore")
        matrix = guess_primitive_matrix(cell, symprec=tolerance)
    is_primitive = abs(np.linalg.det(matrix)) > 1 - 1e-5
    return "P" if is_primitive else matrix
