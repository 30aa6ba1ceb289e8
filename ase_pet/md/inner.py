"""Inner steps of a run: the calculator of cheap forces, and whether M inner steps are too many.

Before the first step of a run, two things are measured. The rms of the energy of a few outer steps
in NVE is compared with that of the inner calculator alone, whose energy fluctuates as that of any
dynamics with this time step: what is above it comes from the slow forces. And the outer step is
compared with the fastest vibration: kicks once in half of its period are in resonance with it.
"""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.mixing import LinearCombinationCalculator
from ase.md.md import MolecularDynamics
from ase.md.verlet import VelocityVerlet

from ..calculator import PETCalculator
from ..constraints import motion
from ..errors import error_text
from ..statistics import fit_line
from . import state as states
from ._protocols import AseCalculator
from .multiple_time_step import MultipleTimeStep
from .settings import Settings

FILE = "inner_steps.json"
PLAIN = "plain"
OUTER_STEPS = 8  # of the measurement
TOO_LARGE = 2.0  # ratio of the rms of the energy to that with the inner forces alone
SMALLEST_RMS = 1e-3  # meV/atom, below which ratios mean nothing
NEAR_RESONANCE = 0.85  # of half of the period of the fastest vibration
SEARCHES = 15  # iterations for the fastest vibration
DISPLACEMENT = 1e-2  # A, of the atom that moves most, for differences of forces


def calculator(inner: Any, outer: AseCalculator | None) -> AseCalculator:
    """Calculator of the cheap forces.

    Parameters
    ----------
    inner:
        "plain" for the model of `outer` without its symmetriser, name or path of another
        calculator, or an ASE calculator.
    outer:
        Calculator of the full forces; a sum of calculators may hold that of this package.

    Raises
    ------
    ValueError
        `outer` has no plain form, or there is no such calculator.
    """
    if not isinstance(inner, str | Path):
        chosen: AseCalculator = inner
        return chosen
    whole = _of_this_package(outer)
    if inner == PLAIN:
        return _plain(whole)
    device = "auto" if whole is None else whole.parameters["device"]
    return PETCalculator(inner, device=device)


def _of_this_package(outer: AseCalculator | None) -> PETCalculator | None:
    """The PETCalculator itself, or the one that is part of a sum, None without any."""
    if isinstance(outer, PETCalculator):
        return outer
    if isinstance(outer, LinearCombinationCalculator):
        parts = [_of_this_package(part) for part in outer.mixer.calcs]
        return next((part for part in parts if part is not None), None)
    return None


def _plain(whole: PETCalculator | None) -> PETCalculator:
    """The model of a calculator without its symmetriser, and without actions on uncertainty."""
    if whole is None:
        raise ValueError(
            "`inner` is 'plain', but the calculator is not one of this package: give the name or"
            " path of a calculator, or an ASE calculator of cheap forces (`fast`, --fast)"
        )
    if not whole.model.is_symmetrised:
        raise ValueError(
            "`inner` is 'plain', but the calculator is not symmetrised: its plain form is itself."
            " Give `symmetrise`, such as 'ecse' or 'group:O', or leave out the inner steps"
        )
    card = whole.card
    if card.provenance.get("augmentation") == "frames":
        raise ValueError(
            f"`inner` is 'plain', but `{card.name}` was trained in the frames of"
            f" {card.symmetrise!r} and means nothing outside them: give another calculator of the"
            " same system, such as ethanol-ponita for ethanol"
        )
    arguments = whole.todict() | {"symmetrise": "none", "uncertainty": "off"}
    model: Any = arguments.pop("model", None)
    if model is None:
        # made from a module, which has no name to load it by
        model = whole.model.model
    return PETCalculator(model, **arguments)


def check(dynamics: MolecularDynamics, fast: AseCalculator) -> None:
    """Raise ValueError if the inner calculator has no valid forces for the atoms of a run.

    Parameters
    ----------
    dynamics:
        Integrator with its atoms.
    fast:
        Calculator of the cheap forces.
    """
    atoms = dynamics.atoms.copy()
    try:
        forces = np.asarray(fast.get_property("forces", atoms))
    except (OSError, MemoryError):
        raise
    except Exception as error:  # calculators raise what they like
        raise ValueError(f"the inner calculator cannot be used: {error_text(error)}") from error
    if forces.shape != atoms.positions.shape or not np.isfinite(forces).all():
        raise ValueError(
            f"the inner calculator cannot be used: expected finite forces {atoms.positions.shape},"
            f" got an array {forces.shape}, or numbers that are not finite"
        )


def examine(atoms: Atoms, settings: Settings, fast: AseCalculator) -> dict[str, Any]:
    """What was measured about the inner steps; warns if they are too many.

    `rms_meV_per_atom` of the energy in NVE about a straight line, `rms_inner_meV_per_atom` of the
    energy of the inner calculator alone, their `ratio`, `doubles_at_steps` (an estimate from the
    part that grows with the square of M), `fastest_vibration_THz`, and `outer_step_fs`. What
    cannot be measured is None, and `notes` says so.

    Parameters
    ----------
    atoms:
        Structure with its calculator and momenta; it does not change.
    settings:
        Settings of the run.
    fast:
        Calculator of the cheap forces.
    """
    several = settings.multiple
    notes: list[str] = []
    timestep = settings.timestep * units.fs
    outer = MultipleTimeStep(_copy(atoms, atoms.calc), timestep, fast, several)
    inner = VelocityVerlet(_copy(atoms, fast), timestep)
    rms = _rms(outer, 1)
    reference = _rms(inner, several)
    highest = _fastest_vibration(atoms, fast)
    # a run begins without anything that was computed here, as one that is continued does
    for used in (atoms.calc, fast):
        states.reset(used)
    ratio = None
    limit = None
    if reference is None or not math.isfinite(reference):
        notes.append("the inner calculator has no energy that could be compared")
    elif rms is not None:
        ratio = max(rms, SMALLEST_RMS) / max(reference, SMALLEST_RMS)
        limit = _doubling(several, ratio)
    notes += _warnings(settings, ratio, limit, highest)
    result = {
        "inner_steps": several,
        "outer_step_fs": several * settings.timestep,
        "rms_meV_per_atom": rms,
        "rms_inner_meV_per_atom": reference,
        "ratio": ratio,
        "doubles_at_steps": limit,
        "fastest_vibration_THz": highest,
        "notes": notes,
    }
    for note in notes:
        warnings.warn(f"inner steps: {note}", stacklevel=4)
    return result


def write(folder: Path, result: dict[str, Any]) -> None:
    """Write what was measured into the folder of a run.

    Parameters
    ----------
    folder:
        Folder of the run.
    result:
        Result of `examine`.
    """
    finite = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in result.items()
    }
    (folder / FILE).write_text(json.dumps(finite, indent=1) + "\n", encoding="utf-8")


def read(folder: Path) -> dict[str, Any]:
    """What was measured about the inner steps of the run in a `folder`, {} if nothing was."""
    path = folder / FILE
    if not path.exists():
        return {}
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _copy(atoms: Atoms, calc: Any) -> Atoms:
    copy: Atoms = atoms.copy()
    copy.calc = calc
    return copy


def _rms(dynamics: MolecularDynamics, interval: int) -> float | None:
    """RMS of the energy about a line in meV/atom, inf if unstable, None if there is no energy."""
    atoms = dynamics.atoms
    energies = []
    try:
        energies.append(atoms.get_total_energy())
        for _ in range(OUTER_STEPS):
            dynamics.run(interval)
            energies.append(atoms.get_total_energy())
    except PropertyNotImplementedError:
        return None
    except ValueError:  # calculators refuse structures that make no sense
        return math.inf
    if not np.isfinite(energies).all():
        return math.inf
    line = fit_line(np.arange(len(energies), dtype=float), np.array(energies))
    return float(1000 * line.rms / len(atoms))


def _doubling(several: int, ratio: float) -> int | None:
    """Number of inner steps at which the rms is twice that of the inner calculator.

    rms^2 = reference^2 (1 + (c M^2)^2) for an integrator of second order; None if the part of the
    slow forces is too small to be measured.
    """
    if not math.isfinite(ratio):
        return 1
    slow = ratio**2 - 1
    if slow < 0.01:
        return None
    factor = (TOO_LARGE**2 - 1) / slow
    return max(1, int(several * factor**0.25))


def _warnings(
    settings: Settings, ratio: float | None, limit: int | None, highest: float | None
) -> list[str]:
    """Sentences about inner steps that are too many."""
    texts = []
    several = settings.multiple
    if ratio is not None and ratio > TOO_LARGE:
        change = f"{ratio:.3g} times" if math.isfinite(ratio) else "without bound, not as"
        advice = f"at most {limit}" if limit is not None and limit > 1 else "none"
        texts.append(
            f"with {several} of them the energy of the first {OUTER_STEPS} outer steps fluctuates"
            f" {change} that of the inner calculator alone: use {advice}"
        )
    if highest:
        half_period = 500 / highest  # fs
        outer = several * settings.timestep
        if outer > NEAR_RESONANCE * half_period:
            most = int(NEAR_RESONANCE * half_period / settings.timestep)
            advice = f"at most {most}" if most > 1 else "none"
            texts.append(
                f"an outer step of {outer:g} fs is in resonance with the fastest vibration of"
                f" {highest:.3g} THz, half of whose period is {half_period:.3g} fs: use {advice}"
            )
    return texts


def _fastest_vibration(atoms: Atoms, fast: AseCalculator) -> float | None:
    """Frequency in THz of the fastest vibration of the inner calculator, None if there is none.

    The largest eigenvalue of H = -M^-1/2 dF/dx M^-1/2 by the method of Lanczos, with products of H
    and vectors from differences of forces.
    """
    root = np.sqrt(atoms.get_masses())[:, None]  # (n, 1)
    moved = _copy(atoms, fast)
    moved.set_constraint()
    start = atoms.get_positions()

    def allowed(vector: np.ndarray) -> np.ndarray:
        # momenta are root * vector
        return np.asarray(motion.project(atoms, root * vector) / root)

    def product(vector: np.ndarray) -> np.ndarray:
        direction = vector / root
        scale = DISPLACEMENT / np.abs(direction).max()
        forces = []
        for sign in (1, -1):
            moved.set_positions(start + sign * scale * direction)
            forces.append(moved.get_forces())
        return allowed(-(forces[0] - forces[1]) / (2 * scale) / root)

    rng = np.random.default_rng(0)
    vector = allowed(rng.standard_normal(start.shape))
    basis: list[np.ndarray] = []
    images: list[np.ndarray] = []
    for _ in range(min(SEARCHES, start.size)):
        for other in basis:
            vector = vector - (vector * other).sum() * other
        length = np.linalg.norm(vector)
        if not length > 1e-9:
            break
        basis.append(vector / length)
        vector = product(basis[-1])
        images.append(vector)
    flat = np.array([each.ravel() for each in basis])
    matrix = flat @ np.array([each.ravel() for each in images]).T  # (k, k)
    largest = float(np.linalg.eigvalsh((matrix + matrix.T) / 2).max())
    if not largest > 0:
        return None
    # ASE's unit of time is fs * units.fs; 1 / fs is 1000 THz
    return float(1000 * units.fs * math.sqrt(largest) / (2 * math.pi))
