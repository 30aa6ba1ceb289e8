#!/usr/bin/env python3
"""Two silicon atoms alone, from 0.5 to 6 A, and crystals in which two atoms come as near: what keeps silicon from fusing.

usage: silicon_pairs.py OUT.extxyz HELD.extxyz --vacuum VACUUM.extxyz --close CLOSE.extxyz --curve CURVE.npy
The first two files are those of silicon_pbe.py (--vacuum, --close); the third is written, by pyscf, where it is not there:
ten minutes. What OUT holds then (all of it to train on):
Si2: the energy of two atoms by all-electron PBE (pyscf, unrestricted: two unpaired electrons near, opposite spins of the atoms far away, the lower of the two)
down to NEAREST, and below by the Ziegler-Biersack-Littmark repulsion, shifted to meet it there; plus twice the energy of the
atom of the plane-wave calculations, so that it fits to the crystals.
Si1: the atom.
Si8: the cells of CLOSE as they are, and each a few times more with its short bond pressed further, down to 0.5 A: energy and
force along the bond change as those of two atoms alone do, the other forces stay; no stress. Pseudopotentials do not hold
there, and a potential need not be exact where it must only repel. HELD: the same of the cells that are held back for tests.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from scipy.interpolate import CubicSpline

from ase_pet.layers.zbl import RADII, zbl

HARTREE = 27.211386245988  # eV
BASIS = "def2-tzvp"
NEAREST = 1.1  # A, of the all-electron calculations
GRID = np.r_[np.arange(NEAREST, 2.95, 0.15), np.arange(3.0, 6.1, 0.3)]  # A
SHORT = np.r_[np.arange(0.5, NEAREST, 0.05), np.arange(NEAREST, 3.0, 0.05), np.arange(3.0, 5.6, 0.1)]  # A, of the structures
AGAIN = 3  # further structures of each cell
SINGLET, TRIPLET = 2.4, 3.7  # A: beyond the first opposite spins are tried, below the second parallel ones
STEP = 1e-4  # A, of differences
FIRST = 600000  # config_id
SEED = 20261127


def energy(distance, unpaired, density=None):
    """Energy in eV of two atoms, or of one (distance None), and the density matrix for the next distance."""
    from pyscf import dft, gto
    positions = "Si 0 0 0" if distance is None else f"Si 0 0 0; Si 0 0 {distance}"
    molecule = gto.M(atom=positions, basis=BASIS, spin=unpaired, verbose=0)
    field = dft.UKS(molecule, xc="pbe")
    field.grids.level, field.max_cycle, field.conv_tol = 3, 60, 1e-7
    found = field.kernel(density) if density is not None else field.kernel()
    return (found * HARTREE if field.converged else np.inf), field.make_rdm1()


def spin_polarised(distance):
    """Density matrix of two atoms with opposite spins: the guess for zero unpaired electrons."""
    from pyscf import dft, gto
    molecule = gto.M(atom=f"Si 0 0 0; Si 0 0 {distance}", basis=BASIS, verbose=0)
    up, down = np.array(dft.UKS(molecule, xc="pbe").get_init_guess(molecule, "atom"))
    half = molecule.aoslice_by_atom()[0, 3]
    up[half:, half:] *= 0.85
    down[:half, :half] *= 0.85
    return np.array([up, down])


def curve():
    """Energies in eV of two atoms less twice the atom's, on GRID: the lowest of the spins, from far to near."""
    atom, _ = energy(None, 2)
    found = []
    density = {}
    for distance in GRID[::-1]:
        values = {}
        for unpaired in [0] * int(distance > SINGLET) + [2] * int(distance < TRIPLET):
            fresh = spin_polarised(distance) if unpaired == 0 else None
            tried = [energy(distance, unpaired, guess) for guess in (fresh, density.get(unpaired))[:1 + bool(density)]]
            values[unpaired], density[unpaired] = min(tried, key=lambda pair: pair[0])
        found.append(min(values.values()) - 2 * atom)
        print(f"{distance:.2f} A  {found[-1]:9.4f} eV  ", {key: round(value - 2 * atom, 4) for key, value in values.items()},
              flush=True)
    return np.array(found[::-1])


def repulsion(distance):
    """The repulsion of `zbl = true` in eV at distances in A."""
    distances = torch.as_tensor(distance, dtype=torch.float64)
    z = torch.full(distances.shape, 14)
    radii = torch.full_like(distances, RADII[14])
    return zbl(z, z, distances, radii, radii).numpy()


class Pair:
    """Energy in eV and force in eV/A, positive where it repels, of two atoms at distances in A."""

    def __init__(self, energies):
        self.spline = CubicSpline(GRID, energies)

    def energy(self, distance):
        distance = np.atleast_1d(distance)
        near = self.spline(NEAREST) + repulsion(distance) - repulsion(np.array([NEAREST]))
        return np.where(distance < NEAREST, near, self.spline(distance))

    def force(self, distance):
        return -(self.energy(distance + STEP) - self.energy(distance - STEP)) / (2 * STEP)


def labelled(atoms, energy, forces, kind, number):
    """The structure with its labels."""
    atoms.calc = SinglePointCalculator(atoms, energy=float(energy), forces=forces)
    atoms.info = {"config_id": number, "config_type": kind, "split": "train"}
    return atoms


def alone(pair, atom):
    """The atom and pairs of atoms."""
    yield labelled(Atoms("Si"), atom, np.zeros((1, 3)), "Si1", FIRST)
    for number, distance in enumerate(SHORT, 1):
        pull = pair.force(distance)[0]
        yield labelled(Atoms("Si2", [[0, 0, 0], [0, 0, distance]]), 2 * atom + pair.energy(distance)[0],
                       np.array([[0, 0, -pull], [0, 0, pull]]), "Si2", FIRST + number)


def pressed(cells, pair):
    """Cells with a short bond, pressed further."""
    rng = np.random.default_rng(SEED)
    for atoms in cells:
        ends = [int(k) for k in atoms.info["pair"]]
        vector = atoms.get_distance(*ends, mic=True, vector=True)
        length = np.linalg.norm(vector)
        axis = vector / length
        for _ in range(AGAIN):
            distance = rng.uniform(0.5, length)
            nearer, forces = atoms.copy(), atoms.get_forces().copy()
            nearer.positions[ends] += np.outer([0.5, -0.5], axis) * (length - distance)
            push = (pair.force(distance) - pair.force(length))[0]
            forces[ends] += np.outer([-1, 1], axis) * push
            change = (pair.energy(distance) - pair.energy(length))[0]
            yield nearer, atoms.get_potential_energy() + change, forces


def main():
    """Write what is to be learned."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", help="what is to be learned")
    parser.add_argument("held", help="what is held back: cells of the split test, and these pressed further")
    parser.add_argument("--vacuum", required=True)
    parser.add_argument("--close", required=True)
    parser.add_argument("--curve", type=Path, required=True)
    arguments = parser.parse_args()
    boxes, cells = read(arguments.vacuum, ":"), read(arguments.close, ":")
    atom = next(box.get_potential_energy() for box in boxes if len(box) == 1)
    if not arguments.curve.exists():
        np.save(arguments.curve, curve())
    pair = Pair(np.load(arguments.curve))
    for box in boxes:
        if len(box) == 2:
            distance = box.get_distance(0, 1)
            print(f"plane waves, {distance:.1f} A: {box.get_potential_energy() - 2 * atom:.3f} eV, here "
                  f"{pair.energy(distance)[0]:.3f} eV")
    structures = list(alone(pair, atom))
    held = [cell for cell in cells if cell.info["split"] == "test"]
    learned = [cell for cell in cells if cell not in held]
    for chosen, name in ((learned, arguments.out), (held, arguments.held)):
        first = FIRST + len(structures) + (1000 if chosen is held else 0)
        nearer = [labelled(*found, "Si8_pressed", first + k) for k, found in enumerate(pressed(chosen, pair))]
        for cell in chosen:
            cell.info = {key: cell.info[key] for key in ("config_id", "config_type")} | {"split": "train"}
        write(name, [*chosen, *nearer, *(structures if chosen is learned else [])], format="extxyz")


if __name__ == "__main__":
    main()
