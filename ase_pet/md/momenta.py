"""Initial momenta, and the number of degrees of freedom that share the kinetic energy."""

from __future__ import annotations

import numpy as np
from ase import Atoms, units
from ase.md.velocitydistribution import thermalize_momenta

# A molecule is linear if its smallest moment of inertia is below this fraction of the largest.
LINEAR_TOLERANCE = 1e-9


def thermalise(atoms: Atoms, temperature: float, rng: np.random.Generator) -> None:
    """Draw momenta without net momentum and, for molecules, without rotation.

    The result is the Maxwell-Boltzmann distribution of the remaining degrees of freedom: the mean
    kinetic energy is kT / 2 for each of them (`degrees_of_freedom`). With constraints the momenta
    are those that the constraints allow, and nothing is removed.

    Parameters
    ----------
    atoms:
        Structure whose momenta are replaced.
    temperature:
        Temperature in K.
    rng:
        Random number generator of the draw.
    """
    thermalize_momenta(atoms, temperature, rng=rng)
    if atoms.constraints:
        return
    momenta = atoms.get_momenta()  # (n, 3)
    masses = atoms.get_masses()[:, None]  # (n, 1)
    total = momenta.sum(axis=0)  # (3,)
    momenta -= masses * total / masses.sum()
    if not atoms.pbc.any():
        # L = I omega; the pseudo-inverse omits the axis of a linear molecule
        centre = atoms.get_center_of_mass()
        arms = atoms.positions - centre
        angular_momentum = np.cross(arms, momenta).sum(axis=0)
        inertia = _inertia(arms, masses)
        inverse = np.linalg.pinv(inertia, rcond=LINEAR_TOLERANCE, hermitian=True)
        angular_velocity = inverse @ angular_momentum
        velocities = np.cross(angular_velocity, arms)
        momenta -= masses * velocities
    atoms.set_momenta(momenta)


def degrees_of_freedom(atoms: Atoms, thermostat: str | None = None) -> int:
    """Number of degrees of freedom with a mean kinetic energy of kT / 2 each.

    3n, minus those removed by constraints, minus those of the net momentum and, for a molecule, of
    the net rotation, which the dynamics conserves. Langevin dynamics does not conserve them, so
    they count there.

    Parameters
    ----------
    atoms:
        Structure of n atoms.
    thermostat:
        Name of the thermostat, such as "langevin"; None for NVE.
    """
    count = int(atoms.get_number_of_degrees_of_freedom())
    if atoms.constraints or thermostat == "langevin":
        return count
    if atoms.pbc.any() or len(atoms) == 1:
        return max(count - 3, 1)
    centre = atoms.get_center_of_mass()
    arms = atoms.positions - centre
    masses = atoms.get_masses()[:, None]  # (n, 1)
    inertia = _inertia(arms, masses)
    # a linear molecule has two rotations: the moment about its axis is zero
    tolerance = LINEAR_TOLERANCE * np.abs(inertia).max()
    rotations = int(np.linalg.matrix_rank(inertia, tol=tolerance, hermitian=True))
    remaining = count - 3 - rotations
    return max(remaining, 1)


def temperature(atoms: Atoms, count: int) -> float:
    """Temperature in K from the kinetic energy of `atoms` with `count` degrees of freedom."""
    return float(2 * atoms.get_kinetic_energy() / (count * units.kB))


def _inertia(arms: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """(3, 3) tensor of inertia in u A^2, from positions (n, 3) and masses (n, 1)."""
    trace = (masses * arms**2).sum()
    return np.asarray(np.eye(3) * trace - (masses * arms).T @ arms)
