"""Phonon spectrum: imaginary modes, bands, density of states, thermal properties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .force_constants import Crystal
from .relaxation import Relaxation

if TYPE_CHECKING:
    from phonopy import Phonopy

# Imaginary frequencies are stored as negative numbers. Values in THz between this and zero are
# numerical noise, mostly of the acoustic modes at Gamma.
IMAGINARY = -0.05
SHOWN = 10  # imaginary modes listed in a report
KM_PER_S = 0.1  # 1 THz A in km/s


@dataclass
class Spectrum:
    """Phonons of a crystal with force constants; frequencies in THz, imaginary ones negative.

    Attributes
    ----------
    crystal:
        Crystal with its force constants.
    relaxation:
        Relaxation that preceded the phonons, if any.
    residuals:
        `Crystal.residuals` "before" and "after" the projection of the force constants.
    facts:
        Further entries of the report: how the force constants were computed.
    """

    crystal: Crystal
    relaxation: Relaxation | None = None
    residuals: dict[str, dict[str, float]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def phonopy(self) -> Phonopy:
        """Phonopy object with all results."""
        return self.crystal.phonopy

    def compute(
        self,
        mesh: Sequence[int] = (20, 20, 20),
        temperature_max: float = 1000.0,
        points: int = 51,
    ) -> None:
        """Compute bands, density of states and thermal properties.

        Parameters
        ----------
        mesh:
            Number of q-points along each reciprocal vector.
        temperature_max:
            Highest temperature of the thermal properties in K.
        points:
            Number of q-points on the longest segment of the band path (of seekpath).
        """
        if len(mesh) != 3 or min(mesh) < 1:
            raise ValueError(f"`mesh` is {mesh!r}: expected three numbers of q-points, 1 or more")
        if not temperature_max > 0:
            raise ValueError(f"`temperature_max` is {temperature_max!r}: expected K above 0")
        self.phonopy.auto_band_structure(npoints=points, with_group_velocities=True)
        self.phonopy.run_mesh(mesh, with_group_velocities=True, is_gamma_center=True)
        self.phonopy.run_total_dos()
        # 1e-9: the highest temperature is included
        step = max(10.0, temperature_max / 200)
        temperatures = np.arange(0, temperature_max + 1e-9, step)
        self.phonopy.run_thermal_properties(temperatures=temperatures, cutoff_frequency=-IMAGINARY)

    @property
    def frequencies(self) -> np.ndarray:
        """(q, modes) frequencies in THz at all q-points of the bands and the mesh."""
        return np.concatenate([frequencies for _, frequencies in self._sampled()])

    def imaginary(self) -> list[dict[str, Any]]:
        """Imaginary modes of bands and mesh (below -0.05 THz), lowest first.

        Each is a dict of its "q" (fractional coordinates), its "frequency" in THz, the index "mode"
        of its branch, and "where", which is "bands" or "mesh".
        """
        modes = []
        *bands, mesh = self._sampled()
        sampled = [("bands", *line) for line in bands]
        sampled.append(("mesh", *mesh))
        for where, points, frequencies in sampled:
            # points (q, 3), frequencies (q, modes)
            for row, branch in np.argwhere(frequencies < IMAGINARY):
                mode = {
                    "q": [round(float(x), 6) for x in points[row]],
                    "frequency": float(frequencies[row, branch]),
                    "mode": int(branch),
                    "where": where,
                }
                modes.append(mode)
        return sorted(modes, key=lambda mode: mode["frequency"])

    def fraction_imaginary(self) -> float:
        """Fraction of the modes of the mesh that are imaginary."""
        mesh: Any = self.phonopy.mesh
        fractions = (mesh.frequencies < IMAGINARY).mean(1)  # (q,)
        return float(np.average(fractions, weights=mesh.weights))

    def thermal(self) -> dict[str, list[float]]:
        """Thermal properties per mole of primitive cells at each "temperature" in K.

        free_energy in kJ/mol, entropy and heat_capacity in J/K/mol. Modes below 0.05 THz are left
        out. If the crystal has imaginary modes these numbers are meaningless.
        """
        properties: Any = self.phonopy.thermal_properties
        names = ("free_energy", "entropy", "heat_capacity")
        return {
            "temperature": np.asarray(properties.temperatures).tolist(),
            **{name: np.asarray(getattr(properties, name)).tolist() for name in names},
        }

    def as_dict(self) -> dict[str, Any]:
        """Report for JSON; imaginary modes come first."""
        modes = self.imaginary()
        frequencies = self.frequencies
        # group velocities (q, modes, 3) in THz A
        mesh: Any = self.phonopy.mesh
        fastest = np.linalg.norm(mesh.group_velocities, axis=-1).max() * KM_PER_S
        imaginary = {
            "modes": len(modes),
            "fraction_of_mesh": self.fraction_imaginary(),
            "lowest": modes[:SHOWN],
        }
        return {
            "imaginary": imaginary,
            "lowest_frequency": float(frequencies.min()),
            "highest_frequency": float(frequencies.max()),
            "residuals": self.residuals,
            **self.facts,
            "largest_group_velocity": float(fastest),
            "relaxation": None if self.relaxation is None else self.relaxation.as_dict(),
            "thermal": self.thermal(),
        }

    def _sampled(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """q-points (q, 3) and frequencies (q, modes) of each line of bands, then of the mesh."""
        bands: Any = self.phonopy.band_structure
        mesh: Any = self.phonopy.mesh
        lines = list(zip(bands.qpoints, bands.frequencies, strict=True))
        return [*lines, (mesh.qpoints, mesh.frequencies)]
