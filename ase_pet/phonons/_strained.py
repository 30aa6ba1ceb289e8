"""A crystal at several volumes, relaxed at each, with its phonons."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from .. import executors
from ..constraints import without
from . import _costs, _numbers
from ._protocols import AseCalculator, Displacement
from ._symmetry import TOLERANCE, refine, space_group
from .force_constants import DISPLACEMENTS, Crystal, forces
from .relaxation import NotRelaxed, OnStep, relax
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
    symmetry: bool = True,
    tolerance: float | None = None,
    fmax: float = 1e-4,
    limits: bool = True,
    on_progress: OnProgress | None = None,
    executor: Any = None,
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
    symmetry:
        Keep the space group.
    tolerance:
        Tolerance of the space group in A; None: see `relax`.
    fmax:
        Largest force of the relaxations in eV/A.
    limits:
        Refuse supercells that are predicted to be too large.
    on_progress:
        Function called as on_progress(stage, steps done, number of steps or None).
    executor:
        Processes that share the volumes, see `ase_pet.executors`; None for this one.

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
    Crystal(free, supercell, limits=limits)  # refuses wrong input before the relaxation

    def on_step(step: int, force: float) -> None:
        report(f"relaxation, {force:.1e} eV/A", step, None)

    at_rest = relax(
        free,
        fmax=fmax,
        symmetry=symmetry,
        tolerance=tolerance,
        pressure=pressure,
        steps=STEPS,
        on_step=on_step,
    ).atoms
    group = space_group(at_rest)
    cells = []
    for strain in strains:
        scaled = at_rest.copy()
        scaled.set_cell((1 + strain) * at_rest.cell, scale_atoms=True)
        cells.append(scaled)
    # the steps of workers are not reported
    told = on_step if executor is None else None
    of_cell = functools.partial(_relaxed, fmax=fmax, symmetry=symmetry, on_step=told)
    relaxed = executors.run(executor, atoms.calc, of_cell, cells)
    volumes = []
    for strain, (crystal, energy) in zip(strains, relaxed, strict=True):
        crystal.calc = atoms.calc
        now = space_group(crystal)
        if symmetry and now != group:
            raise ValueError(
                f"the space group is {group}, and {now} at strain {strain:g}: this is another"
                " phase; choose smaller `strains`"
            )
        volumes.append(Volume(float(strain), crystal, energy, now))
    return volumes


def check_phonons(mesh: Sequence[int], displacement: float) -> None:
    """Raise ValueError for what would fail after the relaxations.

    Parameters
    ----------
    mesh:
        Number of q-points along each reciprocal vector.
    displacement:
        Length of the displacements in A.
    """
    _numbers.mesh(mesh)
    _numbers.between("displacement", displacement, *DISPLACEMENTS, "A")


def with_phonons(
    volumes: Sequence[Volume],
    supercell: Supercell,
    *,
    mesh: Sequence[int] = (21, 21, 21),
    displacement: float = 0.01,
    symmetry: bool = True,
    limits: bool = True,
    on_progress: OnProgress | None = None,
    executor: Any = None,
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
    symmetry:
        Use the space group.
    limits:
        Refuse supercells and meshes that are predicted to be too large.
    on_progress:
        Function called as on_progress(stage, steps done, number of steps or None).
    executor:
        Processes that share the volumes, see `ase_pet.executors`; None for this one.

    Raises
    ------
    ValueError
        A crystal has imaginary modes: free energies are then meaningless.
    """
    report = on_progress or (lambda stage, done, total: None)
    points = _numbers.mesh(mesh)
    crystals = []
    displaced = []
    for volume in volumes:
        crystal = Crystal(
            volume.atoms, supercell, symmetry=symmetry, tolerance=TOLERANCE / 10, limits=limits
        )
        if limits:
            _costs.require_mesh(points, 3 * len(crystal.phonopy.primitive))
        structures = crystal.displaced(displacement)
        displaced.append((structures, crystal.moves))
        crystals.append(crystal)
    report("phonons at each volume", 0, len(volumes))
    found = executors.run(
        executor,
        volumes[0].atoms.calc,
        _displaced_forces,
        displaced,
        lambda done, total: report("phonons at each volume", done, total),
    )
    strained = []
    for volume, crystal, of_crystal in zip(volumes, crystals, found, strict=True):
        crystal.from_forces(of_crystal)
        crystal.project()
        # where imaginary modes are looked for
        crystal.phonopy.auto_band_structure(npoints=POINTS)
        crystal.phonopy.run_mesh(points, is_gamma_center=True)
        spectrum = Spectrum(crystal)
        strained.append(
            Strained(volume.strain, volume.atoms, volume.energy, spectrum, volume.space_group)
        )
    unstable = []
    for one in strained:
        modes = one.spectrum.imaginary()
        if modes:
            unstable.append(f"{one.strain:g} ({modes[0]['frequency']:.2f} THz)")
    if unstable:
        raise ValueError(
            f"imaginary modes at the strains {', '.join(unstable)}, the lowest in brackets: there"
            " is no free energy; choose other `strains`, or a larger supercell"
        )
    return strained


def _displaced_forces(
    calculator: AseCalculator, displaced: tuple[list[Atoms], list[Displacement]]
) -> list[np.ndarray]:
    """Forces (n, 3) in eV/A of displaced structures and their moves."""
    return forces(calculator, *displaced)


def _relaxed(
    calculator: AseCalculator, atoms: Atoms, fmax: float, symmetry: bool, on_step: OnStep | None
) -> tuple[Atoms, float]:
    """Structure relaxed at constant volume, within its space group if asked for; energy in eV."""
    relaxed: Atoms = atoms.copy()
    relaxed.calc = calculator
    if symmetry:
        # this also moves the atoms to exactly symmetric positions
        relaxed.set_constraint(refine(relaxed, TOLERANCE))
    target: Any = FrechetCellFilter(relaxed, constant_volume=True)
    force = np.inf
    with BFGS(target, logfile=None) as optimiser:
        for _ in optimiser.irun(fmax=fmax, steps=STEPS):
            # forces (n, 3) on atoms, and (3, 3) on the cell
            force = float(np.linalg.norm(target.get_forces(), axis=1).max())
            _numbers.require_finite("forces or a stress", force, f"in step {optimiser.nsteps}")
            if on_step is not None:
                on_step(optimiser.nsteps, force)
    if not force <= fmax:
        raise NotRelaxed(
            f"not converged: the largest force is {force:.2g} eV/A after {STEPS} steps, and not the"
            f" {fmax:g} that was asked for: start nearer to a minimum, or use float64"
        )
    relaxed.set_constraint()
    energy = float(relaxed.get_potential_energy())
    # a calculator would travel with the atoms
    relaxed.calc = None
    return relaxed, energy
