"""Mode Grueneisen parameters: how frequencies change with the volume."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms, units

from ._strained import Strained, check_phonons, relaxed_volumes, with_phonons
from .run import name_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STRAIN = 0.003  # of the cell lengths, about 1 % of the volume
EV_PER_THZ = units._hplanck / units._e * 1e12  # energy of a mode
LOWEST = 0.05  # THz; the three acoustic modes at Gamma have no Grueneisen parameter

OnProgress = Callable[[str, int, "int | None"], object]


@dataclass(frozen=True)
class Gruneisen:
    """Mode Grueneisen parameters, -d ln(frequency) / d ln(volume), on a mesh.

    Attributes
    ----------
    points:
        (q, 3) q-points in fractional coordinates.
    weights:
        (q,) number of q-points of the full mesh that each stands for.
    frequencies:
        (q, modes) frequencies in THz.
    parameters:
        (q, modes) Grueneisen parameters; nan of modes below 0.05 THz.
    volumes:
        The crystal at the smaller, the middle and the larger volume.
    """

    points: np.ndarray
    weights: np.ndarray
    frequencies: np.ndarray
    parameters: np.ndarray
    volumes: list[Strained]

    def mean(self, temperature: float) -> float:
        """Mean of the parameters, weighted by the heat capacities of the modes.

        In the quasi-harmonic approximation it is the thermodynamic Grueneisen parameter, at the
        volume of the phonons.

        Parameters
        ----------
        temperature:
            Temperature in K, above 0.
        """
        if not temperature > 0:
            raise ValueError(f"`temperature` is {temperature!r}: expected K above 0")
        # modes without a parameter have no part in the mean
        known = np.isfinite(self.parameters)
        weights = np.broadcast_to(self.weights[:, None], known.shape)[known]
        energies = EV_PER_THZ * self.frequencies[known]
        # heat capacity of a mode in kB; where the exponent is cut off it is zero
        half = np.minimum(energies / (2 * units.kB * temperature), 300.0)
        capacities = (half / np.sinh(half)) ** 2
        return float(np.average(self.parameters[known], weights=weights * capacities))

    def as_dict(self) -> dict[str, Any]:
        """Report for JSON: extremes, means at temperatures, and all modes of the mesh."""
        known = self.parameters[np.isfinite(self.parameters)]
        kelvin = (100.0, 300.0, 1000.0)
        return {
            "strains": [one.strain for one in self.volumes],
            "lowest": float(known.min()),
            "highest": float(known.max()),
            "mean": {f"{t:g}_K": self.mean(t) for t in kelvin},
        }

    def rows(self) -> list[list[float]]:
        """One list for each mode: q (3), weight, frequency in THz, parameter."""
        rows = []
        for point, weight, frequencies, parameters in zip(
            self.points, self.weights, self.frequencies, self.parameters, strict=True
        ):
            for frequency, parameter in zip(frequencies, parameters, strict=True):
                rows.append([*map(float, point), float(weight), float(frequency), float(parameter)])
        return rows


def gruneisen(
    atoms: Atoms,
    supercell: Sequence[int] | Sequence[Sequence[int]] | np.ndarray = (2, 2, 2),
    *,
    strain: float = STRAIN,
    pressure: float = 0.0,
    mesh: Sequence[int] = (21, 21, 21),
    displacement: float = 0.01,
    symmetry: bool = True,
    tolerance: float | None = None,
    fmax: float = 1e-4,
    limits: bool = True,
    on_progress: OnProgress | None = None,
    executor: Any = None,
) -> Gruneisen:
    """Mode Grueneisen parameters of a crystal that is relaxed at `pressure`.

    Phonons are computed at the relaxed volume, at a smaller and at a larger one; at each the atoms
    and the shape of the cell are relaxed. The parameters follow from the changes of the dynamical
    matrices (phonopy).

    Parameters
    ----------
    atoms:
        Unit cell with its calculator. Constraints are ignored, with a warning.
    supercell:
        Three repeats, or a (3, 3) matrix of integers.
    strain:
        Relative change of the cell lengths, to both sides.
    pressure:
        Pressure in GPa.
    mesh:
        Number of q-points along each reciprocal vector.
    displacement:
        Length of the displacements in A.
    symmetry:
        Use the space group. Without it, calculations take many times longer.
    tolerance:
        Tolerance of the space group in A; None: see `relax`.
    fmax:
        Largest force of the relaxations in eV/A.
    limits:
        Refuse supercells and meshes that are predicted to be too large.
    on_progress:
        Function called as on_progress(stage, steps done, number of steps or None).
    executor:
        Processes that share the volumes, see `ase_pet.executors`; None for this one.

    Raises
    ------
    ValueError
        A volume has imaginary modes, or an argument is wrong.
    NotRelaxed
        A relaxation failed.
    """
    if not 0 < strain < 0.1:
        raise ValueError(f"`strain` is {strain!r}: expected a number above 0 and below 0.1")
    check_phonons(mesh, displacement)
    volumes = relaxed_volumes(
        atoms,
        supercell,
        (-strain, 0.0, strain),
        pressure=pressure,
        symmetry=symmetry,
        tolerance=tolerance,
        fmax=fmax,
        limits=limits,
        on_progress=on_progress,
        executor=executor,
    )
    crystals = with_phonons(
        volumes,
        supercell,
        mesh=mesh,
        displacement=displacement,
        symmetry=symmetry,
        limits=limits,
        on_progress=on_progress,
        executor=executor,
    )
    from phonopy import PhonopyGruneisen

    # PhonopyGruneisen takes the larger volume first
    smaller, middle, larger = (one.phonopy for one in crystals)
    calculated = PhonopyGruneisen(middle, larger, smaller)
    calculated.set_mesh(mesh, is_gamma_center=True)
    on_mesh: Any = calculated.get_mesh()
    points, weights, frequencies, _, parameters = on_mesh
    return Gruneisen(
        points=np.asarray(points),
        weights=np.asarray(weights),
        frequencies=np.asarray(frequencies),
        parameters=np.where(np.asarray(frequencies) > LOWEST, parameters, np.nan),
        volumes=crystals,
    )


def plot_gruneisen(result: Gruneisen) -> Figure:
    """Figure of the Grueneisen parameters against frequency.

    Parameters
    ----------
    result:
        Result of `gruneisen`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    # (q, modes), one point each
    axes.plot(
        result.frequencies.ravel(), result.parameters.ravel(), ".", ms=3, label="modes of the mesh"
    )
    mean = result.mean(300.0)
    label = f"mean of the modes, weighted\nby heat capacity at 300 K: {mean:.3f}"
    axes.axhline(mean, color="C1", lw=1, ls="--", label=label)
    axes.axhline(0, color="black", lw=0.5)
    # above the axes, where it hides no mode
    axes.legend(fontsize="small", ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    axes.set(xlabel="frequency (THz)", ylabel="mode Grueneisen parameter", xlim=(0, None))
    formula = result.volumes[1].formula
    heading = f"{formula}, {name_of(result.volumes[1].atoms.calc)}"
    figure.suptitle(heading, fontsize="medium")
    return figure
