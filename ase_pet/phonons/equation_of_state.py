"""Equation of state: energy of a crystal as a function of its volume."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import ase.eos
import numpy as np
from ase import Atoms, units

from .relaxation import relax

FORM = "birchmurnaghan"


@dataclass(frozen=True)
class EquationOfState:
    """Third-order Birch-Murnaghan equation of state.

    Attributes
    ----------
    volume:
        Volume of lowest energy in A^3.
    energy:
        Lowest energy in eV.
    bulk_modulus:
        Bulk modulus in GPa.
    derivative:
        Derivative of the bulk modulus with respect to pressure.
    rms:
        Root mean square error of the fitted energies in eV.
    volumes:
        Volumes of the fit in A^3.
    energies:
        Energies of the fit in eV.
    """

    volume: float
    energy: float
    bulk_modulus: float
    derivative: float
    rms: float
    volumes: tuple[float, ...]
    energies: tuple[float, ...]

    def as_dict(self) -> dict[str, Any]:
        """The numbers, for JSON."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def equation_of_state(
    atoms: Atoms,
    *,
    strain: float = 0.02,
    points: int = 9,
    ions: bool = True,
    fmax: float = 1e-4,
) -> EquationOfState:
    """Equation of state of a relaxed crystal, from cells of the same shape and several volumes.

    Source: F. Birch, Phys. Rev. 71, 809 (1947), doi:10.1103/PhysRev.71.809, as implemented in ASE.

    Parameters
    ----------
    atoms:
        Relaxed crystal with its calculator.
    strain:
        Largest relative change of the cell lengths.
    points:
        Number of volumes.
    ions:
        Relax the atoms at each volume, within their space group.
    fmax:
        Largest force of these relaxations in eV/A.

    Raises
    ------
    ValueError
        The minimum of the energy is not within the volumes.
    """
    volumes = []
    energies = []
    for factor in np.linspace(1 - strain, 1 + strain, points):
        scaled = atoms.copy()
        scaled.calc = atoms.calc
        scaled.set_cell(factor * atoms.cell, scale_atoms=True)
        if ions:
            scaled = relax(scaled, fmax=fmax, cell=False).atoms
        volumes.append(float(scaled.get_volume()))
        energies.append(float(scaled.get_potential_energy()))
    # a fit without points on both sides of the minimum would be an extrapolation
    if np.argmin(energies) in (0, points - 1):
        raise ValueError(
            f"the lowest energy is at an end of the volumes, {min(volumes):.2f} to"
            f" {max(volumes):.2f} A^3: relax the cell first"
        )
    fit = ase.eos.EquationOfState(volumes, energies, FORM)
    volume, energy, modulus = fit.fit()
    errors = fit.func(np.array(volumes), *fit.eos_parameters) - energies
    return EquationOfState(
        volume=float(volume),
        energy=float(energy),
        bulk_modulus=float(modulus / units.GPa),
        derivative=float(fit.eos_parameters[2]),
        rms=float(np.sqrt(np.mean(errors**2))),
        volumes=tuple(volumes),
        energies=tuple(energies),
    )
