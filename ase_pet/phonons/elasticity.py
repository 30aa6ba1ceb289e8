"""Elastic constants from stresses of strained cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.stress import voigt_6_to_full_3x3_strain

from .relaxation import relax

NORMAL = 0.01  # largest normal strain
SHEAR = 0.06  # largest shear strain (engineering strain)
FACTORS = (-1, -0.5, 0.5, 1)  # strains, relative to the largest


@dataclass(frozen=True)
class Elasticity:
    """Elastic constants of a crystal.

    Attributes
    ----------
    constants:
        (6, 6) in GPa, Voigt order xx yy zz yz xz xy, in the Cartesian axes of the structure.
    asymmetry:
        Largest |C_ij - C_ji| in GPa before symmetrisation.
    stress:
        Largest stress component of the unstrained cell in GPa.
    """

    constants: np.ndarray
    asymmetry: float
    stress: float

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

    def as_dict(self) -> dict[str, Any]:
        """The numbers, for JSON."""
        return {
            "stable": self.stable,
            "constants": self.constants.tolist(),
            **self.moduli(),
            "asymmetry": self.asymmetry,
            "stress": self.stress,
        }


def elastic(
    atoms: Atoms,
    *,
    normal: float = NORMAL,
    shear: float = SHEAR,
    ions: bool = True,
    fmax: float = 1e-4,
    on_progress: Callable[[int, int], object] | None = None,
) -> Elasticity:
    """Elastic constants of a relaxed crystal.

    C_ij is the slope at zero strain of the cubic polynomial in strain j that fits stress i at five
    strains: -1, -1/2, 0, 1/2 and 1 times the largest.

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
    on_progress:
        Function called as on_progress(cells done, number of cells).

    Raises
    ------
    NotRelaxed
        The atoms of a strained cell do not relax to `fmax`.
    ValueError
        The structure is not periodic in three directions.
    """
    if atoms.calc is None or not atoms.pbc.all():
        raise ValueError(
            "elastic constants need a structure with a calculator and three periodic directions"
        )
    directions = np.eye(6)
    total = 6 * len(FACTORS)
    at_rest = _stress(atoms, np.zeros(6), ions=False, fmax=fmax)
    columns = []
    for component, direction in enumerate(directions):
        largest = normal if component < 3 else shear
        strains = largest * np.array([*FACTORS, 0])
        stresses = []
        for strain in strains[:-1]:
            stresses.append(_stress(atoms, strain * direction, ions, fmax))
            if on_progress is not None:
                on_progress(len(FACTORS) * component + len(stresses), total)
        # all six stress components are fitted at once, to (5, 6) values
        stresses.append(at_rest)
        coefficients = np.polynomial.polynomial.polyfit(strains, np.array(stresses), 3)
        columns.append(coefficients[1])
    constants = np.array(columns).T
    symmetric = (constants + constants.T) / 2
    asymmetry = np.abs(constants - constants.T)
    return Elasticity(
        constants=symmetric,
        asymmetry=float(asymmetry.max()),
        stress=float(np.abs(at_rest).max()),
    )


def _invariants(matrix: np.ndarray) -> tuple[float, float, float]:
    """C11 + C22 + C33, 2 (C12 + C13 + C23) and C44 + C55 + C66 of a Voigt matrix C (6, 6)."""
    normal = np.trace(matrix[:3, :3])
    mixed = matrix[:3, :3].sum() - normal
    shear = np.trace(matrix[3:, 3:])
    return float(normal), float(mixed), float(shear)


def _stress(atoms: Atoms, strain: np.ndarray, ions: bool, fmax: float) -> np.ndarray:
    """(6,) stress in GPa of the cell under a Voigt strain (6,), shear as engineering strain."""
    strained = atoms.copy()
    strained.calc = atoms.calc
    deformation = voigt_6_to_full_3x3_strain(strain)  # (3, 3), the unit matrix without strain
    strained.set_cell(atoms.cell @ deformation, scale_atoms=True)
    if ions:
        strained = relax(strained, fmax=fmax, cell=False, symmetry=False).atoms
    return np.asarray(strained.get_stress() / units.GPa)
