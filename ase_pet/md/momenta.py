"""Initial momenta, and the number of degrees of freedom that share the kinetic energy."""

from __future__ import annotations

import numpy as np
from ase import Atoms, units
from ase.md.velocitydistribution import thermalize_momenta

from .. import constraints
from ..constraints import motion

# A molecule is linear if its smallest moment of inertia is below this fraction of the largest.
LINEAR_TOLERANCE = 1e-9


def thermalise(atoms: Atoms, temperature: float, rng: np.random.Generator) -> None:
    """Draw momenta without net momentum and, for molecules, without rotation.

    The result is the Maxwell-Boltzmann distribution of the remaining degrees of freedom: the mean
    kinetic energy is kT / 2 for each of them (`degrees_of_freedom`). With constraints the momenta
    are those that the constraints allow, without those that dynamics with them conserves.

    Parameters
    ----------
    atoms:
        Structure whose momenta are replaced.
    temperature:
        Temperature in K.
    rng:
        Random number generator of the draw.
    """
    if atoms.constraints:
        free = constraints.without(atoms)
        thermalize_momenta(free, temperature, rng=rng)
        allowed = motion.project(atoms, free.get_momenta())
        atoms.set_momenta(allowed, apply_constraint=False)
        remove_conserved(atoms)
        return
    thermalize_momenta(atoms, temperature, rng=rng)
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


def remove_conserved(atoms: Atoms) -> None:
    """Remove the momenta that dynamics conserves: of the centre of mass and, if free, of rotation.

    Parameters
    ----------
    atoms:
        Structure whose momenta are changed.
    """
    fields = motion.rigid_motions(atoms)  # (k, n, 3)
    momenta = atoms.get_momenta()
    masses = atoms.get_masses()
    weighted = masses[:, None] * fields
    # sum over motions l of <k|m|l> v_l = <k|p>
    inertia = np.einsum("kni,lni->kl", fields, weighted)
    conserved = np.einsum("kni,ni->k", fields, momenta)
    velocities = np.linalg.solve(inertia, conserved)
    rigid = np.einsum("k,kni->ni", velocities, weighted)
    momenta -= rigid
    atoms.set_momenta(momenta, apply_constraint=False)


def degrees_of_freedom(atoms: Atoms, thermostat: str | None = None) -> int:
    """Number of degrees of freedom with a mean kinetic energy of kT / 2 each.

    3n, minus those removed by constraints (overlapping ones count once), minus those of the net
    momentum and, for a molecule, of the net rotation, if the dynamics conserves them. Langevin
    dynamics does not conserve them, so they count there.

    Parameters
    ----------
    atoms:
        Structure of n atoms.
    thermostat:
        Name of the thermostat, such as "langevin"; None for NVE.

    Raises
    ------
    ValueError
        The number cannot be determined for the constraints of the structure.
    """
    count = motion.count(atoms)
    if thermostat == "langevin" or count == 0:
        return count
    if atoms.constraints:
        return count - len(motion.rigid_motions(atoms))
    if atoms.pbc.any() or len(atoms) == 1:
        return count - 3
    centre = atoms.get_center_of_mass()
    arms = atoms.positions - centre
    masses = atoms.get_masses()
    inertia = _inertia(arms, masses[:, None])
    # a linear molecule has two rotations: the moment about its axis is zero
    largest = np.abs(inertia).max()
    tolerance = LINEAR_TOLERANCE * largest
    rotations = np.linalg.matrix_rank(inertia, tol=tolerance, hermitian=True)
    return count - 3 - int(rotations)


def temperature(atoms: Atoms, count: int) -> float:
    """Temperature in K from the kinetic energy of `atoms` with `count` degrees of freedom.

    A single atom has no degrees of freedom beside its net momentum; one is assumed for it.
    """
    return float(2 * atoms.get_kinetic_energy() / (max(count, 1) * units.kB))


def _inertia(arms: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """(3, 3) tensor of inertia in u A^2, from positions (n, 3) and masses (n, 1)."""
    trace = (masses * arms**2).sum()
    return np.asarray(np.eye(3) * trace - (masses * arms).T @ arms)
