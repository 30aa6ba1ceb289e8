"""A crystal at several volumes, relaxed at each, with its phonons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms, units
from ase.constraints import FixSymmetry
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from ..constraints import without
from .force_constants import Crystal, forces
from .relaxation import TOLERANCE, NotRelaxed, space_group
from .spectrum import Spectrum

if TYPE_CHECKING:
    from phonopy import Phonopy

STEPS = 500
POINTS = 11  # q-points on the longest segment of the bands, where imaginary modes are looked for

Supercell = Sequence[int] | Sequence[Sequence[int]] | np.ndarray
OnProgress = Callable[[str, int, "int | None"], object]


@dataclass(frozen=True)
class Strained:
    """A crystal at one volume.

    Attributes
    ----------
    strain:
        Relative change of the lengths of the cell.
    atoms:
        Unit cell, relaxed at this volume.
    energy:
        Its energy without phonons in eV.
    spectrum:
        Its phonons.
    space_group:
        Such as "Fd-3m (227)".
    """

    strain: float
    atoms: Atoms
    energy: float
    spectrum: Spectrum
    space_group: str

    @property
    def phonopy(self) -> Phonopy:
        """Phonopy object with force constants."""
        return self.spectrum.phonopy

    @property
    def formula(self) -> str:
        """Formula of the crystal, such as "NaCl"."""
        return str(self.atoms.get_chemical_formula(empirical=True))

    @property
    def primitive_volume(self) -> float:
        """Volume of the primitive cell in A^3."""
        return float(self.phonopy.primitive.volume)

    @property
    def primitive_energy(self) -> float:
        """Energy of the primitive cell without phonons in eV."""
        return self.energy * len(self.phonopy.primitive) / len(self.atoms)

    def as_dict(self) -> dict[str, Any]:
        """The numbers, for JSON: those of the primitive cell."""
        return {
            "strain": self.strain,
            "volume": self.primitive_volume,
            "energy": self.primitive_energy,
            "cell": [round(float(value), 10) for value in self.atoms.cell.cellpar()],
            "lowest_frequency": float(self.spectrum.frequencies.min()),
            "highest_frequency": float(self.spectrum.frequencies.max()),
        }


@dataclass(frozen=True)
class Volume:
    """A crystal at one volume, before its phonons are known.

    Attributes
    ----------
    strain:
        Relative change of the lengths of the cell.
    atoms:
        Unit cell, relaxed at this volume, with its calculator.
    energy:
        Its energy in eV.
    space_group:
        Such as "Fd-3m (227)".
    """

    strain: float
    atoms: Atoms
    energy: float
    space_group: str


def relaxed_volumes(
    atoms: Atoms,
    supercell: Supercell,
    strains: Sequence[float] | np.ndarray,
    *,
    pressure: float = 0.0,
    fmax: float = 1e-4,
    on_progress: OnProgress | None = None,
) -> list[Volume]:
    """The crystal at each strain of the cell that is relaxed at `pressure`.

    Parameters
    ----------
    atoms:
        Unit cell with its calculator.
    supercell:
        Three repeats, or a (3, 3) matrix of integers.
    strains:
        Relative changes of the cell lengths.
    pressure:
        Pressure in GPa.
    fmax:
        Largest force of the relaxations in eV/A.
    on_progress:
        Function called as on_progress(stage, steps done, number of steps or None).

    Raises
    ------
    ValueError
        A strained crystal has another space group.
    NotRelaxed
        A relaxation failed.
    """
    if atoms.calc is None:
        raise ValueError("`atoms` has no calculator: set `atoms.calc`")
    if not atoms.pbc.all():
        raise ValueError(
            f"`pbc` is {atoms.pbc.tolist()}: volumes and pressures are those of crystals, with"
            " three periodic directions"
        )
    if not np.isfinite(pressure):
        raise ValueError(f"`pressure` is {pressure!r}: expected a number in GPa")
    report = on_progress or (lambda stage, done, total: None)
    free = without(atoms, "phonons at several volumes")
    Crystal(free, supercell)  # refuses wrong input before the relaxation
    at_rest = _relaxed(free, fmax, report, pressure=pressure)
    group = space_group(at_rest)
    volumes = []
    for strain in strains:
        scaled = at_rest.copy()
        scaled.calc = atoms.calc
        scaled.set_cell((1 + strain) * at_rest.cell, scale_atoms=True)
        crystal = _relaxed(scaled, fmax, report)
        now = space_group(crystal)
        if now != group:
            raise ValueError(
                f"the space group is {group}, and {now} at strain {strain:g}: this is another"
                " phase; choose smaller `strains`"
            )
        energy = float(crystal.get_potential_energy())
        volumes.append(Volume(float(strain), crystal, energy, group))
    return volumes


def with_phonons(
    volumes: Sequence[Volume],
    supercell: Supercell,
    *,
    mesh: Sequence[int] = (21, 21, 21),
    displacement: float = 0.01,
    on_progress: OnProgress | None = None,
) -> list[Strained]:
    """The crystals with their phonons.

    Parameters
    ----------
    volumes:
        Result of `relaxed_volumes`.
    supercell:
        Three repeats, or a (3, 3) matrix of integers.
    mesh:
        Number of q-points along each reciprocal vector.
    displacement:
        Length of the displacements in A.
    on_progress:
        Function called as on_progress(stage, steps done, number of steps or None).

    Raises
    ------
    ValueError
        A crystal has imaginary modes: free energies are then meaningless.
    """
    report = on_progress or (lambda stage, done, total: None)
    crystals = []
    for number, volume in enumerate(volumes):
        report("phonons at each volume", number, len(volumes))
        crystal = Crystal(volume.atoms, supercell, tolerance=TOLERANCE / 10)
        structures = crystal.displaced(displacement)
        crystal.from_forces(forces(volume.atoms.calc, structures, crystal.moves))
        crystal.project()
        spectrum = Spectrum(crystal)
        spectrum.compute(mesh, temperature_max=10.0, points=POINTS)
        crystals.append(
            Strained(volume.strain, volume.atoms, volume.energy, spectrum, volume.space_group)
        )
    unstable = []
    for one in crystals:
        modes = one.spectrum.imaginary()
        if modes:
            unstable.append(f"{one.strain:g} ({modes[0]['frequency']:.2f} THz)")
    if unstable:
        raise ValueError(
            f"imaginary modes at the strains {', '.join(unstable)}, the lowest in brackets: there"
            " is no free energy; choose other `strains`, or a larger supercell"
        )
    return crystals


def _relaxed(atoms: Atoms, fmax: float, report: OnProgress, pressure: float | None = None) -> Atoms:
    """Structure relaxed within its space group: at a pressure in GPa, or at constant volume."""
    relaxed: Atoms = atoms.copy()
    relaxed.calc = atoms.calc
    # this also moves the atoms to exactly symmetric positions
    relaxed.set_constraint(FixSymmetry(relaxed, symprec=TOLERANCE))
    target: Any
    if pressure is None:
        target = FrechetCellFilter(relaxed, constant_volume=True)
    else:
        target = FrechetCellFilter(relaxed, scalar_pressure=pressure * units.GPa)
    with BFGS(target, logfile=None) as optimiser:
        optimiser.attach(lambda: report("relaxation", optimiser.nsteps, None))
        if not optimiser.run(fmax=fmax, steps=STEPS):
            raise NotRelaxed(
                f"the forces are not below {fmax:g} eV/A after {STEPS} steps: start nearer to a"
                " minimum, raise `fmax`, or use float64"
            )
    relaxed.set_constraint()
    return relaxed
