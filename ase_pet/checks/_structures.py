"""Structures to check a calculator on, built from the elements that it supports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule
from ase.data import atomic_numbers, chemical_symbols, covalent_radii, reference_states
from ase.geometry import get_distances

MOLECULES = (  # in order of preference
    "CH3CONH2",
    "CH3CH2OH",
    "CH3CH2NH2",
    "C2H6",
    "C6H6",
    "CH3CH2Cl",
    "CH3SH",
    "CH4",
    "H2O2",
    "H2O",
    "N2H4",
    "NH3",
    "Si2H6",
    "SiH4",
    "PH3",
    "SH2",
    "HCl",
    "HF",
    "CO2",
    "N2O",
    "HCN",
    "CO",
    "N2",
    "O2",
    "F2",
    "H2",
)
NOT_CRYSTALS = (  # elements whose crystals consist of molecules
    "H",
    "N",
    "O",
    "F",
    "Cl",
    "Br",
    "I",
    "S",
    "P",
    "Se",
)
REPEATS = {  # of the cubic or orthorhombic cell, to about eight atoms
    "fcc": (2, 1, 1),
    "bcc": (2, 2, 1),
    "hcp": (2, 1, 1),
    "diamond": (1, 1, 1),
    "sc": (2, 2, 2),
}
ATOMS_OF_A_CLUSTER = 8
DISPLACEMENT = 0.05  # A rms of each coordinate, so that no force is zero by symmetry


def defaults(species: Iterable[int | str]) -> dict[str, Atoms]:
    """{name: Atoms} of a molecule and a crystal of about eight atoms each, as far as possible.

    Parameters
    ----------
    species:
        Atomic numbers or symbols of the elements to build them from.

    Raises
    ------
    ValueError
        Neither a molecule nor a crystal of these elements is known.
    """
    symbols = [name if isinstance(name, str) else chemical_symbols[name] for name in species]
    structures = {}
    # Either may be missing: metals have no molecules here, and hydrogen has no crystal.
    name = _molecule(symbols)
    if name is not None:
        structures[name] = molecule(name)
    crystal = _crystal(symbols)
    if crystal is not None:
        structures[f"{crystal.get_chemical_formula(empirical=True)} crystal"] = crystal
    if not structures:
        raise ValueError(
            f"no structure is known for the species {' '.join(symbols)}: give one with `structures`"
            " (`--structure FILE`)"
        )
    return structures


def displaced(atoms: Atoms, seed: int) -> Atoms:
    """Copy with each coordinate displaced by 0.05 A rms, without calculator and momenta.

    A crystal with one atom in its cell is repeated first, as symmetry makes its forces zero.

    Parameters
    ----------
    atoms:
        Structure.
    seed:
        Seed of the displacements.
    """
    atoms = atoms.copy()
    atoms.arrays.pop("momenta", None)
    # Two cells along each periodic direction.
    if len(atoms) == 1:
        atoms = atoms.repeat(1 + atoms.pbc)
    generator = np.random.default_rng([seed, len(atoms)])
    normal = generator.normal(size=(len(atoms), 3))
    atoms.positions += DISPLACEMENT * normal
    return atoms


def is_periodic(atoms: Atoms) -> bool:
    """Whether `atoms` are periodic in three directions."""
    return bool(atoms.pbc.all()) and bool(atoms.cell.rank == 3)


def is_free(atoms: Atoms) -> bool:
    """Whether `atoms` are periodic in no direction."""
    return not atoms.pbc.any()


def cluster(atoms: Atoms) -> Atoms:
    """The eight atoms nearest to an atom of the periodic structure `atoms`, without a cell."""
    repeated = atoms.repeat(1 + 2 * atoms.pbc)  # three cells along each periodic direction
    positions = repeated.positions
    # The atom closest to the middle of the repeated cells has all its neighbours around it.
    middle = positions.mean(axis=0)
    from_middle = np.linalg.norm(positions - middle, axis=1)
    centre = positions[from_middle.argmin()]
    from_centre = np.linalg.norm(positions - centre, axis=1)
    nearest = from_centre.argsort(kind="stable")[:ATOMS_OF_A_CLUSTER]
    numbers = repeated.numbers[nearest]
    return Atoms(numbers, positions[nearest] - centre, info=atoms.info)


def shortest_distance(atoms: Atoms) -> float:
    """Shortest distance of two `atoms` in A, to the nearest periodic image."""
    if len(atoms) == 1:
        return float(atoms.cell.lengths().min())
    distances = distance_matrix(atoms)
    different = ~np.eye(len(atoms), dtype=bool)
    return float(distances[different].min())


def distance_matrix(atoms: Atoms) -> np.ndarray:
    """Distances (n, n) in A between `atoms`, to the nearest periodic image."""
    _, distances = get_distances(atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    matrix: np.ndarray = distances
    return matrix


def pairs(numbers: Iterable[int]) -> dict[str, Atoms]:
    """{name: Atoms} of two atoms for each pair of elements, at the sum of their covalent radii.

    Parameters
    ----------
    numbers:
        Atomic numbers of the elements.
    """
    structures = {}
    for first, second in combinations_with_replacement(sorted(set(numbers)), 2):
        distance = covalent_radii[first] + covalent_radii[second]
        name = f"{chemical_symbols[first]}-{chemical_symbols[second]}"
        structures[name] = Atoms([first, second], [[0, 0, 0], [0, 0, distance]])
    return structures


def at_distances(pair: Atoms, distances: Iterable[float]) -> list[Atoms]:
    """Copies of a pair of atoms with the second one on the z axis at each distance.

    Parameters
    ----------
    pair:
        Two atoms, the first one at the origin.
    distances:
        Distances (m,) in A.
    """
    structures = []
    for distance in distances:
        structure = pair.copy()
        structure.positions[1] = [0, 0, distance]
        structures.append(structure)
    return structures


def _molecule(symbols: Sequence[str]) -> str | None:
    """Name of the first of the molecules that contain most of the elements, None without one."""
    possible = [name for name in MOLECULES if set(molecule(name).symbols) <= set(symbols)]
    return max(possible, key=lambda name: len(set(molecule(name).symbols)), default=None)


def _crystal(symbols: Sequence[str]) -> Atoms | None:
    """Rock salt for a metal with a nonmetal, else a crystal of one element, None without one."""
    solids = [name for name in symbols if name not in NOT_CRYSTALS]
    has_hydrogen = "H" in symbols
    has_carbon = "C" in symbols
    organic = has_hydrogen or has_carbon
    metal_and_nonmetal = len(symbols) == 2 and len(solids) == 1
    if metal_and_nonmetal and not organic:
        metal = solids[0]
        nonmetal = next(name for name in symbols if name != metal)
        radii = [covalent_radii[atomic_numbers[name]] for name in symbols]
        length = radii[0] + radii[1]
        return bulk(metal + nonmetal, "rocksalt", 2 * length, cubic=True)
    # Carbon with hydrogen means organic molecules: a potential for these does not know diamond.
    if has_hydrogen and solids == ["C"]:
        return None
    # Carbon last: the other elements of a carbide are metals or silicon.
    for name in sorted(solids, key=lambda name: name == "C"):
        reference = reference_states[atomic_numbers[name]] or {}
        symmetry = reference.get("symmetry")
        if symmetry in REPEATS:
            hexagonal = symmetry == "hcp"
            cell = bulk(name, cubic=not hexagonal, orthorhombic=hexagonal)
            crystal: Atoms = cell.repeat(REPEATS[symmetry])
            return crystal
    return None
