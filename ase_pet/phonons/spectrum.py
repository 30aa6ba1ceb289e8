"""Phonon spectrum: imaginary modes, bands, density of states, thermal properties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms, units

from ..display import Displayed, shown
from . import _costs, _numbers
from ._paths import BandPath, band_path
from ._setting import kinds
from .force_constants import Crystal
from .relaxation import Relaxation

if TYPE_CHECKING:
    from phonopy import Phonopy

# Imaginary frequencies are stored as negative numbers. Values in THz between this and zero are
# numerical noise, mostly of the acoustic modes at Gamma.
IMAGINARY = -0.05
SHOWN = 10  # imaginary modes listed in a report
SMALL = -0.3  # THz; acoustic modes near Gamma down to it tell of a supercell that is too small
NEAR = 0.25  # of a reciprocal vector, from Gamma
KM_PER_S = 0.1  # 1 THz A in km/s
PLANCK = 2 * np.pi * 1e12 * units._hbar / units._e  # eV, energy of a quantum of 1 THz
ROOM = 300.0  # K
LARGE_FORCE = 0.01  # eV/A; above it the structure is not at a minimum
STEPS = 200  # temperatures of the default range
PROJECTED = 2**28  # bytes of the eigenvectors from which densities of elements are computed


@dataclass(repr=False)
class Spectrum(Displayed):
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
    element_dos:
        {element: (k,) states per THz and primitive cell at the frequencies of the total density of
        states}, after `compute`.
    at_q_points:
        Entries "q", "frequencies" (THz) of each q-point that was asked for.
    """

    crystal: Crystal
    relaxation: Relaxation | None = None
    residuals: dict[str, dict[str, float]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    element_dos: dict[str, np.ndarray] = field(default_factory=dict)
    at_q_points: list[dict[str, Any]] = field(default_factory=list)

    @property
    def phonopy(self) -> Phonopy:
        """Phonopy object with all results."""
        return self.crystal.phonopy

    def displayed(self) -> dict[str, str]:
        """{name: value with unit} of the cells and, after `compute`, of the frequencies."""
        phonopy = self.phonopy
        rows = {
            "primitive_cell": shown(Atoms(phonopy.primitive.symbols)),
            "supercell": f"{len(phonopy.supercell)} atoms",
        }
        if phonopy.mesh is not None and phonopy.band_structure is not None:
            lowest = self.frequencies.min()
            rows["frequencies"] = f"{lowest:.4g} to {self.frequencies.max():.4g} THz"
            rows["imaginary"] = f"{len(self.imaginary())} modes"
        return rows

    def compute(
        self,
        mesh: Sequence[int] = (20, 20, 20),
        temperature_max: float = 1000.0,
        points: int = 51,
        *,
        temperatures: Sequence[float] | np.ndarray | None = None,
        path: str | None = None,
        q_points: Sequence[Sequence[float]] | np.ndarray | None = None,
        limits: bool = True,
    ) -> None:
        """Compute bands, density of states and thermal properties.

        Parameters
        ----------
        mesh:
            Number of q-points along each reciprocal vector; along the vacuum of a layer there is
            one.
        temperature_max:
            Highest temperature of the thermal properties in K, if `temperatures` is None.
        points:
            Number of q-points on the longest segment of the band path.
        temperatures:
            Temperatures of the thermal properties in K.
        path:
            Path of the bands, such as "G,X,L" (see `band_path`); None: that of seekpath.
        q_points:
            (k, 3) further q-points, in units of the reciprocal vectors of the primitive cell.
        limits:
            Refuse a mesh that is too large.
        """
        kelvin = _temperatures(temperatures, temperature_max)
        numbers = self.mesh_of(mesh)
        phonopy = self.phonopy
        if limits:
            _costs.require_mesh(numbers, 3 * len(phonopy.primitive))
        lines = self.band_path(path, points)
        phonopy.run_band_structure(
            lines.lines,
            with_group_velocities=True,
            path_connections=lines.joined,
            labels=lines.labels,
        )
        self._compute_element_dos(numbers)
        phonopy.run_mesh(numbers, with_group_velocities=True, is_gamma_center=True)
        phonopy.run_total_dos()
        phonopy.run_thermal_properties(temperatures=kelvin, cutoff_frequency=-IMAGINARY)
        self.at_q_points = []
        if q_points is not None:
            self._compute_at(_q_points(q_points))

    def mesh_of(self, mesh: Sequence[int]) -> tuple[int, int, int]:
        """Number of q-points along each reciprocal vector; one along the vacuum of a layer.

        Parameters
        ----------
        mesh:
            The numbers that were asked for.
        """
        numbers = list(_numbers.mesh(mesh))
        if self.crystal.vacuum is not None:
            numbers[self.crystal.vacuum] = 1
        return (numbers[0], numbers[1], numbers[2])

    def band_path(self, text: str | None = None, points: int = 51) -> BandPath:
        """Path of the bands in the vectors of the primitive cell.

        Parameters
        ----------
        text:
            Path of the user; None: that of seekpath.
        points:
            Number of q-points on the longest segment.
        """
        primitive: Any = self.phonopy.primitive
        return band_path(
            np.array(primitive.cell),
            np.array(primitive.scaled_positions),
            kinds(self.crystal.primitive),
            text=text,
            points=_numbers.count("points", points, least=2),
            tolerance=self.crystal.tolerance,
            vacuum=self.crystal.vacuum,
        )

    def _compute_element_dos(self, mesh: tuple[int, int, int]) -> None:
        """Set `element_dos`, on a coarser mesh if the eigenvectors of all q-points are too many."""
        self.element_dos = {}
        elements = np.array(self.crystal.elements)
        if len(set(elements)) < 2:
            return  # that of one element is the total
        numbers = np.array(mesh)
        modes = 3 * len(elements)
        # eigenvectors (q, modes, modes), complex
        while 16 * numbers.prod() * modes**2 > PROJECTED and numbers.max() > 1:
            numbers = np.maximum(1, numbers // 2)
        phonopy = self.phonopy
        phonopy.run_mesh(
            numbers, with_eigenvectors=True, is_mesh_symmetry=False, is_gamma_center=True
        )
        phonopy.run_projected_dos()
        density: Any = phonopy.projected_dos
        self.element_dos["frequency"] = np.asarray(density.frequency_points)
        for element in dict.fromkeys(elements.tolist()):
            states = density.projected_dos[elements == element]  # (atoms, k)
            self.element_dos[element] = states.sum(axis=0)

    def check(
        self,
        temperatures: Sequence[float] | np.ndarray | None,
        temperature_max: float,
        q_points: Sequence[Sequence[float]] | np.ndarray | None,
    ) -> None:
        """Raise ValueError for arguments of `compute` that are wrong.

        Parameters
        ----------
        temperatures:
            Temperatures in K, or None.
        temperature_max:
            Highest temperature in K.
        q_points:
            (k, 3) q-points, or None.
        """
        _temperatures(temperatures, temperature_max)
        if q_points is not None:
            _q_points(q_points)

    def _compute_at(self, points: np.ndarray) -> None:
        """Set `at_q_points`."""
        values = self.phonopy.run_qpoints(points).frequencies
        for point, frequencies in zip(points, values, strict=True):
            entry = {"q": point.tolist(), "frequencies": np.asarray(frequencies).tolist()}
            self.at_q_points.append(entry)

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

    def small_near_gamma(self, mode: dict[str, Any]) -> bool:
        """Whether an imaginary mode is small, acoustic, near Gamma, and at an interpolated q-point.

        Such modes come from a supercell that is too small, or from noise of the forces, rather than
        from an unstable structure. At q-points that fit into the supercell nothing is interpolated.

        Parameters
        ----------
        mode:
            Entry of `imaginary`.
        """
        if mode["mode"] >= 3 or mode["frequency"] <= SMALL:
            return False
        q = np.array(mode["q"])
        primitive: Any = self.phonopy.primitive.cell
        # rows: vectors of the supercell by those of the primitive cell
        repeats = np.rint(self.phonopy.supercell.cell @ np.linalg.inv(primitive))
        fits = _from_integers(repeats @ q) < 1e-4
        return not fits and _from_integers(q) <= NEAR

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

    def zero_point_energy(self) -> float:
        """Zero-point energy in eV per primitive cell, without modes below 0.05 THz."""
        frequencies, weights = self._real_modes()
        return float(0.5 * PLANCK * (weights @ frequencies))

    def heat_capacity(self, temperature: float) -> float:
        """Heat capacity at constant volume in J/K per mole of primitive cells.

        Parameters
        ----------
        temperature:
            Temperature in K.
        """
        frequencies, weights = self._real_modes()
        # x = h f / (2 k T); each mode has k (x / sinh x)^2, which vanishes where x is large
        halves = PLANCK * frequencies / (2 * units.kB * temperature)
        ratios = halves / np.sinh(np.minimum(halves, 300.0))
        return float(weights @ ratios**2) * units._k * units._Nav

    def debye_temperature(self) -> float:
        """Debye temperature in K of the model with the same mean square frequency.

        h sqrt(5/3 <f^2>) / k: the heat capacity of this Debye model is that of the crystal to the
        first order in 1/T^2. At low temperature that of the velocities of sound holds instead.

        Source: T. H. K. Barron, J. A. Morrison, Can. J. Phys. 35, 799 (1957), theta_D(2).
        """
        frequencies, weights = self._real_modes()
        mean_square = (weights @ frequencies**2) / weights.sum()
        return float(PLANCK * np.sqrt(5 / 3 * mean_square) / units.kB)

    def _real_modes(self) -> tuple[np.ndarray, np.ndarray]:
        """Frequencies (k,) in THz of the modes above 0.05 THz on the mesh, and their weights.

        The weights of all modes of a primitive cell add up to three for each of its atoms.
        """
        mesh: Any = self.phonopy.mesh
        weights = np.asarray(mesh.weights) / np.sum(mesh.weights)  # (q,)
        kept = mesh.frequencies > -IMAGINARY  # (q, modes)
        weights_of_modes = np.broadcast_to(weights[:, None], kept.shape)
        return mesh.frequencies[kept], weights_of_modes[kept]

    def as_dict(self) -> dict[str, Any]:
        """Report for JSON; imaginary modes come first."""
        modes = self.imaginary()
        frequencies = self.frequencies
        # group velocities (q, modes, 3) in THz A
        mesh: Any = self.phonopy.mesh
        primitive: Any = self.phonopy.primitive
        # d omega / dq diverges where omega^2 is about 0 beside imaginary modes
        real = mesh.frequencies > max(0.0, -float(mesh.frequencies.min()))
        velocities = np.linalg.norm(mesh.group_velocities, axis=-1)
        fastest = velocities.max(initial=0.0, where=real) * KM_PER_S
        imaginary = {
            "modes": len(modes),
            "fraction_of_mesh": self.fraction_imaginary(),
            "small_near_gamma": sum(map(self.small_near_gamma, modes)),
            "lowest": modes[:SHOWN],
        }
        return {
            "imaginary": imaginary,
            "lowest_frequency": float(frequencies.min()),
            "highest_frequency": float(frequencies.max()),
            "residuals": self.residuals,
            **self.facts,
            "largest_group_velocity": float(fastest),
            "zero_point_energy": self.zero_point_energy(),
            "heat_capacity_300K": self.heat_capacity(ROOM),
            "debye_temperature": self.debye_temperature(),
            "primitive_cell": np.array(primitive.cell).tolist(),
            "primitive_atoms": len(primitive),
            "q_points": self.at_q_points,
            "relaxation": None if self.relaxation is None else self.relaxation.as_dict(),
            "thermal": self.thermal(),
        }

    def _sampled(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """q-points (q, 3) and frequencies (q, modes) of each line of bands, then of the mesh."""
        bands: Any = self.phonopy.band_structure
        mesh: Any = self.phonopy.mesh
        lines = list(zip(bands.qpoints, bands.frequencies, strict=True))
        return [*lines, (mesh.qpoints, mesh.frequencies)]


def _temperatures(temperatures: Any, highest: float) -> np.ndarray:
    """(T,) temperatures of the thermal properties in K."""
    if temperatures is not None:
        return _numbers.temperatures(temperatures)
    if not 0 < highest <= _numbers.HOTTEST:
        expected = f"K above 0, at most {_numbers.HOTTEST:.0f}"
        raise ValueError(f"`temperature_max` is {highest!r}: expected {expected}")
    step = max(10.0, highest / STEPS)
    # 1e-9: the highest temperature is included
    return np.arange(0, highest + 1e-9, step)


def _from_integers(values: np.ndarray) -> float:
    """Largest distance of numbers from whole ones."""
    return float(np.abs(values - np.rint(values)).max())


def _q_points(points: Any) -> np.ndarray:
    """(k, 3) q-points as an array."""
    values = np.asarray(points, dtype=float)
    if values.ndim != 2 or values.shape[1] != 3 or not np.isfinite(values).all():
        raise ValueError(f"`q_points` have the shape {values.shape}: expected (k, 3) numbers")
    return values
