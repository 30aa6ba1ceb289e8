"""Energy of a crystal as a function of its volume."""

from dataclasses import dataclass

import ase.eos
import numpy as np
from ase import units

from .relaxation import relax

FORM = "birchmurnaghan"


@dataclass(frozen=True)
class EquationOfState:
    """Third-order Birch-Murnaghan equation of state: volume in A^3, energy in eV, bulk_modulus in
    GPa, its derivative with
    pressure, rms of the fit in eV, and the volumes and energies that it was fitted to.
    """

    volume: float
    energy: float
    bulk_modulus: float
    derivative: float
    rms: float
    volumes: tuple
    energies: tuple

    def as_dict(self):
        """The numbers for programs."""
        return dict(self.__dict__)


def equation_of_state(atoms, *, strain=0.02, points=9, ions=True, fmax=1e-4):
    """EquationOfState of a relaxed crystal with its calculator, from `points` cells of the same
    shape whose lengths are
    changed by up to `strain`; ions: relax the atoms in each to fmax (eV/A) within its symmetry.

    Source: F. Birch, Phys. Rev. 71, 809 (1947), doi:10.1103/PhysRev.71.809, as ASE has it. Raises
    ValueError where the minimum does not lie within the volumes.
    """
    volumes, energies = [], []
    for factor in np.linspace(1 - strain, 1 + strain, points):
        scaled = atoms.copy()
        scaled.calc = atoms.calc
        scaled.set_cell(factor * atoms.cell, scale_atoms=True)
        if ions:
            scaled = relax(scaled, fmax=fmax, cell=False).atoms
        volumes.append(scaled.get_volume())
        energies.append(scaled.get_potential_energy())
    if np.argmin(energies) in (0, points - 1):
        raise ValueError(
            f"the lowest energy is at an end of the volumes, {min(volumes):.2f} to"
            f" {max(volumes):.2f} A^3: relax the cell first"
        )
    fit = ase.eos.EquationOfState(volumes, energies, FORM)
    volume, energy, modulus = fit.fit()
    errors = fit.func(np.array(volumes), *fit.eos_parameters) - energies
    return EquationOfState(
        float(volume),
        float(energy),
        float(modulus / units.GPa),
        float(fit.eos_parameters[2]),
        float(np.sqrt(np.mean(errors**2))),
        tuple(map(float, volumes)),
        tuple(map(float, energies)),
    )
