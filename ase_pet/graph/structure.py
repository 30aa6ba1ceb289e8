"""One structure as plain arrays.

And the checks it must pass before anything is computed with it.
"""

from dataclasses import dataclass

import numpy as np

FARTHEST = 1e9  # A: beyond it, float64 resolves positions worse than 1e-7 A
FARTHEST_CELLS = 1e6  # periods of the cell
CLOSEST = 0.1  # A: no chemistry, and gradients of any model are noise
DENSEST = (
    20  # atoms / A^3: ten times the density of anything known, but few enough neighbours to find
)
MOST_IMAGES = 1e6  # copies of the cell that a neighbour search may look at


class InvalidStructure(ValueError):
    """Input that no model can answer for; the message names the culprit."""


@dataclass(frozen=True)
class Structure:
    """A structure without any engine behind it.

    numbers (n,) int64 atomic numbers; positions (n, 3) A; cell (3, 3) A, rows are the vectors; pbc
    (3,) bool; charge total charge in e; spin multiplicity 2S+1, None where it was not given.
    """

    numbers: np.ndarray
    positions: np.ndarray
    cell: np.ndarray
    pbc: np.ndarray
    charge: int | None = None
    spin: int | None = None

    def __len__(self):
        return len(self.numbers)

    @property
    def volume(self):
        """Volume of the cell in A^3, 0 where the cell has no rank 3."""
        volume = abs(float(np.linalg.det(self.cell)))
        # the determinant of dependent vectors is rounding, not zero
        return volume if volume > 1e-9 * np.prod(np.linalg.norm(self.cell, axis=1)) else 0.0


def from_atoms(atoms, conditioned=True):
    """Structure of an object with ASE's attributes: numbers, positions, cell, pbc, info.

    conditioned: read the total charge and the spin from `info`; what stands there means nothing to
    other models.
    """
    info = atoms.info if conditioned else {}
    return Structure(
        numbers=np.array(atoms.numbers, dtype=np.int64),
        positions=np.array(atoms.positions, dtype=np.float64),
        cell=np.array(atoms.cell, dtype=np.float64).reshape(3, 3),
        pbc=np.array(atoms.pbc, dtype=bool),
        charge=_whole(info, "charge"),
        spin=_whole(info, "spin"),
    )


def check(structure, species=None):
    """Raise InvalidStructure unless the structure can be evaluated.

    species: atomic numbers that the model knows, None for any. Runs before the neighbour list,
    which hangs or returns pairs of its own making on non-finite and far positions.
    """
    if len(structure) == 0:
        raise InvalidStructure("`atoms` is empty: expected at least one atom")
    _check_cell(structure)
    _check_positions(structure)
    if species is not None:
        unknown = sorted(set(structure.numbers.tolist()) - set(species))
        if unknown:
            raise InvalidStructure(
                f"unsupported element {', '.join(map(symbol, unknown))}: "
                f"the model knows {', '.join(map(symbol, species))}"
            )


def check_distances(structure, pairs, shortest=None):
    """List of pairs closer than the model was trained on, as text; raises InvalidStructure below
    the floor of 0.1 A.

    pairs: HalfList; shortest: {(Z, Z'): A with Z <= Z'} seen in training.
    """
    distances = pairs.distances()
    if len(distances) == 0:
        return []
    i, j = pairs.centres, pairs.neighbours
    least = int(np.argmin(distances))
    if distances[least] < CLOSEST:
        raise InvalidStructure(
            f"atoms {i[least]} and {j[least]} are {distances[least]:.3g} A apart: closer than "
            f"{CLOSEST} A is not evaluated"
        )
    close = []
    for (first, second), limit in (shortest or {}).items():
        if distances[least] >= limit:
            continue
        low, high = np.sort([structure.numbers[i], structure.numbers[j]], axis=0)
        found = np.flatnonzero((low == first) & (high == second) & (distances < limit))
        if len(found):
            worst = found[np.argmin(distances[found])]
            close.append(
                f"{symbol(first)}-{symbol(second)} {distances[worst]:.3f} A (atoms {i[worst]} and"
                f" {j[worst]}; shortest in training {limit:.3f} A)"
            )
    return close


def check_density(structure, cutoff):
    """Raise InvalidStructure where a neighbour search within `cutoff` (A) would take forever or all
    memory.

    Positions or a cell in other units than A make cells so thin, or atoms so dense, that there is
    no end of neighbours.
    """
    positions, volume = structure.positions, 1.0
    if structure.pbc.any():
        cell = structure.cell[structure.pbc]
        dual = np.linalg.pinv(cell)
        thickness = 1 / np.linalg.norm(dual, axis=0)
        if np.prod(2 * cutoff / thickness + 1) > MOST_IMAGES:
            raise InvalidStructure(
                f"`cell` is only {thickness.min():.3g} A thick along a periodic direction: take "
                "shorter cell vectors of the same lattice, or check the unit (A)"
            )
        positions = positions - np.floor(positions @ dual) @ cell
        volume = min(1.0, float(np.sqrt(np.linalg.det(cell @ cell.T))))
    bins = np.floor(positions).astype(np.int64) @ np.array(
        [1, 2**21, 2**42]
    )  # 1 A wide; collisions are harmless
    _, first, counts = np.unique(bins, return_index=True, return_counts=True)
    densest = counts.argmax()
    if counts[densest] / volume > DENSEST:
        raise InvalidStructure(
            f"about {counts[densest] / volume:.0f} atoms per A^3 around atom {first[densest]}: "
            "check the unit of `positions` and `cell` (A)"
        )


def symbol(number):
    """Chemical symbol of an atomic number, or the number itself where there is none."""
    from ase.data import chemical_symbols  # a table, not an engine

    number = int(number)
    return chemical_symbols[number] if 0 < number < len(chemical_symbols) else f"Z={number}"


def _check_cell(structure):
    cell, pbc = structure.cell, structure.pbc
    if not np.isfinite(cell).all():
        raise InvalidStructure(f"`cell` is not finite: {cell.tolist()}")
    if np.abs(cell).max() > FARTHEST:
        raise InvalidStructure(f"`cell` has entries beyond {FARTHEST:.0e} A: {cell.tolist()}")
    lengths = np.linalg.norm(cell, axis=1)
    zero = np.flatnonzero(pbc & (lengths == 0))
    if len(zero):
        raise InvalidStructure(
            f"pbc is set along cell vector {', '.join('abc'[k] for k in zero)}, which is zero: "
            "give it a length or switch pbc off in that direction"
        )
    if pbc.any():
        periodic = cell[pbc]
        if np.linalg.matrix_rank(periodic / lengths[pbc][:, None], tol=1e-6) < pbc.sum():
            raise InvalidStructure(
                f"the periodic cell vectors are linearly dependent: {periodic.tolist()}"
            )


def _check_positions(structure):
    positions = structure.positions
    bad = np.flatnonzero(~np.isfinite(positions).all(axis=1))
    if len(bad):
        raise InvalidStructure(f"`positions` of {_atoms(bad)} are not finite")
    far = np.flatnonzero(np.abs(positions).max(axis=1) > FARTHEST)
    if len(far):
        raise InvalidStructure(
            f"`positions` of {_atoms(far)} are further than {FARTHEST:.0e} A from the origin"
        )
    if structure.pbc.any():
        fractional = positions @ np.linalg.pinv(structure.cell[structure.pbc])
        far = np.flatnonzero(np.abs(fractional).max(axis=1) > FARTHEST_CELLS)
        if len(far):
            raise InvalidStructure(
                f"`positions` of {_atoms(far)} are further than {FARTHEST_CELLS:.0e} cells from "
                "the origin: wrap them"
            )


def _atoms(indices):
    shown = ", ".join(map(str, indices[:8])) + (", ..." if len(indices) > 8 else "")
    return f"atom{'s' if len(indices) > 1 else ''} {shown}"


def _whole(info, key):
    value = info.get(key)
    if value is None:
        return None
    try:
        number = (
            float(value)
            if not isinstance(value, (str, bytes)) and np.ndim(value) == 0
            else float("nan")
        )
    except (TypeError, ValueError):
        number = float("nan")
    if not number.is_integer():
        raise InvalidStructure(f"`atoms.info[{key!r}]` must be a whole number, got {value!r}")
    return int(number)
