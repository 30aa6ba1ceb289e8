"""Diatomics: the energy of two atoms has one minimum, and does not oscillate or jump.

Quantities and grid are those of the diatomics task of matbench-discovery
(github.com/janosh/matbench-discovery); published models have a tortuosity of 1.003 to 1.03 and 1.3
to 1.8 flips of the energy.

What helps: training with pairs of atoms at short distances and a ZBL repulsion (`zbl = true` in the
recipe).

Where it fails, two atoms have false minima or barriers: the model does not know such distances, and
is not safe where atoms come that close.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.data.vdw_alvarez import vdw_radii
from scipy.stats import spearmanr

from ._check import Calculate, Properties
from ._results import Limit, Measured, NotApplicable, Plot
from ._structures import at_distances
from ._subject import Subject, extreme

LEVEL = "quick"
STRUCTURES = "pair"
LIMITS = {
    "tortuosity": Limit("", float64=1.05, float32=1.05),
    "energy flips": Limit("", float64=1.0, float32=1.0),
    "energy jump": Limit("eV", float64=0.05, float32=0.05),
    "force flips": Limit("", float64=1.0, float32=1.0),
    "force jump": Limit("eV/A", float64=1.0, float32=1.0),
    "|F + dE/dr|": Limit("eV/A"),
    "1 + Spearman, repulsive side": Limit(""),
    "1 - Spearman, attractive side": Limit(""),
}
SPACING = 0.01  # A
LEAST = 0.9  # covalent radii
MOST = 3.1  # van der Waals radii
NO_RADIUS = 6.0  # A, the end of the curve where the van der Waals radius is not known
SMALL_ENERGY = 1e-3  # eV: smaller changes have no sign
SMALL_FORCE = 1e-2  # eV/A: smaller forces have no sign
PLOTTED_ENERGY = 3.0  # eV above that of separate atoms, up to which the minimum is visible


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield the properties of the energy curve of a pair `atoms`, evaluated by `subject`."""
    distances = grid(atoms.numbers)
    structures = at_distances(atoms, distances)
    with extreme("two atoms at some distances"):
        energies, forces = subject.energies_and_forces(structures)
    # The second atom is on the z axis: a positive force on it repels.
    radial_forces = np.array([pair[1, 2] for pair in forces])
    spread = np.ptp(energies)
    if spread < SMALL_ENERGY:
        raise NotApplicable(f"the energy of the pair varies by less than {SMALL_ENERGY:g} eV")
    values = smoothness(energies, radial_forces)
    values |= agreement(distances, energies, radial_forces)
    plots = {"tortuosity": _plot(distances, energies)}
    for quantity, value in values.items():
        yield Measured(quantity, float(value), plot=plots.get(quantity))


def _plot(distances: np.ndarray, energies: np.ndarray) -> Plot:
    shown = energies < energies[0] + PLOTTED_ENERGY
    curve = (distances[shown], (energies - energies[0])[shown])
    return Plot("distance (A)", "energy (eV)", {"energy": curve})


def grid(numbers: Sequence[int] | np.ndarray) -> np.ndarray:
    """Decreasing distances (m,) in A, from 3.1 van der Waals radii to 0.9 covalent radii.

    Parameters
    ----------
    numbers:
        Atomic numbers (2,) of the pair, over whose radii the mean is taken.
    """
    start = LEAST * np.mean([covalent_radii[z] for z in numbers])
    end = np.mean([_longest(z) for z in numbers])
    return np.arange(start, end, SPACING)[::-1]


def _longest(number: int) -> float:
    """Longest distance in A for an element; ASE's table has no radii of some heavy ones."""
    if number >= len(vdw_radii) or not np.isfinite(vdw_radii[number]):
        return NO_RADIUS
    return MOST * float(vdw_radii[number])


def smoothness(energies: np.ndarray, forces: np.ndarray) -> dict[str, float]:
    """{quantity: value}: tortuosity, numbers of flips, and jumps at flips, of a curve.

    The tortuosity is the sum of all |dE| over what a curve with one minimum needs.

    Parameters
    ----------
    energies:
        Energies (m,) in eV at decreasing distances.
    forces:
        Radial forces (m,) in eV/A, which repel where positive.
    """
    steps = np.diff(energies)
    lowest = energies.min()
    shortest = abs(energies[0] - lowest) + abs(energies[-1] - lowest)
    step_sizes = np.abs(steps)
    force_steps = np.diff(forces)
    # Rounding changes the signs of small numbers.
    visible_steps = steps[step_sizes >= SMALL_ENERGY]
    visible_forces = forces[np.abs(forces) >= SMALL_FORCE]
    energy_signs = np.sign(visible_steps)
    force_signs = np.sign(visible_forces)
    return {
        "tortuosity": step_sizes.sum() / shortest,
        "energy flips": np.count_nonzero(np.diff(energy_signs)),
        "energy jump": _sum_at_flips(visible_steps),
        "force flips": np.count_nonzero(np.diff(force_signs)),
        "force jump": _sum_at_flips(force_steps),
    }


def agreement(distances: np.ndarray, energies: np.ndarray, forces: np.ndarray) -> dict[str, float]:
    """{quantity: value}: mean of |F + dE/dr|, and rank correlations on both sides of the minimum.

    An energy that rises with each step away from the minimum has rank correlations of -1 and 1.

    Parameters
    ----------
    distances:
        Decreasing distances (m,) in A.
    energies:
        Energies (m,) in eV.
    forces:
        Radial forces (m,) in eV/A.
    """
    bottom = int(energies.argmin())
    # Distances decrease: the repulsive side comes last. Both sides include the minimum.
    repulsive = _rank_correlation(distances[bottom:], energies[bottom:])
    attractive = _rank_correlation(distances[: bottom + 1], energies[: bottom + 1])
    slopes = np.gradient(energies, distances)
    return {
        "|F + dE/dr|": np.abs(forces + slopes).mean(),
        "1 + Spearman, repulsive side": 1 + repulsive,
        "1 - Spearman, attractive side": 1 - attractive,
    }


def _sum_at_flips(steps: np.ndarray) -> float:
    """Sum of |step| before and after each change of sign of steps (m,)."""
    flips = np.diff(np.sign(steps)) != 0
    before = np.abs(steps[:-1][flips]).sum()
    after = np.abs(steps[1:][flips]).sum()
    return float(before + after)


def _rank_correlation(distances: np.ndarray, energies: np.ndarray) -> float:
    """Spearman's rank correlation; 0 where a side has too few points or no variation."""
    if len(energies) <= 2 or np.ptp(energies) == 0:
        return 0.0
    return float(spearmanr(distances, energies).statistic)


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with energy and forces multiplied by a wave in the distance."""

    def wrong(atoms: Atoms) -> Properties:
        properties = calculate(atoms)
        wave = 1 + 2 * np.sin(2 * np.pi * atoms.get_distance(0, 1) / 0.4)
        return properties | {name: wave * properties[name] for name in ("energy", "forces")}

    return wrong
