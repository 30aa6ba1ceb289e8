"""Force constants of a crystal, from forces of displaced supercells or from second derivatives.

`Crystal.residuals` measures how well they obey the acoustic sum rule and the exchange of indices.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from ..extras import how_to_install
from ._protocols import (
    AseCalculator,
    Displacement,
    SupportsBatches,
    SupportsDisplacedForces,
    SupportsHessian,
)

if TYPE_CHECKING:
    from phonopy import Phonopy

PROJECTIONS = ("symfc", "traditional", "none")
CHUNK_ATOMS = 2048  # atoms passed to `evaluate` between two reports of progress
# Displacements passed to `displaced_forces`, which evaluates the undisplaced structure each time.
CHUNK_MOVES = 64
EXTRA = f"of the extra `phonons` ({how_to_install('phonons')})"

OnProgress = Callable[[int, int], object]
Item = TypeVar("Item")


class Crystal:
    """A crystal and its supercell: structures to evaluate, and force constants in eV/A^2.

    `phonopy` is the Phonopy object.

    Parameters
    ----------
    atoms:
        Unit cell, periodic in three directions.
    supercell:
        Three repeats, or a (3, 3) matrix of integers.
    symmetry:
        Use the space group to reduce the displacements and to find the primitive cell.
    tolerance:
        Tolerance of the space group in A.

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
    ) -> None:
        phonopy_class, cell_class = _phonopy_classes()
        matrix = _supercell_matrix(supercell)
        if not atoms.pbc.all():
            raise ValueError(
                f"`pbc` is {atoms.pbc.tolist()}: phonons need three periodic directions (give a"
                " slab or a molecule a cell with vacuum, and set all three)"
            )
        if atoms.info.get("charge") or atoms.info.get("spin", 1) != 1:
            raise ValueError(
                "phonons are of a neutral crystal without a total spin: remove `charge` and `spin`"
                " from `atoms.info`"
            )
        moments = atoms.get_initial_magnetic_moments()
        cell = cell_class(
            symbols=[chemical_symbols[z] for z in atoms.numbers],
            cell=atoms.cell[:],
            scaled_positions=atoms.get_scaled_positions(wrap=False),
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
        # constraints of the unit cell do not apply to displaced supercells
        self._unit = atoms.copy()
        self._unit.set_constraint()

    @property
    def supercell(self) -> Atoms:
        """Supercell in phonopy's order, with tags, charges and moments of the unit cell."""
        return self._as_atoms(self.phonopy.supercell)

    def displaced(self, distance: float = 0.01) -> list[Atoms]:
        """The supercell, followed by its copies with one atom displaced by `distance` (A)."""
        if not distance > 0:
            raise ValueError(f"`displacement` is {distance!r}: expected a length in A above 0")
        self.phonopy.generate_displacements(distance=distance)
        displaced: Any = self.phonopy.supercells_with_displacements
        return [self._as_atoms(cell) for cell in (self.phonopy.supercell, *displaced)]

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
        blocks = np.reshape(selected, (len(rows), 3, len(structure), 3)).transpose(0, 2, 1, 3)
        self.phonopy.force_constants = np.array(blocks, dtype=float, order="C")

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

    def _as_atoms(self, cell: Any) -> Atoms:
        """Atoms of one of phonopy's supercells."""
        supercell = self.phonopy.supercell
        # index in the unit cell of each atom of the supercell
        unit_indices = [supercell.u2u_map[first] for first in supercell.s2u_map]
        atoms: Atoms = self._unit[unit_indices]
        atoms.set_cell(cell.cell)
        atoms.positions = cell.positions
        return atoms


def forces(
    calculator: AseCalculator,
    structures: Sequence[Atoms],
    moves: Sequence[Displacement] | None = None,
    on_progress: OnProgress | None = None,
) -> list[np.ndarray]:
    """Forces (n, 3) in eV/A of each structure, in batches if the calculator supports them.

    Parameters
    ----------
    calculator:
        Any ASE calculator.
    structures:
        Structures to evaluate.
    moves:
        `Crystal.moves`, if each structure differs from the first in one atom: calculators with
        `displaced_forces` use it.
    on_progress:
        Function called as on_progress(structures done, number of structures).
    """
    if moves is not None and isinstance(calculator, SupportsDisplacedForces):
        return _in_chunks(
            lambda part: calculator.displaced_forces(structures[0], part),
            moves,
            CHUNK_MOVES,
            on_progress,
        )
    if isinstance(calculator, SupportsBatches):
        atoms = max(map(len, structures), default=1)
        return _in_chunks(
            lambda part: [row["forces"] for row in calculator.evaluate(part, ("forces",))],
            structures,
            max(1, CHUNK_ATOMS // atoms),
            on_progress,
        )
    # one structure at a time
    return _in_chunks(
        lambda part: [calculator.get_property("forces", atoms) for atoms in part],
        structures,
        1,
        on_progress,
    )


def _in_chunks(
    compute: Callable[[Sequence[Item]], list[np.ndarray]],
    items: Sequence[Item],
    size: int,
    on_progress: OnProgress | None,
) -> list[np.ndarray]:
    """Results of `compute` for chunks of `size` items, in one list."""
    results: list[np.ndarray] = []
    while len(results) < len(items):
        start = len(results)
        results += compute(items[start : start + size])
        if on_progress is not None:
            on_progress(len(results), len(items))
    return results


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

    matrix = guess_primitive_matrix(cell, symprec=tolerance)
    is_primitive = abs(np.linalg.det(matrix)) > 1 - 1e-5
    return "P" if is_primitive else matrix


def _supercell_matrix(
    supercell: Sequence[int] | Sequence[Sequence[int]] | np.ndarray,
) -> np.ndarray:
    """(3, 3) integers of a supercell of positive volume."""
    matrix = np.asarray(supercell)
    if matrix.shape == (3,):
        matrix = np.diag(matrix)
    if (
        matrix.shape != (3, 3)
        or not np.array_equal(matrix, np.rint(matrix))
        or np.linalg.det(matrix) < 0.5
    ):
        raise ValueError(
            f"`supercell` is {supercell!r}: expected three repeats, 1 or more, or a 3x3 matrix of"
            " integers with a positive determinant"
        )
    return np.asarray(np.rint(matrix), dtype=int)
