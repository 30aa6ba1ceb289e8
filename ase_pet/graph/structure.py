"""One structure as plain arrays, and the checks it must pass before anything is computed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import chemical_symbols

if TYPE_CHECKING:
    from .neighbours import HalfList

FARTHEST = 1e9  # A: beyond it, float64 resolves positions worse than 1e-7 A
FARTHEST_CELLS = 1e6  # periods of the cell
CLOSEST = 0.1  # A: below it there is no chemistry, and gradients of any model are noise
ROUNDING = 1e-6  # A, of positions in files: training structures are not closer than themselves
DENSEST = 2  # atoms / A^3: three times the densest matter known, hydrogen at 600 GPa
BIN = 3.0  # A, edge of the cubes in which atoms are counted
MOST_IMAGES = 1e6  # copies of the cell that a neighbour search may visit
MOST_PAIRS = 2e8  # of a structure: 135 bytes each while they are searched


class InvalidStructure(ValueError):
    """Input that cannot be evaluated; the message names the atoms or the cell vectors."""


@dataclass(frozen=True)
class Structure:
    """A structure of n atoms as arrays, independent of ASE.

    Attributes
    ----------
    numbers:
        Atomic numbers (n,), int64.
    positions:
        Positions (n, 3) in A, float64.
    cell:
        Cell (3, 3) in A, float64; the rows are the cell vectors.
    pbc:
        Periodic directions (3,), bool.
    charge:
        Total charge in e, None if not given.
    spin:
        Spin multiplicity 2S+1, None if not given.
    """

    numbers: np.ndarray
    positions: np.ndarray
    cell: np.ndarray
    pbc: np.ndarray
    charge: int | None = None
    spin: int | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def volume(self) -> float:
        """Volume of the cell in A^3, 0 if the cell does not have rank 3."""
        volume = abs(float(np.linalg.det(self.cell)))
        # The determinant of linearly dependent vectors is zero up to rounding only.
        rounding = 1e-9 * float(np.prod(np.linalg.norm(self.cell, axis=1)))
        return volume if volume > rounding else 0.0


def from_atoms(atoms: Any, conditioned: bool = True) -> Structure:
    """Structure of an ase.Atoms object.

    Parameters
    ----------
    atoms:
        Object with ASE's attributes `numbers`, `positions`, `cell`, `pbc` and `info`.
    conditioned:
        Whether the model depends on total charge and spin, which are then read from
        `atoms.info["charge"]` and `atoms.info["spin"]`. Other models ignore these entries.

    Raises
    ------
    InvalidStructure
        Charge or spin is not a whole number.
    """
    info = atoms.info if conditioned else {}
    return Structure(
        numbers=np.array(atoms.numbers, dtype=np.int64),
        positions=np.array(atoms.positions, dtype=np.float64),
        cell=np.array(atoms.cell, dtype=np.float64).reshape(3, 3),
        pbc=np.array(atoms.pbc, dtype=bool),
        charge=_integer(info, "charge"),
        spin=_integer(info, "spin"),
    )


def check(structure: Structure, species: Collection[int] | None = None) -> None:
    """Raise InvalidStructure unless the structure can be evaluated.

    Call it before the neighbour list, which hangs or returns wrong pairs for non-finite or very
    distant positions.

    Parameters
    ----------
    structure:
        Structure to check.
    species:
        Atomic numbers that the model supports, None for any.
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


def check_distances(
    structure: Structure,
    pairs: HalfList,
    shortest: Mapping[tuple[int, int], float] | None = None,
) -> list[str]:
    """Descriptions of the pairs that are closer than any pair of their elements in training.

    Parameters
    ----------
    structure:
        Structure of the pairs.
    pairs:
        Neighbour list of the structure.
    shortest:
        {(Z, Z'): shortest distance in A in the training data}, Z <= Z'; None for no such limits.

    Raises
    ------
    InvalidStructure
        Two atoms are closer than 0.1 A.
    """
    distances = pairs.distances()
    if len(distances) == 0:
        return []
    i = pairs.centres
    j = pairs.neighbours
    closest = int(np.argmin(distances))
    smallest = distances[closest]
    if smallest < CLOSEST:
        raise InvalidStructure(
            f"atoms {i[closest]} and {j[closest]} are {smallest:.3g} A apart: closer"
            f" than {CLOSEST} A is not evaluated"
        )
    warnings = []
    for (first, second), known in (shortest or {}).items():
        limit = known - ROUNDING
        # Most steps of a run end here: the shortest of all distances is above the limit.
        if smallest >= limit:
            continue
        low, high = np.sort([structure.numbers[i], structure.numbers[j]], axis=0)
        of_elements = (low == first) & (high == second)
        too_close = np.flatnonzero(of_elements & (distances < limit))
        if len(too_close):
            worst = too_close[np.argmin(distances[too_close])]
            warnings.append(
                f"{symbol(first)}-{symbol(second)} {distances[worst]:.3f} A (atoms {i[worst]} and"
                f" {j[worst]}; shortest in training {known:.3f} A)"
            )
    return warnings


def check_density(structure: Structure, cutoff: float) -> None:
    """Raise InvalidStructure if a neighbour search would take very long or exhaust the memory.

    Positions or a cell in other units than A make cells so thin, or atoms so dense, that the
    number of neighbours is practically unbounded.

    Parameters
    ----------
    structure:
        Structure to search.
    cutoff:
        Search radius in A.
    """
    if structure.pbc.any():
        thickness = _thickness(structure)
        n_images = np.prod(2 * cutoff / thickness + 1)
        if n_images > MOST_IMAGES or thickness.min() < CLOSEST / 2:
            raise InvalidStructure(
                f"`cell` is only {thickness.min():.3g} A thick along a periodic direction: take "
                "shorter cell vectors of the same lattice, or check the unit (A)"
            )
    first_atoms, counts, images = _cubes(structure, BIN)
    densest = counts.argmax()
    density = counts[densest] * images / BIN**3
    if density > DENSEST:
        raise InvalidStructure(
            f"about {density:.0f} atoms per A^3 around atom"
            f" {first_atoms[densest]}: check the unit of `positions` and `cell` (A)"
        )
    sphere = 4 / 3 * np.pi * cutoff**3  # A^3
    n_atoms = len(structure)
    if n_atoms * density * sphere / 2 < MOST_PAIRS:
        return
    # the density of each cube of the size of the cutoff, as its atoms see it
    _, counts, images = _cubes(structure, cutoff)
    densities = counts * images / cutoff**3
    n_pairs = float(counts @ densities) * sphere / 2
    if n_pairs > MOST_PAIRS:
        raise InvalidStructure(
            f"about {n_pairs:.0e} pairs of atoms within {cutoff:g} A, {2 * n_pairs / n_atoms:.0f}"
            f" neighbours of an atom: at most {MOST_PAIRS:.0e} pairs fit into the memory of usual"
            " machines; take fewer atoms, or check the unit of `positions` and `cell` (A)"
        )


def _thickness(structure: Structure) -> np.ndarray:
    """Distances (d,) in A of the lattice planes along the periodic directions."""
    dual = np.linalg.pinv(structure.cell[structure.pbc])
    return np.asarray(1 / np.linalg.norm(dual, axis=0))


def _cubes(structure: Structure, edge: float) -> tuple[np.ndarray, np.ndarray, float]:
    """First atom (m,) and number (m,) of atoms in each occupied cube, and images of them in it.

    edge: length of the cubes in A. There is more than one image where the cell is thinner.
    """
    positions = structure.positions
    images = 1.0
    if structure.pbc.any():
        cell = structure.cell[structure.pbc]
        periods = np.floor(positions @ np.linalg.pinv(cell))
        positions = positions - periods @ cell  # inside the cell
        copies = np.maximum(1, edge / _thickness(structure))
        images = float(copies.prod())
    # Two cubes with the same number are harmless here.
    cubes = np.floor(positions / edge)
    cubes = cubes.astype(np.int64)
    strides = np.array([1, 2**21, 2**42])
    number = cubes @ strides
    _, first_atoms, counts = np.unique(number, return_index=True, return_counts=True)
    return first_atoms, counts, images


def symbol(number: int) -> str:
    """Chemical symbol of an atomic number, or "Z=number" if there is no such element."""
    number = int(number)
    if 0 < number < len(chemical_symbols):
        return str(chemical_symbols[number])
    return f"Z={number}"


def _check_cell(structure: Structure) -> None:
    cell = structure.cell
    pbc = structure.pbc
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
        # Unit vectors, so that the tolerance does not depend on the size of the cell.
        directions = periodic / lengths[pbc][:, None]
        if np.linalg.matrix_rank(directions, tol=1e-6) < pbc.sum():
            raise InvalidStructure(
                f"the periodic cell vectors are linearly dependent: {periodic.tolist()}"
            )


def _check_positions(structure: Structure) -> None:
    positions = structure.positions
    not_finite = np.flatnonzero(~np.isfinite(positions).all(axis=1))
    if len(not_finite):
        raise InvalidStructure(f"`positions` of {_atoms(not_finite)} are not finite")
    far = np.flatnonzero(np.abs(positions).max(axis=1) > FARTHEST)
    if len(far):
        raise InvalidStructure(
            f"`positions` of {_atoms(far)} are further than {FARTHEST:.0e} A from the origin"
        )
    if structure.pbc.any():
        # (n, number of periodic directions)
        fractional = positions @ np.linalg.pinv(structure.cell[structure.pbc])
        far = np.flatnonzero(np.abs(fractional).max(axis=1) > FARTHEST_CELLS)
        if len(far):
            raise InvalidStructure(
                f"`positions` of {_atoms(far)} are further than {FARTHEST_CELLS:.0e} cells from "
                "the origin: wrap them"
            )


def _atoms(indices: np.ndarray) -> str:
    """Text such as "atoms 1, 2" that names up to eight atoms."""
    shown = ", ".join(map(str, indices[:8]))
    more = ", ..." if len(indices) > 8 else ""
    plural = "s" if len(indices) > 1 else ""
    return f"atom{plural} {shown}{more}"


def _integer(info: Mapping[str, Any], key: str) -> int | None:
    """Whole number of an entry of `atoms.info`, None if it is absent."""
    value = info.get(key)
    if value is None:
        return None
    try:
        # A text such as "1" would pass float(), but is probably a mistake.
        is_number = not isinstance(value, (str, bytes)) and np.ndim(value) == 0
        number = float(value) if is_number else float("nan")
    except (TypeError, ValueError):
        number = float("nan")
    if not number.is_integer():
        raise InvalidStructure(f"`atoms.info[{key!r}]` must be a whole number, got {value!r}")
    return int(number)
