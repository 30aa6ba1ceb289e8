"""Momenta at the start, and how many degrees of freedom share the kinetic energy."""

import numpy as np
from ase import units
from ase.md.velocitydistribution import thermalize_momenta

FLAT = 1e-9  # of the largest moment of inertia: below it an axis is that of a linear molecule


def thermalise(atoms, temperature, rng):
    """Draw momenta of a temperature (K) by the generator `rng`, without net momentum and, for a
    molecule, rotation.

    What is left is the Maxwell-Boltzmann distribution on the remaining degrees of freedom: the mean
    of the kinetic energy is kT / 2 for each of them (`freedoms`). Atoms with constraints keep the
    momenta that these allow; nothing is taken out.
    """
    thermalize_momenta(atoms, temperature, rng=rng)
    if atoms.constraints:
        return
    momenta, masses = atoms.get_momenta(), atoms.get_masses()[:, None]
    momenta -= masses * momenta.sum(axis=0) / masses.sum()
    if not atoms.pbc.any():
        arms = atoms.positions - atoms.get_center_of_mass()
        spin = np.cross(arms, momenta).sum(axis=0)
        rotation = np.linalg.pinv(_inertia(arms, masses), rcond=FLAT, hermitian=True) @ spin
        momenta -= masses * np.cross(rotation, arms)
    atoms.set_momenta(momenta)


def freedoms(atoms, thermostat=None):
    """Number of degrees of freedom with kinetic energy kT / 2 each.

    3n less those that constraints take, those of the net momentum and, for a molecule, of the net
    rotation, which the dynamics conserves. Langevin dynamics gives them kinetic energy too.
    """
    count = atoms.get_number_of_degrees_of_freedom()
    if atoms.constraints or thermostat == "langevin":
        return count
    if atoms.pbc.any() or len(atoms) == 1:
        return max(count - 3, 1)
    inertia = _inertia(atoms.positions - atoms.get_center_of_mass(), atoms.get_masses()[:, None])
    return max(
        count
        - 3
        - np.linalg.matrix_rank(inertia, tol=FLAT * np.abs(inertia).max(), hermitian=True),
        1,
    )


def temperature(atoms, count):
    """K, from the kinetic energy of `count` degrees of freedom."""
    return 2 * atoms.get_kinetic_energy() / (count * units.kB)


def _inertia(arms, masses):
    """(3, 3) tensor of inertia in u A^2."""
    return np.eye(3) * (masses * arms**2).sum() - (masses * arms).T @ arms
