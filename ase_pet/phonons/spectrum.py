"""What force constants say.

Imaginary modes first, then bands, density of states, thermal properties.
"""

from dataclasses import dataclass, field

import numpy as np

from .force_constants import Crystal
from .relaxation import Relaxation

IMAGINARY = -0.05  # THz: imaginary frequencies, written as negative ones, count below this
SHOWN = 10  # imaginary modes that are listed one by one
KM_PER_S = 0.1  # 1 THz A


@dataclass
class Spectrum:
    """Phonons of a crystal whose force constants are set; frequencies in THz, imaginary ones
    negative.

    residuals: {"before": ..., "after": ...} the projection, see `Crystal.residuals`; facts: what
    else a report tells of how the force constants were made. `compute` fills bands, mesh and
    thermal properties of `phonopy`.
    """

    crystal: Crystal
    relaxation: Relaxation | None = None
    residuals: dict = field(default_factory=dict)
    facts: dict = field(default_factory=dict)

    @property
    def phonopy(self):
        """The Phonopy object, with everything that was computed."""
        return self.crystal.phonopy

    def compute(self, mesh=(20, 20, 20), temperature_max=1000.0, points=51):
        """Run bands along the path of seekpath with `points` on the longest line, the mesh of
        q-points, density of states
        and thermal properties up to `temperature_max` (K).
        """
        if len(mesh) != 3 or min(mesh) < 1:
            raise ValueError(f"`mesh` is {mesh!r}: expected three numbers of q-points, 1 or more")
        if not temperature_max > 0:
            raise ValueError(f"`temperature_max` is {temperature_max!r}: expected K above 0")
        self.phonopy.auto_band_structure(npoints=points, with_group_velocities=True)
        self.phonopy.run_mesh(mesh, with_group_velocities=True, is_gamma_center=True)
        self.phonopy.run_total_dos()
        steps = np.arange(0, temperature_max + 1e-9, max(10.0, temperature_max / 200))
        self.phonopy.run_thermal_properties(temperatures=steps, cutoff_frequency=-IMAGINARY)

    @property
    def frequencies(self):
        """(q, modes) frequencies in THz of all q-points of bands and mesh."""
        return np.concatenate([values for _, values in self._sampled()])

    def imaginary(self):
        """List of {q, frequency in THz, mode.

        Where} of all modes below -0.05 THz on bands and mesh, the lowest first.
        """
        names = ["bands"] * len(self.phonopy.band_structure.frequencies) + ["mesh"]
        found = [
            {
                "q": [round(float(x), 6) for x in points[row]],
                "frequency": float(values[row, mode]),
                "mode": int(mode),
                "where": name,
            }
            for name, (points, values) in zip(names, self._sampled(), strict=True)
            for row, mode in np.argwhere(values < IMAGINARY)
        ]
        return sorted(found, key=lambda mode: mode["frequency"])

    def fraction_imaginary(self):
        """Share of the modes of the whole mesh that are imaginary."""
        mesh = self.phonopy.mesh
        return float(np.average((mesh.frequencies < IMAGINARY).mean(1), weights=mesh.weights))

    def thermal(self):
        """{temperature K, free_energy kJ/mol, entropy J/K/mol, heat_capacity J/K/mol} per mole of
        primitive cells.

        Modes below 0.05 THz are left out: with imaginary ones, these numbers have no meaning.
        """
        found = self.phonopy.thermal_properties
        return {"temperature": np.asarray(found.temperatures).tolist()} | {
            name: np.asarray(getattr(found, name)).tolist()
            for name in ("free_energy", "entropy", "heat_capacity")
        }

    def as_dict(self):
        """The report for programs: imaginary modes first."""
        modes, mesh = self.imaginary(), self.phonopy.mesh
        velocity = np.linalg.norm(mesh.group_velocities, axis=-1).max() * KM_PER_S
        return {
            "imaginary": {
                "modes": len(modes),
                "fraction_of_mesh": self.fraction_imaginary(),
                "lowest": modes[:SHOWN],
            },
            "lowest_frequency": float(self.frequencies.min()),
            "highest_frequency": float(self.frequencies.max()),
            "residuals": self.residuals,
            **self.facts,
            "largest_group_velocity": float(velocity),
            "relaxation": None if self.relaxation is None else self.relaxation.as_dict(),
            "thermal": self.thermal(),
        }

    def _sampled(self):
        """(q-points, frequencies) of each line of bands, then of the mesh."""
        bands, mesh = self.phonopy.band_structure, self.phonopy.mesh
        return [
            *zip(bands.qpoints, bands.frequencies, strict=True),
            (mesh.qpoints, mesh.frequencies),
        ]
