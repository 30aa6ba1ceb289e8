"""Force constants of a crystal by displacements, evaluated in one batch, or from second
derivatives; how far they keep the
laws that force constants obey.
"""

import inspect

import numpy as np
from ase.data import chemical_symbols

from ..extras import how_to_install

PROJECTIONS = ("symfc", "traditional", "none")
CHUNK_ATOMS = 2048  # atoms handed to `evaluate` between two reports of progress
CHUNK_MOVES = (
    64  # displacements handed to `displaced_forces`, which computes the structure at rest each time
)
EXTRA = f"of the extra `phonons` ({how_to_install('phonons')})"


class Crystal:
    """A crystal with its supercell: structures to evaluate, and force constants in eV/A^2 from what
    they gave.

    atoms: unit cell, periodic in three directions; supercell: three repeats, or a 3x3 matrix;
    symmetry: reduce the displacements, and the primitive cell, by the space group within
    `tolerance` (A). `phonopy` is the Phonopy object.

    Raises ValueError where phonopy or seekpath are missing, or the structure is not a neutral
    crystal.
    """

    def __init__(self, atoms, supercell, *, symmetry=True, tolerance=1e-5):
        Phonopy, PhonopyAtoms = _phonopy()
        matrix = _matrix(supercell)
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
        cell = PhonopyAtoms(
            symbols=[chemical_symbols[z] for z in atoms.numbers],
            cell=atoms.cell[:],
            scaled_positions=atoms.get_scaled_positions(wrap=False),
            masses=atoms.get_masses(),
            magnetic_moments=moments if np.any(moments) else None,
        )
        self.phonopy = Phonopy(
            cell,
            supercell_matrix=matrix,
            primitive_matrix=_primitive(cell, tolerance) if symmetry else "P",
            is_symmetry=symmetry,
            symprec=tolerance,
        )
        self._unit = atoms.copy()
        self._unit.set_constraint()

    @property
    def supercell(self):
        """Atoms of the supercell, in phonopy's order, with the tags.

        Charges and moments of the unit cell.
        """
        return self._repeated(self.phonopy.supercell)

    def displaced(self, distance=0.01):
        """List of Atoms.

        The supercell, then its copies with one atom displaced by `distance` (A).
        """
        if not distance > 0:
            raise ValueError(f"`displacement` is {distance!r}: expected a length in A above 0")
        self.phonopy.generate_displacements(distance=distance)
        return [
            self._repeated(cell)
            for cell in (self.phonopy.supercell, *self.phonopy.supercells_with_displacements)
        ]

    @property
    def moves(self):
        """(index of the atom, (3,) A) of each structure that `displaced` gave.

        No displacement of the first.
        """
        moved = self.phonopy.dataset["first_atoms"]
        return [
            (0, np.zeros(3)),
            *((int(move["number"]), np.array(move["displacement"])) for move in moved),
        ]

    def from_forces(self, forces):
        """Set the force constants from the forces (n, 3) in eV/A of what `displaced` gave; those of
        the supercell at rest are subtracted: they vanish by symmetry, unless the calculator breaks
        it or the structure is not relaxed.
        """
        self.phonopy.forces = np.array(forces[1:]) - forces[0]
        self.phonopy.produce_force_constants(calculate_full_force_constants=False)

    def from_hessian(self, calculator):
        """Set the force constants from `calculator.hessian`, asked for rows of the primitive cell
        where it takes `of`.

        Raises ValueError for a calculator without `hessian`.
        """
        if not hasattr(calculator, "hessian"):
            raise ValueError(
                f"`method` is 'hessian', but {type(calculator).__name__} has no method of that"
                " name: use 'displacements'"
            )
        rows, structure = self.phonopy.primitive.p2s_map, self.supercell
        if "of" in inspect.signature(calculator.hessian).parameters:
            found = calculator.hessian(structure, of=rows)
        else:
            found = np.reshape(calculator.hessian(structure), (len(structure), 3, -1))[rows]
        blocks = np.reshape(found, (len(rows), 3, len(structure), 3)).transpose(0, 2, 1, 3)
        self.phonopy.force_constants = np.array(blocks, dtype=float, order="C")

    def project(self, how="symfc"):
        """Replace the force constants by the nearest ones that obey the acoustic sum rule and the
        exchange of indices.

        symfc: the space group too, all at once; traditional: one law after the other, without the
        space group; none.
        """
        if how not in PROJECTIONS:
            raise ValueError(f"`projection` is {how!r}: valid choices are {', '.join(PROJECTIONS)}")
        if how != "none":
            self.phonopy.symmetrize_force_constants(use_symfc_projector=how == "symfc")

    def residuals(self):
        """How far the force constants are from the laws that they obey.

        sum_rule: largest |sum_j Phi_ij| in eV/A^2; exchange: largest |Phi_ij - Phi_ji^T| in eV/A^2;
        acoustic: largest frequency of the three acoustic modes at Gamma in THz.
        """
        from phonopy.harmonic.force_constants import compact_fc_to_full_fc

        full = self.phonopy.force_constants
        if full.shape[0] != full.shape[1]:
            full = compact_fc_to_full_fc(self.phonopy.primitive, full)
        gamma = np.sort(np.abs(self.phonopy.run_qpoints([[0, 0, 0]]).frequencies[0]))
        return {
            "sum_rule": float(max(np.abs(full.sum(axis)).max() for axis in (0, 1))),
            "exchange": float(np.abs(full - full.transpose(1, 0, 3, 2)).max()),
            "acoustic": float(gamma[2]),
        }

    def _repeated(self, cell):
        """Atoms of one of phonopy's supercells."""
        supercell = self.phonopy.supercell
        atoms = self._unit[[supercell.u2u_map[first] for first in supercell.s2u_map]]
        atoms.set_cell(cell.cell)
        atoms.positions = cell.positions
        return atoms


def forces(calculator, structures, moves=None, on_progress=None):
    """List of forces (n, 3) in eV/A of structures, by `evaluate` where the calculator has it, else
    one after the other.

    moves: `Crystal.moves`, of structures that differ from the first in one atom, for calculators
    with `displaced_forces`.
    on_progress: called with the numbers of structures that are done and to do.
    """
    todo, batch, compute = (
        structures,
        1,
        lambda part: [calculator.get_property("forces", atoms) for atoms in part],
    )
    if moves is not None and hasattr(calculator, "displaced_forces"):
        todo, batch, compute = (
            moves,
            CHUNK_MOVES,
            lambda part: calculator.displaced_forces(structures[0], part),
        )
    elif hasattr(calculator, "evaluate"):
        batch = max(1, CHUNK_ATOMS // max(map(len, structures), default=1))
        compute = lambda part: [found["forces"] for found in calculator.evaluate(part, ("forces",))]  # noqa: E731
    found = []
    while len(found) < len(todo):
        found += compute(todo[len(found) : len(found) + batch])
        if on_progress is not None:
            on_progress(len(found), len(todo))
    return found


def _phonopy():
    try:
        import seekpath  # noqa: F401  the path of bands, missed only at the end of a long calculation
        from phonopy import Phonopy
        from phonopy.structure.atoms import PhonopyAtoms
    except ImportError as error:
        raise ValueError(f"phonons need phonopy and seekpath, {EXTRA}: {error}") from None
    return Phonopy, PhonopyAtoms


def _primitive(cell, tolerance):
    """Vectors of the primitive cell in those of the cell; "P" where they span the same volume, so
    that a cell that is
    primitive keeps its vectors.
    """
    from phonopy.structure.cells import guess_primitive_matrix

    found = guess_primitive_matrix(cell, symprec=tolerance)
    return "P" if abs(np.linalg.det(found)) > 1 - 1e-5 else found


def _matrix(supercell):
    """(3, 3) integers of a supercell of positive volume."""
    matrix = np.asarray(supercell)
    matrix = np.diag(matrix) if matrix.shape == (3,) else matrix
    if (
        matrix.shape != (3, 3)
        or not np.array_equal(matrix, np.rint(matrix))
        or np.linalg.det(matrix) < 0.5
    ):
        raise ValueError(
            f"`supercell` is {supercell!r}: expected three repeats, 1 or more, or a 3x3 matrix of"
            " integers with a positive determinant"
        )
    return np.rint(matrix).astype(int)
