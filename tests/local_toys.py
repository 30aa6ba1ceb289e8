"""A small local model that is far from invariant, and structures and paths to evaluate it on."""

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, molecule

import toys
from ase_pet import graph
from ase_pet.evaluation import Evaluation

SPECIES = (1, 6, 7, 8, 14)
# factors on energies, so that they are about 1 eV per atom
SCALES = {1: 0.009, 6: 0.011, 7: 0.01, 8: 0.012, 14: 0.01}


def local_pet(dtype=torch.float64, **changes):
    """PET with one message-passing layer; rotations of a molecule change energies by 0.1 eV."""
    model = toys.tiny_pet(
        "local", dtype, **{"cutoff_function": "bump", "species": SPECIES, **changes}
    )
    model.scales = {"energy": SCALES}
    # elements that other toys do not have, at no energy
    composition = {**dict.fromkeys(SPECIES, 0.0), **toys.COMPOSITION}
    model.compositions = {head: composition for head in model.settings.heads}
    return model.requires_grad_(False)


def co2(angle):
    """CO2 bent to the angle in degrees; no cell."""
    half = np.deg2rad(angle) / 2
    arms = 1.16 * np.array(
        [[0, 0, 0], [np.sin(half), np.cos(half), 0], [-np.sin(half), np.cos(half), 0]]
    )
    return Atoms("COO", arms)


def chiral(hand=1):
    """A methane with four different neighbours, or its mirror image for hand = -1."""
    ends = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 3**0.5
    positions = np.concatenate([np.zeros((1, 3)), ends * np.array([[1.1], [1.4], [1.5], [1.8]])])
    return Atoms("CHNOSi", positions * [1, 1, hand])


def water():
    """Three water molecules; no cell."""
    one = molecule("H2O")
    atoms = one.copy()
    for angle, shift in ((70, [2.7, 0.4, 0.3]), (200, [0.2, 2.6, 0.9])):
        other = one.copy()
        other.rotate(angle, (1, 2, 3))
        other.positions += shift
        atoms += other
    return atoms


def close_packed():
    """2 atoms of displaced fcc, each with 60 pairs of nearest neighbours that are not collinear."""
    atoms = bulk("Cu", a=3.6) * (1, 1, 2)
    atoms.numbers[:] = 14
    atoms.rattle(0.05, seed=5)
    return atoms


STRUCTURES = {
    "silicon": toys.silicon,
    "ethanol": toys.ethanol,
    "slab": toys.slab,
    "water": water,
    "fcc": close_packed,
    "benzene": lambda: molecule("C6H6"),
    "chiral": chiral,
    "N2": lambda: molecule("N2"),
    "atom": lambda: Atoms("C"),
    **{f"CO2 {angle}": lambda angle=angle: co2(angle) for angle in (180, 175, 170, 165, 160, 155)},
}


def batch(structures, cutoff, dtype=torch.float64):
    """Graph of ASE structures."""
    return graph.build([graph.from_atoms(atoms) for atoms in structures], cutoff, dtype=dtype)


def evaluate(model, *structures, dtype=torch.float64):
    """Evaluation of ASE structures."""
    return Evaluation(model, batch(structures, model.cutoff, dtype))


def rotated(atoms, matrix):
    """The structure after the rotation (3, 3)."""
    atoms = atoms.copy()
    atoms.set_cell(atoms.cell.array @ matrix.T)
    atoms.positions = atoms.positions @ matrix.T
    return atoms


def line(atoms, moving, start, stop):
    """Function of t in [0, 1], and the vector from start to stop.

    The function returns the structure with one atom at start + t (stop - start).
    """
    start = np.array(start, dtype=float)
    stop = np.array(stop, dtype=float)

    def at(t):
        moved = atoms.copy()
        moved.positions[moving] = start + t * (stop - start)
        return moved

    return at, stop - start


def around(atoms, moving, width):
    """Line of an atom through its position, by width to both sides."""
    middle = atoms.positions[moving]
    return line(atoms, moving, middle - width, middle + width)


WATER = Atoms("OHH", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
PATHS = {  # event on the path: structure, atom that moves, where from and where to
    "a neighbour crosses the cutoff": line(WATER, 2, [-0.7, 2.9, 0], [-0.9, 4.0, 0.1]),
    "an atom joins a dimer": line(
        Atoms("NNH", [[0, 0, 0], [1.1, 0, 0], [0, 0, 0]]), 2, [0.3, 4.2, 0], [0.2, 2.4, 0]
    ),
    "an atom joins at its end": line(
        Atoms("NNH", [[0, 0, 0], [1.1, 0, 0], [0, 0, 0]]), 2, [5.3, 0, 0], [2.0, 0, 0]
    ),
    "a dimer comes apart": line(Atoms("NN", np.zeros((2, 3))), 1, [2.6, 0, 0], [4.2, 0.3, 0]),
    "a line bends": line(co2(180), 2, [-1.16, -0.7, 0], [-1.16, 0.7, 0]),
    "a line bends, an atom watches": line(
        Atoms("COOH", [[0, 0, 0], [1.16, 0, 0], [0, 0, 0], [0.4, 1.8, 0.5]]),
        2,
        [-1.16, -0.7, 0],
        [-1.16, 0.7, 0],
    ),
    "third atoms come and go": around(molecule("CH3OH"), 4, np.array([0.3, -0.2, 0.25])),
    "a crystal": around(toys.sheared(), 1, np.array([0.2, 0.1, -0.2])),
}


def scan(model, points, at):
    """Evaluation of the structures at points t."""
    return evaluate(model, *(at(t) for t in points))


def mover(at):
    """Index of the atom that moves."""
    return np.abs(at(1.0).positions - at(0.0).positions).sum(1).argmax()


def work_is_missing(model, path, pieces):
    """Whether the change of the energy on each piece is not the work of the force, (n,) bool.

    The tolerance is 1e-10 eV, on pieces (n, 2) of a path with 6 Gauss-Legendre points in each.
    """
    at, way = path
    nodes, weights = np.polynomial.legendre.leggauss(6)
    middle, half = pieces.mean(1, keepdims=True), np.diff(pieces) / 2
    energy = scan(model, pieces.flatten(), at).energy.numpy().reshape(-1, 2)
    forces = (
        scan(model, (middle + half * nodes).flatten(), at)
        .forces.numpy()
        .reshape(len(pieces), 6, -1, 3)
    )
    work = forces[:, :, mover(at)] @ way @ weights * half[:, 0]
    return np.abs(np.diff(energy)[:, 0] + work) > 1e-10


def pieces_that_fail(test, model, path, most=1000, shortest=1e-6):
    """Number of pieces of a path that fail a test at any length, as one with a jump would.

    Failing pieces are divided by four until none fails, there are too many, or they are too short.
    """
    ends = np.linspace(0, 1, 17)
    pieces = np.stack([ends[:-1], ends[1:]], 1)
    while 0 < len(pieces) < most and np.ptp(pieces[0]) > shortest:
        ends = np.linspace(*pieces[test(model, path, pieces)].T, 5, axis=1)
        pieces = np.stack([ends[:, :-1], ends[:, 1:]], -1).reshape(-1, 2)
    return len(pieces)
