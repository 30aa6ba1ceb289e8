"""Structures of organic molecules for organic.py: conformers, dynamics, torsions, contacts, water.

Each function is given a random generator and returns structures with `info["config_type"]`. Needs
rdkit and tblite.
"""

import numpy as np
from ase import Atoms, units
from ase.data import covalent_radii
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from rdkit import Chem
from rdkit.Chem import AllChem, rdMolTransforms
from scipy.spatial.transform import Rotation
from tblite.ase import TBLite

TEMPERATURES = (300, 500, 750, 1000)  # K
WATER_TEMPERATURES = (200, 300, 500)  # K
TIMESTEP = 1.0  # fs
FIRST = 24  # steps before the first snapshot: potential energy is about 3/2 N k T then
BETWEEN = 12  # steps between snapshots, more than a period of a C-H bond
SNAPSHOTS = 4
LONGEST_BOND = 1.4  # sums of covalent radii: a longer bond is broken
TORSION = Chem.MolFromSmarts("[!$(*#*)&!D1]-&!@[!$(*#*)&!D1]")
RATTLE = 0.02  # A, of structures that a force field relaxed
OTHERS = 0.75  # sums of covalent radii: least distance of all pairs but the pressed one
SEPARATIONS = ((0.9, 1.6), (1.6, 2.5), (2.5, 4.5))  # A, nearest atoms of a dimer
CONTACT = (1.9, 2.6)  # A, the same where dynamics starts
PAIR_DISTANCES = np.r_[np.arange(0.45, 3.0, 0.1), np.arange(3.0, 7.1, 0.5)]  # A


def embedded(smiles, rng):
    """RDKit molecule with hydrogen atoms and one random conformer, relaxed by MMFF94; or None."""
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    if AllChem.EmbedMolecule(molecule, randomSeed=int(rng.integers(2**30))) != 0:
        return None
    if AllChem.MMFFHasAllMoleculeParams(molecule):
        AllChem.MMFFOptimizeMolecule(molecule, maxIters=500)
    return molecule


def as_atoms(molecule, kind):
    """Atoms of an RDKit molecule."""
    symbols = [atom.GetSymbol() for atom in molecule.GetAtoms()]
    atoms = Atoms(symbols, molecule.GetConformer().GetPositions())
    atoms.info["config_type"] = kind
    return atoms


def bonds_of(molecule):
    """(n_bonds, 2) indices of bonded atoms of an RDKit molecule."""
    pairs = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds()]
    return np.array(pairs, dtype=int).reshape(-1, 2)


def intact(atoms, bonds):
    """Whether no bond is broken."""
    lengths = np.linalg.norm(np.diff(atoms.positions[bonds], axis=1)[:, 0], axis=1)
    radii = covalent_radii[atoms.numbers][bonds].sum(axis=1)
    return bool((lengths < LONGEST_BOND * radii).all())


def dynamics(start, bonds, kind, temperature, snapshots, rng):
    """Snapshots of GFN2-xTB Langevin dynamics at a temperature in K, until a bond breaks.

    From a relaxed structure at twice the temperature: half of it becomes potential energy.
    """
    atoms = Atoms(start.numbers, start.positions)
    atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
    thermalize_momenta(atoms, temperature_K=2 * temperature, rng=rng)
    run = Langevin(
        atoms,
        TIMESTEP * units.fs,
        temperature_K=temperature,
        friction=0.02 / units.fs,
        rng=rng,
        fixcm=False,
    )
    frames = []
    for number in range(snapshots):
        run.run(BETWEEN if number else FIRST)
        if not intact(atoms, bonds):
            break
        frame = Atoms(atoms.numbers, atoms.positions - atoms.get_center_of_mass())
        frame.info.update(config_type=kind, temperature=int(temperature))
        frames.append(frame)
    return frames


def torsion(molecule, rng):
    """A molecule with one dihedral angle at random, the rest relaxed by MMFF94; a list, or empty.

    Rotors of methyl and hydroxyl groups count, too.
    """
    bonds = molecule.GetSubstructMatches(TORSION)
    if not bonds or not AllChem.MMFFHasAllMoleculeParams(molecule):
        return []
    turned = Chem.Mol(molecule)
    second, third = bonds[rng.integers(len(bonds))]
    first = _neighbour(turned, second, third, rng)
    fourth = _neighbour(turned, third, second, rng)
    angle = float(rng.uniform(-180, 180))
    quadruple = (first, second, third, fourth)
    rdMolTransforms.SetDihedralDeg(turned.GetConformer(), *quadruple, angle)
    field = AllChem.MMFFGetMoleculeForceField(turned, AllChem.MMFFGetMoleculeProperties(turned))
    field.Initialize()
    field.MMFFAddTorsionConstraint(*quadruple, False, angle, angle, 1000.0)
    field.Minimize(maxIts=500)
    atoms = as_atoms(turned, "torsion")
    atoms.positions += rng.normal(scale=RATTLE, size=atoms.positions.shape)
    return [atoms] if intact(atoms, bonds_of(molecule)) else []


def _neighbour(molecule, index, excluded, rng):
    """Index of a random atom bonded to an atom, but for one."""
    neighbours = [atom.GetIdx() for atom in molecule.GetAtomWithIdx(index).GetNeighbors()]
    return int(rng.choice([other for other in neighbours if other != excluded]))


def pressed(start, bonds, rng):
    """A molecule with two atoms moved along their distance: a list, empty if others are too close.

    Bonds become 0.65 to 1.35 times as long; atoms without a bond are pressed together.
    """
    atoms = start.copy()
    sums = covalent_radii[atoms.numbers][:, None] + covalent_radii[atoms.numbers]
    distances = atoms.get_all_distances()
    near = np.argwhere(np.triu((distances > 0) & (distances < 3.0)))
    if not len(near):
        return []
    first, second = near[rng.integers(len(near))]
    bonded = (np.sort(bonds, axis=1) == (first, second)).all(axis=1).any()
    factor = rng.uniform(0.65, 1.35) if bonded else rng.uniform(0.7, 1.5)
    length = distances[first, second]
    target = factor * (length if bonded else min(sums[first, second], length))
    shift = (atoms.positions[second] - atoms.positions[first]) * (target / length - 1) / 2
    atoms.positions[second] += shift
    atoms.positions[first] -= shift
    relative = atoms.get_all_distances() / sums + 2 * np.eye(len(atoms))
    relative[first, second] = relative[second, first] = 2
    atoms.info["config_type"] = "pressed"
    return [atoms] if relative.min() > OTHERS else []


def placed(first, second, nearest, rng):
    """Two molecules in random orientations, their nearest atoms at a distance in A."""
    still = first.positions - first.positions.mean(axis=0)
    moving = second.positions - second.positions.mean(axis=0)
    still, moving = (Rotation.random(rng=rng).apply(points) for points in (still, moving))
    # along x from far away until the nearest atoms are at the distance
    low, high = 0.0, np.ptp(still, axis=0)[0] + np.ptp(moving, axis=0)[0] + nearest
    for _ in range(40):
        middle = (low + high) / 2
        gap = np.linalg.norm(still[:, None] - moving - [middle, 0, 0], axis=2).min()
        low, high = (low, middle) if gap > nearest else (middle, high)
    positions = np.r_[still, moving + [high, 0, 0]]
    return Atoms(np.r_[first.numbers, second.numbers], positions)


def dimers(first, second, rng):
    """Two molecules (RDKit) at three separations, and two snapshots of their dynamics."""
    one, other = (as_atoms(molecule, "dimer") for molecule in (first, second))
    frames = []
    for limits in SEPARATIONS:
        frame = placed(one, other, rng.uniform(*limits), rng)
        frame.info["config_type"] = "dimer"
        frames.append(frame)
    bonds = np.r_[bonds_of(first), bonds_of(second) + len(one)]
    start = placed(one, other, rng.uniform(*CONTACT), rng)
    temperature = rng.choice(TEMPERATURES[:2])
    return frames + dynamics(start, bonds, "dimer_dynamics", temperature, 2, rng)


def water_cluster(size, rng, nearest=2.7):
    """A random cluster of water molecules in a sphere, oxygen atoms `nearest` A apart or more."""
    shape = np.array([[0.0, 0.0, 0.0], [0.757, 0.586, 0.0], [-0.757, 0.586, 0.0]])
    radius = 1.75 * size ** (1 / 3)
    centres = []
    while len(centres) < size:
        point = rng.uniform(-radius, radius, 3)
        apart = [np.linalg.norm(point - other) for other in centres]
        if np.linalg.norm(point) < radius and min(apart, default=np.inf) > nearest:
            centres.append(point)
        radius += 1e-3
    positions = [Rotation.random(rng=rng).apply(shape) + centre for centre in centres]
    return Atoms("OHH" * size, np.concatenate(positions))


def water(size, rng):
    """Snapshots of the dynamics of a cluster of water molecules."""
    bonds = np.concatenate([3 * k + np.array([[0, 1], [0, 2]]) for k in range(size)])
    temperature = rng.choice(WATER_TEMPERATURES)
    start = water_cluster(size, rng)
    return dynamics(start, bonds, f"water{size}", temperature, SNAPSHOTS, rng)


def pair(symbols):
    """Two atoms at distances from 0.45 to 7 A."""
    frames = []
    for distance in PAIR_DISTANCES:
        frame = Atoms(list(symbols), [[0, 0, 0], [0, 0, distance]])
        frame.info["config_type"] = "pair"
        frames.append(frame)
    return frames
