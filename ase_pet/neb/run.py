"""Minimum-energy paths by nudged elastic bands (ASE), with one calculator for all images."""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import minimize_rotation_and_translation
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.trajectory import Trajectory
from ase.mep import NEB
from ase.optimize import BFGS
from ase.utils.forcecurve import fit_images

from ..choices import one_of
from ..constraints import require_satisfied
from ..display import Displayed
from ..phonons import relax
from ..phonons._protocols import SupportsBatches
from ..phonons.run import name_of
from . import ends

INTERPOLATIONS = ("idpp", "linear")
TRAJECTORY = "neb.traj"
MOST_IMAGES = 1000
CLIMB_BELOW = 5.0  # times fmax: the highest image climbs once the forces on the band are below

OnStep = Callable[[int, float], object]


@dataclass(frozen=True, repr=False)
class Band(
    Displayed,
    shows={
        "barrier": "{} eV",
        "reverse_barrier": "{} eV",
        "energy_change": "{} eV",
        "largest_force": "{} eV/A",
        "converged": "{}",
        "steps": "{}",
    },
):
    """Result of a nudged elastic band.

    Attributes
    ----------
    images:
        Structures along the path with energies and forces, first and last included.
    barrier:
        Highest energy of the path minus that of the first structure, in eV, of a cubic fit to
        energies and forces of the images.
    reverse_barrier:
        The same from the last structure, in eV.
    energy_change:
        Energy of the last structure minus that of the first in eV.
    highest_image:
        Index of the image of highest energy.
    largest_force:
        Largest force on the band in eV/A: perpendicular to it, and on the climbing image the whole.
    end_forces:
        Largest force of first and last structure in eV/A.
    converged:
        Whether the largest force reached `fmax`.
    climbing:
        Whether the highest image climbed to the saddle point.
    steps:
        Steps of the optimiser.
    calculator:
        Name of the calculator.
    """

    images: list[Atoms]
    barrier: float
    reverse_barrier: float
    energy_change: float
    highest_image: int
    largest_force: float
    end_forces: tuple[float, float]
    converged: bool
    climbing: bool
    steps: int
    calculator: str

    def as_dict(self) -> dict[str, Any]:
        """Report for JSON, with energies in eV relative to the first and path lengths in A."""
        fit = fit_images(self.images)
        return {
            "converged": self.converged,
            "calculator": self.calculator,
            "barrier": self.barrier,
            "reverse_barrier": self.reverse_barrier,
            "energy_change": self.energy_change,
            "highest_image": self.highest_image,
            "largest_force": self.largest_force,
            "end_forces": list(self.end_forces),
            "climbing": self.climbing,
            "steps": self.steps,
            "images": len(self.images),
            "path": np.asarray(fit.path).tolist(),
            "energies": np.asarray(fit.energies).tolist(),
        }


class _SharedNEB(NEB):
    """Band whose images are evaluated by one calculator, all of them in a batch if it has that."""

    def __init__(self, images: list[Atoms], calculator: Any, climb: bool, spring: float) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            images, k=spring, climb=climb, method="improvedtangent"
        )
        self.calculator = calculator
        self.forces: tuple[np.ndarray, np.ndarray] | None = None  # positions, forces on the band

    def get_forces(self) -> np.ndarray:
        """Forces ((images - 2) n, 3) on the band in eV/A."""
        positions = self.get_positions()  # type: ignore[no-untyped-call]
        # optimisers ask more than once at the same positions
        if self.forces is not None and np.array_equal(self.forces[0], positions):
            return self.forces[1].copy()
        if _is_free(self.images[0]):
            align(self.images)
            evaluate(self.images[1:], self.calculator)
        else:
            evaluate(self.images[1:-1], self.calculator)
        forces: np.ndarray = super().get_forces()  # type: ignore[no-untyped-call]
        aligned = self.get_positions()  # type: ignore[no-untyped-call]
        self.forces = (aligned, forces.copy())
        return forces


def _is_free(atoms: Atoms) -> bool:
    """Whether a structure may turn and drift at no cost: a molecule without constraints."""
    return not atoms.pbc.any() and not atoms.constraints


def align(images: list[Atoms]) -> None:
    """Turn and shift each image so that it is as close as possible to the one before it.

    Parameters
    ----------
    images:
        Images of a molecule.
    """
    for before, image in itertools.pairwise(images):
        minimize_rotation_and_translation(before, image)


def evaluate(images: list[Atoms], calculator: Any) -> None:
    """Give each image a calculator that holds its energy and forces.

    Parameters
    ----------
    images:
        Structures.
    calculator:
        Any ASE calculator.
    """
    free = []
    for image in images:
        copy = image.copy()
        copy.set_constraint()
        free.append(copy)
    if isinstance(calculator, SupportsBatches):
        rows = calculator.evaluate(free, ("energy", "forces"))
    else:
        rows = []
        for copy in free:
            # forces first: calculators compute the energy with them
            forces = calculator.get_property("forces", copy)
            rows.append({"energy": calculator.get_property("energy", copy), "forces": forces})
    for image, row in zip(images, rows, strict=True):
        results = {"energy": row["energy"], "forces": np.array(row["forces"])}
        image.calc = SinglePointCalculator(image, **results)


def run(
    initial: Atoms,
    final: Atoms,
    *,
    images: int = 5,
    interpolation: str = "idpp",
    climb: bool = True,
    relaxed: bool = True,
    fmax: float = 0.05,
    steps: int = 500,
    spring: float = 0.1,
    folder: Path | str | None = None,
    on_step: OnStep | None = None,
) -> Band:
    """Minimum-energy path between two structures.

    The band has the constraints of `initial`. Positions are interpolated along the shortest way
    under periodic boundaries.

    Source: G. Henkelman, H. Jonsson, J. Chem. Phys. 113, 9978 (2000), doi:10.1063/1.1323224, and
    G. Henkelman, B. P. Uberuaga, H. Jonsson, J. Chem. Phys. 113, 9901 (2000),
    doi:10.1063/1.1329672, as implemented in ASE.

    Parameters
    ----------
    initial:
        First structure, with the calculator.
    final:
        Last structure: the same atoms in the same order, in the same cell.
    images:
        Number of images between them.
    interpolation:
        Start of the path: idpp (image-dependent pair potential), linear.
    climb:
        Let the highest image climb to the saddle point, once the forces are below 5 fmax.
    relaxed:
        Relax both structures first, with fixed cell, to fmax / 5.
    fmax:
        Largest force on the band in eV/A.
    steps:
        Maximum number of steps of the optimiser (BFGS).
    spring:
        Spring constant in eV/A^2.
    folder:
        Folder for neb.traj, all images of all steps, written as they come; None for no file.
    on_step:
        Function called as on_step(step, largest force on the band) after each step.

    Raises
    ------
    ValueError
        The structures are not two states of one system, or an argument is wrong.
    """
    one_of("interpolation", interpolation, INTERPOLATIONS)
    for name, value in (("images", images), ("fmax", fmax), ("steps", steps), ("spring", spring)):
        if not value > 0:
            raise ValueError(f"`{name}` is {value!r}: expected a number above 0")
    if images > MOST_IMAGES:
        raise ValueError(f"`images` is {images}: expected {MOST_IMAGES} or fewer")
    if initial.calc is None:
        raise ValueError("`initial` has no calculator: set `initial.calc`")
    ends.check(initial, final)
    calculator = initial.calc
    first, last = (_end(one, initial, fmax if relaxed else None) for one in (initial, final))
    if _is_free(initial):
        align([first, last])
    ends.unwrap(first, last)
    ends.check_distance(first, last)
    band = [first.copy() for _ in range(images + 1)] + [last.copy()]
    evaluate([band[0], band[-1]], calculator)
    end_forces = (_largest(band[0]), _largest(band[-1]))
    if max(end_forces) > 2 * fmax:
        warnings.warn(
            f"first and last structure have forces of {end_forces[0]:.2g} and {end_forces[1]:.2g}"
            " eV/A: the barrier is not that between two minima; relax them",
            stacklevel=2,
        )
    path = NEB(band, method="improvedtangent")
    path.interpolate(interpolation, apply_constraint=True)
    with _trajectory(folder) as write_band:

        def after_step(neb: _SharedNEB, step: int, force: float) -> None:
            write_band(neb.images)
            if on_step is not None:
                on_step(step, force)

        # a band that is far from the path climbs to a wrong place
        start = _SharedNEB(band, calculator, False, spring)
        loose = CLIMB_BELOW * fmax if climb else fmax
        made, force = _optimise(start, loose, steps, after_step, 0)
        climbing = climb and force <= loose
        if climbing:
            climber = _SharedNEB(band, calculator, True, spring)
            made, force = _optimise(climber, fmax, steps, after_step, made)
    fit = fit_images(band)
    highest = float(max(fit.fit_energies))
    change = float(fit.energies[-1])
    return Band(
        images=band,
        barrier=highest,
        reverse_barrier=highest - change,
        energy_change=change,
        highest_image=int(np.argmax(fit.energies)),
        largest_force=force,
        end_forces=end_forces,
        converged=force <= fmax and (climbing or not climb),
        climbing=climbing,
        steps=made,
        calculator=name_of(calculator),
    )


def _end(structure: Atoms, initial: Atoms, fmax: float | None) -> Atoms:
    """First or last structure with constraints and calculator of `initial`, relaxed unless None."""
    end: Atoms = structure.copy()
    end.set_constraint(initial.constraints)
    end.calc = initial.calc
    if fmax is None:
        require_satisfied(end)
        return end
    return relax(end, fmax=fmax / 5, cell=False, symmetry=False).atoms


@contextlib.contextmanager
def _trajectory(folder: Path | str | None) -> Iterator[Callable[[list[Atoms]], None]]:
    """Function that writes the images of one step to neb.traj in the folder, if there is one."""
    if folder is None:
        yield lambda images: None
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    with Trajectory(str(Path(folder) / TRAJECTORY), "w") as trajectory:

        def write_band(images: list[Atoms]) -> None:
            for image in images:
                trajectory.write(image)

        yield write_band


def _optimise(
    neb: Any,
    fmax: float,
    steps: int,
    after_step: Callable[[Any, int, float], object],
    before: int,
) -> tuple[int, float]:
    """Steps made so far, and the largest force on the band in eV/A."""
    force = np.inf
    with BFGS(neb, logfile=None) as optimiser:
        for _ in optimiser.irun(fmax=fmax, steps=max(0, steps - before)):
            # (images - 2) n forces
            force = float(np.linalg.norm(neb.get_forces(), axis=1).max())
            after_step(neb, before + optimiser.nsteps, force)
        return before + optimiser.nsteps, force


def _largest(atoms: Atoms) -> float:
    """Largest force in eV/A on an atom that may move."""
    return float(np.linalg.norm(atoms.get_forces(), axis=1).max())
