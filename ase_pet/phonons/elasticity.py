"""Elastic constants from stresses of strained cells."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.stress import voigt_6_to_full_3x3_strain

from .. import constraints, executors
from ..display import Displayed
from . import _numbers
from ._protocols import AseCalculator
from ._setting import require_crystal
from .relaxation import relax

NORMAL = 0.01  # largest normal strain
SHEAR = 0.06  # largest shear strain (engineering strain)
STRAINS = (1e-6, 0.2)  # smallest and largest strain that can be asked for
WEAKEST = 1e-6  # GPa; elastic constants below it are those of isolated atoms
FACTORS = (-1, -0.5, 0.5, 1)  # strains, relative to the largest


@dataclass(frozen=True, repr=False)
class Elasticity(Displayed):
    """Elastic constants of a crystal.

    Attributes
    ----------
    constants:
        (6, 6) in GPa, Voigt order xx yy zz yz xz xy, in the Cartesian axes of the structure.
    asymmetry:
        Largest |C_ij - C_ji| in GPa before symmetrisation.
    stress:
        Largest deviation of a stress component of the unstrained cell from the pressure in GPa.
    pressure:
        Pressure in GPa.
    """

    constants: np.ndarray
    asymmetry: float
    stress: float
    pressure: float = 0.0

    @property
    def stable(self) -> bool:
        """Whether every small strain costs energy (Born): all eigenvalues are positive."""
        return bool(np.linalg.eigvalsh(self.constants).min() > 0)

    def moduli(self) -> dict[str, float]:
        """Bulk and shear moduli of a polycrystal in GPa, after Voigt, Reuss and Hill (their mean).

        Source: R. Hill, Proc. Phys. Soc. A 65, 349 (1952), doi:10.1088/0370-1298/65/5/307.

        Raises
        ------
        numpy.linalg.LinAlgError
            The elastic constants cannot be inverted.
        """
        normal, mixed, shear = _invariants(self.constants)
        # Voigt: averages of the constants, for uniform strain
        bulk_voigt = (normal + mixed) / 9
        shear_voigt = (normal - mixed / 2 + 3 * shear) / 15
        # Reuss: averages of the compliances, for uniform stress
        normal, mixed, shear = _invariants(np.linalg.inv(self.constants))
        bulk_reuss = 1 / (normal + mixed)
        shear_reuss = 15 / (4 * normal - 2 * mixed + 3 * shear)
        return {
            "bulk_voigt": bulk_voigt,
            "bulk_reuss": bulk_reuss,
            "shear_voigt": shear_voigt,
            "shear_reuss": shear_reuss,
            "bulk_hill": (bulk_voigt + bulk_reuss) / 2,
            "shear_hill": (shear_voigt + shear_reuss) / 2,
        }

    def displayed(self) -> dict[str, str]:
        """{name: value with unit} of three constants, and whether the crystal is stable."""
        rows = {}
        for name, place in {"C11": (0, 0), "C12": (0, 1), "C44": (3, 3)}.items():
            rows[name] = f"{self.constants[place]:.4g} GPa"
        return {**rows, "stable": str(self.stable), "pressure": f"{self.pressure:g} GPa"}

    def as_dict(self) -> dict[str, Any]:
        """The numbers, for JSON."""
        return {
            "stable": self.stable,
            "constants": self.constants.tolist(),
            **self.moduli(),
            "asymmetry": self.asymmetry,
            "stress": self.stress,
            "pressure": self.pressure,
        }


def elastic(
    atoms: Atoms,
    *,
    normal: float = NORMAL,
    shear: float = SHEAR,
    ions: bool = True,
    fmax: float = 1e-4,
    pressure: float = 0.0,
    on_progress: Callable[[int, int], object] | None = None,
    executor: Any = None,
) -> Elasticity:
    """Elastic constants of a relaxed crystal.

    C_ij is the slope at zero strain of the cubic polynomial in strain j that fits stress i at five
    strains: -1, -1/2, 0, 1/2 and 1 times the largest. Under pressure these are the coefficients of
    the stress-strain relation, which decide on stability and on the velocities of sound.
    Constraints of the atoms are ignored with a warning.

    Source: D. C. Wallace, Thermodynamics of Crystals (Wiley, 1972), chapter 2, for the pressure.

    Parameters
    ----------
    atoms:
        Relaxed crystal with its calculator.
    normal:
        Largest normal strain.
    shear:
        Largest shear strain (engineering strain).
    ions:
        Relax the atoms in each strained cell; otherwise the constants are those of clamped ions.
    fmax:
        Largest force of these relaxations in eV/A.
    pressure:
        Pressure in GPa at which the crystal was relaxed.
    on_progress:
        Function called as on_progress(cells done, number of cells).
    executor:
        Processes that share the strained cells, see `ase_pet.executors`; None for this one.

    Raises
    ------
    NotRelaxed
        The atoms of a strained cell do not relax to `fmax`.
    ValueError
        The structure is not periodic in three directions.
    """
    if atoms.calc is None:
        raise ValueError("elastic constants need a structure with a calculator")
    require_crystal(atoms, "elastic constants")
    normal = _numbers.between("normal", normal, *STRAINS)
    shear = _numbers.between("shear", shear, *STRAINS)
    fmax = _numbers.positive("fmax", fmax, "eV/A")
    pressure = _numbers.pressure(pressure)
    free = constraints.without(atoms, "elastic constants")
    largest_strains = [normal] * 3 + [shear] * 3
    at_rest = _stress(free.calc, np.zeros(6), free.copy(), ions=False, fmax=fmax)
    strained = []
    for largest, direction in zip(largest_strains, np.eye(6), strict=True):
        strained += [factor * largest * direction for factor in FACTORS]
    of_strain = functools.partial(_stress, atoms=free.copy(), ions=ions, fmax=fmax)
    found = executors.run(executor, free.calc, of_strain, strained, on_progress)
    columns = []
    for component, largest in enumerate(largest_strains):
        first = component * len(FACTORS)
        # all six stress components are fitted at once, to (5, 6) values
        stresses = np.array([*found[first : first + len(FACTORS)], at_rest])
        strains = largest * np.array([*FACTORS, 0])
        coefficients = np.polynomial.polynomial.polyfit(strains, stresses, 3)
        columns.append(coefficients[1])
    slopes = np.array(columns).T
    stiffest = np.abs(slopes).max()
    if not stiffest > WEAKEST:
        raise ValueError(
            f"the largest elastic constant is {stiffest:.1g} GPa: for this calculator these are"
            " isolated atoms"
        )
    asymmetry = np.abs(slopes - slopes.T)
    target = -pressure * np.array([1, 1, 1, 0, 0, 0])
    return Elasticity(
        constants=(slopes + slopes.T) / 2,
        asymmetry=float(asymmetry.max()),
        stress=float(np.abs(at_rest - target).max()),
        pressure=pressure,
    )


def _invariants(matrix: np.ndarray) -> tuple[float, float, float]:
    """C11 + C22 + C33, 2 (C12 + C13 + C23) and C44 + C55 + C66 of a Voigt matrix C (6, 6)."""
    normal = np.trace(matrix[:3, :3])
    mixed = matrix[:3, :3].sum() - normal
    shear = np.trace(matrix[3:, 3:])
    return float(normal), float(mixed), float(shear)


def _stress(
    calculator: AseCalculator, strain: np.ndarray, atoms: Atoms, ions: bool, fmax: float
) -> np.ndarray:
    """(6,) stress in GPa of the cell under a Voigt strain (6,), shear as engineering strain."""
    strained = atoms.copy()
    strained.calc = calculator
    deformation = voigt_6_to_full_3x3_strain(strain)  # (3, 3), the unit matrix without strain
    strained.set_cell(atoms.cell @ deformation, scale_atoms=True)
    if ions:
        strained = relax(strained, fmax=fmax, cell=False, symmetry=False).atoms
    stress = strained.get_stress() / units.GPa
    _numbers.require_finite("a stress", stress, f"at the strain {np.round(strain, 6).tolist()}")
    return np.asarray(stress)
