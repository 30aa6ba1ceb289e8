"""Equation of state: energy of a crystal as a function of its volume."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any

import ase.eos
import numpy as np
from ase import Atoms, units

from .. import constraints, executors
from ..display import Displayed
from . import _numbers
from ._protocols import AseCalculator
from ._setting import require_crystal
from .relaxation import relax

FORM = "birchmurnaghan"


@dataclass(frozen=True, repr=False)
class EquationOfState(
    Displayed,
    shows={
        "volume": "{} A^3",
        "energy": "{} eV",
        "bulk_modulus": "{} GPa",
        "derivative": "{}",
        "rms": "{} eV",
        "pressure": "{} GPa",
    },
):
    """Third-order Birch-Murnaghan equation of state.

    Attributes
    ----------
    volume:
        Volume at the pressure in A^3, that of lowest energy without pressure.
    energy:
        Energy at this volume in eV.
    bulk_modulus:
        Bulk modulus at this volume in GPa.
    derivative:
        Derivative of the bulk modulus with respect to pressure, at zero pressure.
    rms:
        Root mean square error of the fitted energies in eV.
    volumes:
        Volumes of the fit in A^3.
    energies:
        Energies of the fit in eV.
    pressure:
        Pressure in GPa.
    """

    volume: float
    energy: float
    bulk_modulus: float
    derivative: float
    rms: float
    volumes: tuple[float, ...]
    energies: tuple[float, ...]
    pressure: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """The numbers, for JSON."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def equation_of_state(
    atoms: Atoms,
    *,
    strain: float = 0.02,
    points: int = 9,
    ions: bool = True,
    symmetry: bool | None = None,
    tolerance: float | None = None,
    fmax: float = 1e-4,
    pressure: float = 0.0,
    executor: Any = None,
) -> EquationOfState:
    """Equation of state of a relaxed crystal, from cells of the same shape and several volumes.

    Constraints of the atoms are ignored with a warning.

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
        Relax the atoms at each volume.
    symmetry:
        Keep their space group; None: see `relax`.
    tolerance:
        Tolerance of the space group in A; None: see `relax`.
    fmax:
        Largest force of these relaxations in eV/A.
    pressure:
        Pressure in GPa at which the crystal was relaxed.
    executor:
        Processes that share the volumes, see `ase_pet.executors`; None for this one.

    Raises
    ------
    ValueError
        The minimum of the energy (of the enthalpy under pressure) is not within the volumes.
    """
    if atoms.calc is None:
        raise ValueError("an equation of state needs a structure with a calculator")
    require_crystal(atoms, "equations of state")
    strain = _numbers.between("strain", strain, 1e-4, 0.2)
    points = _numbers.count("points", points, least=5)
    gigapascals = _numbers.pressure(pressure)
    free = constraints.without(atoms, "the equation of state")
    cells = []
    for factor in np.linspace(1 - strain, 1 + strain, points):
        scaled = free.copy()
        scaled.set_cell(factor * free.cell, scale_atoms=True)
        cells.append(scaled)
    options = {"fmax": fmax, "symmetry": symmetry, "tolerance": tolerance} if ions else None
    of_cell = functools.partial(_energy, options=options)
    energies = executors.run(executor, free.calc, of_cell, cells)
    volumes = [float(scaled.get_volume()) for scaled in cells]
    _numbers.require_finite("energies", energies, "of the scaled cells")
    enthalpies = np.array(energies) + gigapascals * units.GPa * np.array(volumes)
    # a fit without points on both sides of the minimum would be an extrapolation
    if np.argmin(enthalpies) in (0, points - 1):
        raise ValueError(
            f"the lowest energy is at an end of the volumes, {min(volumes):.2f} to"
            f" {max(volumes):.2f} A^3: relax the cell first"
        )
    fit = ase.eos.EquationOfState(volumes, energies, FORM)
    # under pressure the lowest energy is not among the volumes, but the pressure is
    volume, energy, modulus = fit.fit(warn=not gigapascals)
    errors = fit.func(np.array(volumes), *fit.eos_parameters) - energies
    if gigapascals:
        volume, modulus = _under_pressure(fit, gigapascals * units.GPa, volumes)
        energy = fit.func(volume, *fit.eos_parameters)
    return EquationOfState(
        volume=float(volume),
        energy=float(energy),
        bulk_modulus=float(modulus / units.GPa),
        derivative=float(fit.eos_parameters[2]),
        rms=float(np.sqrt(np.mean(errors**2))),
        volumes=tuple(volumes),
        energies=tuple(energies),
        pressure=gigapascals,
    )


def _energy(calculator: AseCalculator, atoms: Atoms, options: dict[str, Any] | None) -> float:
    """Energy in eV of a cell; with options of `relax`, after a relaxation of its atoms."""
    atoms.calc = calculator
    if options is not None:
        atoms = relax(atoms, cell=False, **options).atoms
    return float(atoms.get_potential_energy())


def _under_pressure(fit: Any, pressure: float, volumes: list[float]) -> tuple[float, float]:
    """Volume in A^3 and bulk modulus in eV/A^3 at a pressure in eV/A^3."""
    from scipy.optimize import brentq

    _, modulus, derivative, lowest = fit.eos_parameters

    def excess(volume: float) -> float:
        # P(V) of Birch and Murnaghan, with x = (V0 / V)^(1/3)
        x = (lowest / volume) ** (1 / 3)
        shape = 1 + 0.75 * (derivative - 4) * (x**2 - 1)
        return float(1.5 * modulus * (x**7 - x**5) * shape - pressure)

    volume = float(brentq(excess, min(volumes), max(volumes)))
    step = 1e-4 * volume
    slope = (excess(volume + step) - excess(volume - step)) / (2 * step)
    return volume, -volume * slope
