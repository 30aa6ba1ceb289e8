"""Quasi-harmonic approximation: thermal expansion and other properties at constant pressure."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms, units

from ..display import Displayed
from ._free_energy_fits import fitted
from ._ranges import checked_strains, checked_temperatures
from ._strained import Strained, Volume, check_phonons, relaxed_volumes, with_phonons
from .run import name_of

if TYPE_CHECKING:
    from phonopy.qha.qha import QHAResult

STRAINS = tuple(np.round(np.arange(-0.015, 0.0251, 0.005), 3).tolist())
EQUATIONS = ("vinet", "birch_murnaghan", "murnaghan")
J_PER_MOL = units._e * units._Nav  # in eV

OnProgress = Callable[[str, int, "int | None"], object]


@dataclass(frozen=True, repr=False)
class QuasiHarmonic(
    Displayed,
    shows={
        "temperatures": "{} K",
        "volume": "{} A^3",
        "bulk_modulus": "{} GPa",
        "gibbs": "{} eV",
        "pressure": "{} GPa",
    },
):
    """Properties of a crystal at constant pressure, for each temperature.

    Energies, volumes and heat capacities are those of the primitive cell.

    Attributes
    ----------
    temperatures:
        (T,) temperatures in K.
    volume:
        (T,) volume in A^3.
    lengths:
        (T, 3) lengths of the vectors of the unit cell in A; None for monoclinic and triclinic
        crystals, whose angles change.
    expansion:
        (T,) volumetric thermal expansion, (1/V) dV/dT, in 1/K.
    axial_expansion:
        (T, 3) linear thermal expansion along the vectors of the unit cell in 1/K, or None.
    bulk_modulus:
        (T,) isothermal bulk modulus in GPa.
    gibbs:
        (T,) Gibbs energy in eV.
    entropy:
        (T,) entropy in J/mol/K.
    heat_capacity_p:
        (T,) heat capacity at constant pressure in J/mol/K.
    heat_capacity_v:
        (T,) heat capacity at constant volume, that of the temperature, in J/mol/K.
    gruneisen:
        (T,) thermodynamic Grueneisen parameter alpha B V / C_V; nan at 0 K, where it is undefined.
    free_energies:
        (T, volumes) free energies of the volumes, with p V, in eV.
    volumes:
        The crystals at each volume, with their phonons.
    pressure:
        Pressure in GPa.
    atoms_per_cell:
        Number of atoms in the primitive cell.
    static:
        Volume (A^3), enthalpy (eV) and bulk_modulus (GPa) of the equation of state without phonons,
        and its largest_error (eV).
    facts:
        Further entries of the report.
    """

    temperatures: np.ndarray
    volume: np.ndarray
    lengths: np.ndarray | None
    expansion: np.ndarray
    axial_expansion: np.ndarray | None
    bulk_modulus: np.ndarray
    gibbs: np.ndarray
    entropy: np.ndarray
    heat_capacity_p: np.ndarray
    heat_capacity_v: np.ndarray
    gruneisen: np.ndarray
    free_energies: np.ndarray
    volumes: list[Strained]
    pressure: float
    atoms_per_cell: int
    static: dict[str, float]
    facts: dict[str, Any] = field(default_factory=dict)

    def columns(self) -> dict[str, np.ndarray]:
        """{name with unit: values (T,)}, the columns of the table."""
        # the primitive cell differs from the cell of a file: the volume per atom does not
        columns = {
            "temperature_K": self.temperatures,
            "volume_A3": self.volume,
            "volume_A3_per_atom": self.volume / self.atoms_per_cell,
            "thermal_expansion_1e-6_per_K": 1e6 * self.expansion,
            "bulk_modulus_GPa": self.bulk_modulus,
            "gibbs_energy_eV": self.gibbs,
            "entropy_J_per_mol_K": self.entropy,
            "heat_capacity_p_J_per_mol_K": self.heat_capacity_p,
            "heat_capacity_v_J_per_mol_K": self.heat_capacity_v,
            "gruneisen": self.gruneisen,
        }
        if self.lengths is not None and self.axial_expansion is not None:
            for axis, name in enumerate("abc"):
                columns[f"{name}_A"] = self.lengths[:, axis]
                columns[f"expansion_{name}_1e-6_per_K"] = 1e6 * self.axial_expansion[:, axis]
        return columns

    def as_dict(self) -> dict[str, Any]:
        """Report for JSON; what is undefined, such as a Grueneisen parameter at 0 K, is None."""
        columns = {}
        for name, values in self.columns().items():
            columns[name] = [float(value) if np.isfinite(value) else None for value in values]
        return {
            "pressure_GPa": self.pressure,
            "atoms_per_cell": self.atoms_per_cell,
            "static": self.static,
            **self.facts,
            "volumes": [one.as_dict() for one in self.volumes],
            **columns,
        }


def quasi_harmonic(
    atoms: Atoms,
    supercell: Sequence[int] | Sequence[Sequence[int]] | np.ndarray = (2, 2, 2),
    *,
    temperatures: Sequence[float] | np.ndarray = tuple(range(0, 1001, 10)),
    strains: Sequence[float] | np.ndarray = STRAINS,
    pressure: float = 0.0,
    mesh: Sequence[int] = (21, 21, 21),
    displacement: float = 0.01,
    symmetry: bool = True,
    tolerance: float | None = None,
    fmax: float = 1e-4,
    equation: str = "vinet",
    limits: bool = True,
    on_progress: OnProgress | None = None,
    executor: Any = None,
) -> QuasiHarmonic:
    """Thermal expansion, Gibbs energy, bulk modulus and heat capacity of a crystal.

    The crystal is relaxed at `pressure`, then strained. At each volume its atoms and, where the
    symmetry allows, the shape of its cell are relaxed, and its phonons computed. The free energy at
    each temperature is fitted to an equation of state. Anharmonicity at constant volume is not in
    this approximation. Use a calculator in float64.

    Source: A. Togo, I. Tanaka, Scr. Mater. 108, 1 (2015), doi:10.1016/j.scriptamat.2015.07.021, as
    implemented in phonopy.

    Parameters
    ----------
    atoms:
        Unit cell with its calculator. Constraints are ignored, with a warning.
    supercell:
        Three repeats, or a (3, 3) matrix of integers.
    temperatures:
        Temperatures in K, in ascending order. Those at which the minimum of the free energy is
        outside of the volumes are left out, with a warning.
    strains:
        Relative changes of the cell lengths, five or more.
    pressure:
        Pressure in GPa.
    mesh:
        Number of q-points along each reciprocal vector; odd numbers keep the symmetry, and are
        faster.
    displacement:
        Length of the displacements in A.
    symmetry:
        Use the space group. Without it, calculations take many times longer.
    tolerance:
        Tolerance of the space group in A; None: see `relax`.
    fmax:
        Largest force of the relaxations in eV/A.
    equation:
        Equation of state: vinet, birch_murnaghan, murnaghan.
    limits:
        Refuse supercells and meshes that are predicted to be too large.
    on_progress:
        Function called as on_progress(stage, steps done, number of steps or None).
    executor:
        Processes that share the volumes, see `ase_pet.executors`; None for this one.

    Raises
    ------
    ValueError
        A volume has imaginary modes, the minimum of the free energy is within the volumes at no
        temperature, or an argument is wrong.
    NotRelaxed
        A relaxation failed.
    """
    # bad arguments fail before the phonons are computed
    kelvin = checked_temperatures(temperatures)
    changes = checked_strains(strains)
    if equation not in EQUATIONS:
        raise ValueError(f"`equation` is {equation!r}: valid choices are {', '.join(EQUATIONS)}")
    check_phonons(mesh, displacement)
    volumes = relaxed_volumes(
        atoms,
        supercell,
        changes,
        pressure=pressure,
        symmetry=symmetry,
        tolerance=tolerance,
        fmax=fmax,
        limits=limits,
        on_progress=on_progress,
        executor=executor,
    )
    _require_minimum(volumes, pressure)
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
    result, rows = fitted(crystals, kelvin, mesh, pressure, equation)
    rows = _inside(result, crystals, rows)
    return _collected(result, crystals, rows, pressure, equation)


def _collected(
    result: QHAResult,
    crystals: list[Strained],
    rows: np.ndarray,
    pressure: float,
    equation: str,
) -> QuasiHarmonic:
    """Results at the temperatures of the rows, in the units of QuasiHarmonic."""
    kelvin = np.asarray(result.temperatures)[rows]
    volume = np.asarray(result.equilibrium_volumes)[rows]
    # (rows of the grid - 1, 5) coefficients of C_V(V): the grid starts one row earlier
    fits = np.asarray(result.heat_capacity_P.volume_cv_parameters)
    capacities = []
    for row, at in zip(rows, volume, strict=True):
        capacities.append(np.polyval(fits[row - 1], at) if row > 0 else 0.0)
    heat_capacity_v = np.array(capacities)
    moduli = np.asarray(result.bulk_moduli)[rows]  # eV/A^3
    expansion = np.asarray(result.thermal_expansion)[rows]
    gruneisen = np.full(len(rows), np.nan)
    warm = heat_capacity_v > 1e-9
    gruneisen[warm] = (expansion * moduli * volume)[warm] / heat_capacity_v[warm]
    lattice = result.lattice
    zero = crystals[0].primitive_energy
    return QuasiHarmonic(
        temperatures=kelvin,
        volume=volume,
        lengths=None if lattice is None else np.asarray(lattice.lattice_parameters)[rows],
        expansion=expansion,
        axial_expansion=(
            None if lattice is None else np.asarray(lattice.axial_thermal_expansions)[rows]
        ),
        bulk_modulus=moduli / units.GPa,
        gibbs=zero + np.asarray(result.gibbs_free_energies)[rows],
        entropy=J_PER_MOL * np.asarray(result.entropy_temperature)[rows],
        heat_capacity_p=J_PER_MOL * np.asarray(result.heat_capacity_P.heat_capacities)[rows],
        heat_capacity_v=J_PER_MOL * heat_capacity_v,
        gruneisen=gruneisen,
        free_energies=zero + np.asarray(result.helmholtz_volume)[rows],
        volumes=crystals,
        pressure=pressure,
        atoms_per_cell=len(crystals[0].phonopy.primitive),
        static=_static(crystals, pressure, equation),
        facts={
            "calculator": name_of(crystals[0].atoms.calc),
            "equation": equation,
            "space_group": crystals[0].space_group,
        },
    )


def _static(crystals: list[Strained], pressure: float, equation: str) -> dict[str, float]:
    """Equation of state of the enthalpies without phonons."""
    from phonopy.qha.eos import fit_to_eos, get_eos

    volumes = np.array([one.primitive_volume for one in crystals])
    energies = np.array([one.primitive_energy for one in crystals])
    # a large zero of energy would be noise in the fit
    relative = energies - energies[0]
    work = pressure * units.GPa * volumes
    enthalpies = relative + work
    function = get_eos(equation)
    parameters = fit_to_eos(volumes, enthalpies, function)
    fitted = function(volumes, parameters)
    errors = fitted - enthalpies
    energy, modulus, _, volume = parameters
    return {
        "volume": float(volume),
        "enthalpy": float(energy + energies[0]),
        "bulk_modulus": float(modulus / units.GPa),
        "largest_error": float(np.abs(errors).max()),
    }


def _require_minimum(volumes: list[Volume], pressure: float) -> None:
    """Raise ValueError unless the enthalpy without phonons has its minimum within the volumes."""
    enthalpies = [one.energy + pressure * units.GPa * one.atoms.get_volume() for one in volumes]
    lowest = int(np.argmin(enthalpies))
    if lowest in (0, len(volumes) - 1):
        raise ValueError(
            f"the lowest energy is at strain {volumes[lowest].strain:g}, an end of `strains`:"
            " expected volumes on both sides of the minimum"
        )


def _inside(result: QHAResult, crystals: list[Strained], rows: np.ndarray) -> np.ndarray:
    """Rows at which the free energy has its minimum within the volumes; a note names the others.

    ValueError if there is none.
    """
    volumes = [one.primitive_volume for one in crystals]
    low = min(volumes)
    high = max(volumes)
    minima = np.asarray(result.equilibrium_volumes)[rows]
    inside = (low < minima) & (minima < high)
    if inside.all():
        return rows
    first = int(np.argmin(inside))
    where = (
        f"at {result.temperatures[rows[first]]:g} K the free energy has its minimum at"
        f" {minima[first]:.3f} A^3, outside of the volumes {low:.3f} to {high:.3f} A^3: extend"
        " `strains`, or lower the highest temperature"
    )
    if not inside.any():
        raise ValueError(where)
    warnings.warn(
        f"{where}; {np.sum(~inside)} of {len(rows)} temperatures are left out", stacklevel=3
    )
    kept: np.ndarray = rows[inside]
    return kept
