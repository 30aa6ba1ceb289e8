"""Elastic constants from stresses of strained cells."""

from dataclasses import dataclass

import numpy as np
from ase import units

from .relaxation import relax

NORMAL, SHEAR = 0.01, 0.06  # largest strains; half of each is taken as well
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@dataclass(frozen=True)
class Elasticity:
    """Elastic constants (6, 6) in GPa, Voigt order xx yy zz yz xz xy, of the axes of the cell as it
    lies.

    asymmetry: largest |C_ij - C_ji| in GPa before they were averaged; stress: largest of the
    unstrained cell in GPa.
    """

    constants: np.ndarray
    asymmetry: float
    stress: float

    @property
    def stable(self):
        """Whether any small strain costs energy (Born).

        All eigenvalues of the constants are positive.
        """
        return bool(np.linalg.eigvalsh(self.constants).min() > 0)

    def moduli(self):
        """{name: GPa} of a polycrystal: bulk and shear moduli of Voigt, Reuss and their mean
        (Hill).

        Source: R. Hill, Proc. Phys. Soc. A 65, 349 (1952), doi:10.1088/0370-1298/65/5/307. Raises
        numpy's LinAlgError for constants that cannot be inverted.
        """
        c, s = self.constants, np.linalg.inv(self.constants)

        def parts(m):
            return np.trace(m[:3, :3]), m[:3, :3].sum() - np.trace(m[:3, :3]), np.trace(m[3:, 3:])

        (normal, mixed, shear), (soft, cross, slide) = parts(c), parts(s)
        found = {
            "bulk_voigt": (normal + mixed) / 9,
            "bulk_reuss": 1 / (soft + cross),
            "shear_voigt": (normal - mixed / 2 + 3 * shear) / 15,
            "shear_reuss": 15 / (4 * soft - 2 * cross + 3 * slide),
        }
        for name in ("bulk", "shear"):
            found[f"{name}_hill"] = (found[f"{name}_voigt"] + found[f"{name}_reuss"]) / 2
        return {name: float(value) for name, value in found.items()}

    def as_dict(self):
        """The numbers for programs."""
        return {
            "stable": self.stable,
            "constants": self.constants.tolist(),
            **self.moduli(),
            "asymmetry": self.asymmetry,
            "stress": self.stress,
        }


def elastic(atoms, *, normal=NORMAL, shear=SHEAR, ions=True, fmax=1e-4, on_progress=None):
    """Elasticity of a relaxed crystal with its calculator.

    Strains of -1, -1/2, 1/2, 1 times `normal` along each axis and `shear` (engineering strain)
    about each; ions: relax the atoms in each strained cell to fmax (eV/A). C_ij is the slope at
    zero of the cubic polynomial in strain j that fits the five stresses i. on_progress: called with
    the numbers of cells that are done and to do.

    Raises NotRelaxed where the atoms of a strained cell do not come to rest; ValueError for a
    structure that is not a crystal.
    """
    if atoms.calc is None or not atoms.pbc.all():
        raise ValueError(
            "elastic constants need a structure with a calculator and three periodic directions"
        )
    factors, rows, total = np.array([-1, -0.5, 0.5, 1]), [], 24
    at_rest = _stress(atoms, np.zeros(6), False, fmax)
    for component in range(6):
        size, found = (normal if component < 3 else shear), []
        for factor in factors:
            found.append(_stress(atoms, size * factor * np.eye(6)[component], ions, fmax))
            if on_progress is not None:
                on_progress(4 * component + len(found), total)
        strains, stresses = size * np.array([*factors, 0]), np.array([*found, at_rest])
        rows.append(np.polynomial.polynomial.polyfit(strains, stresses, 3)[1])
    found = np.array(rows).T
    return Elasticity(
        (found + found.T) / 2, float(np.abs(found - found.T).max()), float(np.abs(at_rest).max())
    )


def _stress(atoms, strain, ions, fmax):
    """(6,) stress in GPa of the cell under a Voigt strain (6,).

    Shear components as engineering strains.
    """
    deformation = np.eye(3)
    for value, (row, column) in zip(strain, VOIGT, strict=True):
        deformation[row, column] += value if row == column else value / 2
        deformation[column, row] = deformation[row, column]
    strained = atoms.copy()
    strained.calc = atoms.calc
    strained.set_cell(atoms.cell @ deformation, scale_atoms=True)
    if ions:
        strained = relax(strained, fmax=fmax, cell=False, symmetry=False).atoms
    return strained.get_stress() / units.GPa
