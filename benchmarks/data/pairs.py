"""Pair curves from 0.5 A to the end of the interaction, and structures with a close pair.

Training data for the repulsion at short distances: PBE pair curves (pyscf, all electrons,
unrestricted), continued below the shortest distance by the ZBL repulsion of `zbl = true`, shifted
so that the curve is continuous. The potential must be repulsive at these distances, not exact. Used
by silicon_pairs.py and ethanol_pairs.py. Needs pyscf.
"""

from pathlib import Path

import numpy as np
import torch
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_numbers
from scipy.interpolate import CubicSpline

from ase_pet.layers.zbl import RADII, zbl

STEP = 1e-4  # A, of differences
FARTHEST_TRIPLET = 3.7  # A: beyond it the atoms have opposite spins
UNPAIRED = {"H": 1, "C": 2, "O": 2, "Si": 2}  # electrons of one atom


def energy(symbols, distance, unpaired, basis, density=None):
    """Energy (eV) and density matrix of one or two atoms at a distance in A.

    The energy is infinite if the calculation does not converge.
    """
    from pyscf import dft

    field = dft.UKS(_molecule(symbols, distance, basis, unpaired), xc="pbe")
    field.grids.level, field.max_cycle, field.conv_tol = 3, 30, 1e-7
    total = field.kernel() if density is None else field.kernel(density)
    if not field.converged:
        density, field = field.make_rdm1(), field.newton()
        total = field.kernel(density)
    return (total * units.Hartree if field.converged else np.inf), field.make_rdm1()


def _molecule(symbols, distance, basis, unpaired):
    from pyscf import gto

    return gto.M(
        atom=[(symbol, (0, 0, k * distance)) for k, symbol in enumerate(symbols)],
        basis=basis,
        spin=unpaired,
        verbose=0,
    )


def opposite_spins(symbols, distance, basis):
    """Density matrix of two atoms with opposite spins.

    It is the initial guess for the state with the fewest unpaired electrons.
    """
    from pyscf import dft

    molecule = _molecule(symbols, distance, basis, abs(UNPAIRED[symbols[0]] - UNPAIRED[symbols[1]]))
    up, down = np.array(dft.UKS(molecule, xc="pbe").get_init_guess(molecule, "atom"))
    half = molecule.aoslice_by_atom()[0, 3]
    up[half:, half:] *= 0.85
    down[:half, :half] *= 0.85
    return np.array([up, down])


def curve(symbols, grid, basis, atom, path=None):
    """Energies in eV on a grid in A, rising, of two atoms, less those of the atoms alone (`atom`,
    eV by symbol).

    The lower of two states: atoms of opposite spins, and parallel ones or as many unpaired
    electrons as bind. path: file of the result, which is read if it exists.
    """
    if path is not None and Path(path).exists():
        return np.load(path)
    few = abs(UNPAIRED[symbols[0]] - UNPAIRED[symbols[1]])
    apart, energies, density = sum(atom[symbol] for symbol in symbols), [], {}
    for distance in grid[::-1]:
        values = {}
        for unpaired in (few, few + 2) if distance < FARTHEST_TRIPLET else (few,):
            guess = opposite_spins(symbols, distance, basis) if unpaired == few else None
            tried = [
                energy(symbols, distance, unpaired, basis, start)
                for start in (guess, density.get(unpaired))[: 1 + bool(density)]
            ]
            values[unpaired], density[unpaired] = min(tried, key=lambda pair: pair[0])
        energies.append(min(values.values()) - apart)
        print(f"{''.join(symbols)} {distance:.2f} A  {energies[-1]:9.4f} eV", flush=True)
    if path is not None:
        np.save(path, energies[::-1])
    return np.array(energies[::-1])


class Pair:
    """Energy in eV and force in eV/A, positive where it repels, of two atoms at distances in A;
    energies on a grid.

    interpolate: class of scipy.interpolate; PchipInterpolator adds no minima to those of the grid.
    """

    def __init__(self, symbols, grid, energies, interpolate=CubicSpline):
        known = np.isfinite(energies)
        self.spline, self.nearest = interpolate(grid[known], energies[known]), grid[known][0]
        self.z = [atomic_numbers[symbol] for symbol in symbols]

    def energy(self, distance):
        """(n,) of one or n distances."""
        distance = np.atleast_1d(distance)
        short_range = (
            self.spline(self.nearest)
            + self.repulsion(distance)
            - self.repulsion(np.array([self.nearest]))
        )
        return np.where(distance < self.nearest, short_range, self.spline(distance))

    def force(self, distance):
        """(n,) of one or n distances."""
        return -(self.energy(distance + STEP) - self.energy(distance - STEP)) / (2 * STEP)

    def repulsion(self, distance):
        """(n,) of n distances: what `zbl = true` adds to a model."""
        distance = torch.as_tensor(distance, dtype=torch.float64)
        z, radii = (
            [torch.full(distance.shape, float(value), dtype=torch.float64) for value in values]
            for values in (self.z, [RADII[z] for z in self.z])
        )
        return zbl(*z, distance, *radii).numpy()


def labelled(atoms, energy, forces, kind, number):
    """The structure with its labels in eV and eV/A, to train on."""
    atoms.calc = SinglePointCalculator(atoms, energy=float(energy), forces=forces)
    atoms.info = {"config_id": number, "config_type": kind, "split": "train"}
    return atoms


def alone(symbols, pair, distances, apart, first):
    """Two atoms at distances in A; apart: energy in eV of both far away; first: config_id."""
    for number, distance in enumerate(distances, first):
        pull = pair.force(distance)[0]
        yield labelled(
            Atoms(symbols, [[0, 0, 0], [0, 0, distance]]),
            apart + pair.energy(distance)[0],
            np.array([[0, 0, -pull], [0, 0, pull]]),
            "".join(symbols),
            number,
        )


def pressed(atoms, pair, rng, count, nearest=0.5):
    """(structure, energy, forces) of `count` copies with a shortened pair.

    The atoms `info["pair"]` are moved closer, to `nearest` (A) at least.
    Energy and pair force change by those of an isolated pair; all other forces are kept.
    """
    ends = [int(k) for k in atoms.info["pair"]]
    vector = atoms.get_distance(*ends, mic=True, vector=True)
    length = np.linalg.norm(vector)
    between = np.outer([-1, 1], vector / length)
    for _ in range(count):
        distance = rng.uniform(min(nearest, length), length)
        nearer, forces, moved = (
            atoms.copy(),
            atoms.get_forces().copy(),
            between * (distance - length) / 2,
        )
        nearer.positions[ends] += moved
        others = forces[ends] - between * pair.force(length)
        forces[ends] = others + between * pair.force(distance)
        change = (pair.energy(distance) - pair.energy(length))[0] - (others * moved).sum()
        yield nearer, atoms.get_potential_energy() + change, forces
