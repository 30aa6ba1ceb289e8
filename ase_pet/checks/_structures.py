"""Structures to check on, made from the species of a calculator."""

from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule
from ase.data import atomic_numbers, chemical_symbols, covalent_radii, reference_states

MOLECULES = (
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
NOT_CRYSTALS = ("H", "N", "O", "F", "Cl", "Br", "I", "S", "P", "Se")
REPEATS = {
    "fcc": (2, 1, 1),
    "bcc": (2, 2, 1),
    "hcp": (2, 1, 1),
    "diamond": (1, 1, 1),
    "sc": (2, 2, 2),
}
ATOMS_OF_A_CLUSTER = 8
DISPLACEMENT = 0.05  # A, so that no force is zero by symmetry


def defaults(species):
    """{name: Atoms} of a molecule and a crystal that the species allow; about eight atoms each.

    species: atomic numbers or symbols. Raises ValueError where nothing can be built.
    """
    symbols = [name if isinstance(name, str) else chemical_symbols[name] for name in species]
    found = {}
    name = _molecule(symbols)
    if name:
        found[name] = molecule(name)
    crystal = _crystal(symbols)
    if crystal is not None:
        found[f"{crystal.get_chemical_formula(empirical=True)} crystal"] = crystal
    if not found:
        raise ValueError(
            f"no structure is known for the species {' '.join(symbols)}: give one with `structures`"
            " (`--structure FILE`)"
        )
    return found


def displaced(atoms, seed):
    """A copy with each atom moved by 0.05 A rms, without calculator and constraints.

    Two cells of a crystal of one atom.
    """
    atoms = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, info=atoms.info)
    if len(atoms) == 1:  # no force acts on the atom of such a crystal
        atoms = atoms.repeat([2 if periodic else 1 for periodic in atoms.pbc])
    atoms.positions += DISPLACEMENT * np.random.default_rng([seed, len(atoms)]).normal(
        size=(len(atoms), 3)
    )
    return atoms


def is_periodic(atoms):
    """Whether the structure repeats in three directions."""
    return bool(atoms.pbc.all()) and atoms.cell.rank == 3


def is_free(atoms):
    """Whether the structure repeats in no direction."""
    return not atoms.pbc.any()


def cluster(atoms):
    """The eight atoms nearest to an atom of a periodic structure, without cell."""
    repeated = atoms.repeat([3 if periodic else 1 for periodic in atoms.pbc])
    middle = repeated.positions.mean(axis=0)
    centre = repeated.positions[np.linalg.norm(repeated.positions - middle, axis=1).argmin()]
    order = np.linalg.norm(repeated.positions - centre, axis=1).argsort(kind="stable")[
        :ATOMS_OF_A_CLUSTER
    ]
    return Atoms(repeated.numbers[order], repeated.positions[order] - centre, info=atoms.info)


def pairs(numbers):
    """{name: Atoms} of two atoms at the sum of their covalent radii, for each pair of elements."""
    found = {}
    for first, second in combinations_with_replacement(sorted(numbers), 2):
        distance = covalent_radii[first] + covalent_radii[second]
        name = f"{chemical_symbols[first]}-{chemical_symbols[second]}"
        found[name] = Atoms([first, second], [[0, 0, 0], [0, 0, distance]])
    return found


def _molecule(symbols):
    """Name of the first molecule of those that hold most of the species.

    None of a single species but H, N, O, F.
    """
    usable = [name for name in MOLECULES if set(molecule(name).symbols) <= set(symbols)]
    return max(usable, key=lambda name: len(set(molecule(name).symbols)), default=None)


def _crystal(symbols):
    solid = [name for name in symbols if name not in NOT_CRYSTALS]
    if len(symbols) == 2 and len(solid) == 1 and "H" not in symbols and "C" not in symbols:
        radii = [covalent_radii[atomic_numbers[name]] for name in symbols]
        return bulk(
            "".join(sorted(symbols, key=lambda name: name not in solid)),
            "rocksalt",
            2 * sum(radii),
            cubic=True,
        )
    if (
        "H" in symbols and "C" in solid and len(solid) == 1
    ):  # organic molecules; diamond is another matter
        return None
    for name in sorted(solid, key=lambda name: name == "C"):
        symmetry = (reference_states[atomic_numbers[name]] or {}).get("symmetry")
        if symmetry in REPEATS:
            shape = {"orthorhombic": True} if symmetry == "hcp" else {"cubic": True}
            return bulk(name, **shape).repeat(REPEATS[symmetry])
    return None
