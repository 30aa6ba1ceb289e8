"""Scatter of a calculator: differences of its results from a smooth curve over tiny distances.

That of analytic potentials is rounding. Self-consistent calculators iterate until a tolerance is
met, which scatters their results by more, and limits rise with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms

POINTS = 11  # of the line
SPACING = 5e-5  # A between points; a smooth energy is a polynomial over ten times that
DEGREE = 5  # of the polynomial
# Standard deviation over median modulus of normal numbers, with the six degrees of freedom of the
# fit: 1.4826 sqrt(11 / 5)
NORMAL = 2.2
COARSE_FORCES = 1e-6  # eV/A: above this scatter, steps of differences are those of float32


@dataclass(frozen=True)
class Noise:
    """Standard deviations of results from a smooth curve.

    Attributes
    ----------
    energy:
        In eV/atom.
    forces:
        In eV/A, of one coordinate.
    stress:
        In eV/A^3, of one component.
    """

    energy: float = 0.0
    forces: float = 0.0
    stress: float = 0.0

    @property
    def is_coarse(self) -> bool:
        """Whether differences of forces need steps as long as those for float32."""
        return self.forces > COARSE_FORCES

    def maximum(self, other: Noise) -> Noise:
        """The larger of this and another noise, each of the three."""
        return Noise(
            energy=max(self.energy, other.energy),
            forces=max(self.forces, other.forces),
            stress=max(self.stress, other.stress),
        )


def line(atoms: Atoms, generator: np.random.Generator, spacing: float = SPACING) -> list[Atoms]:
    """Structures (11) in even steps along a random direction, around `atoms`.

    Parameters
    ----------
    atoms:
        Structure in the middle.
    generator:
        Random numbers for the direction.
    spacing:
        Distance between them in A, rms of a coordinate.
    """
    direction = generator.normal(size=atoms.positions.shape)
    structures = []
    for k in range(POINTS):
        moved = atoms.copy()
        moved.positions += (k - POINTS // 2) * spacing * direction
        structures.append(moved)
    return structures


def scatter(values: np.ndarray) -> float:
    """Standard deviation of values (11,) or (11, m) from a polynomial, by the median of the moduli.

    The median is that of a calculator whose results step once on the line, which is no scatter.

    Parameters
    ----------
    values:
        Results at even steps.
    """
    columns = values.reshape(POINTS, -1)
    # large energies would cost digits of the fit
    residuals = _residuals(columns - columns[0])
    if not np.isfinite(residuals).all():
        return 0.0  # the checks report it
    median = np.median(residuals, axis=0).max()
    return float(NORMAL * median)


def _residuals(columns: np.ndarray) -> np.ndarray:
    """Moduli (11, m) of the differences of columns (11, m) from a polynomial through each."""
    x = np.linspace(-1, 1, POINTS)
    basis = np.polynomial.legendre.legvander(x, DEGREE)  # (11, 4)
    coefficients, *_ = np.linalg.lstsq(basis, columns, rcond=None)
    fitted = basis @ coefficients
    moduli: np.ndarray = np.abs(columns - fitted)
    return moduli
