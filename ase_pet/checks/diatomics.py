"""Diatomics: the energy of two atoms has one minimum and neither wiggles nor jumps.

Measures and grid are those of the diatomics task of matbench-discovery
(github.com/janosh/matbench-discovery); published models have a tortuosity of 1.003 to 1.03 and 1.3
to 1.8 flips of the energy.

Where it fails, two atoms have false minima or walls: the model does not know such distances, and is
not safe where atoms get there.
"""

import numpy as np
from ase.data import covalent_radii
from ase.data.vdw_alvarez import vdw_radii
from scipy.stats import spearmanr

from ._results import Limit, Measured, NotApplicable, Plot

LEVEL, STRUCTURES = "quick", "pair"
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
SPACING, LEAST, MOST = 0.01, 0.9, 3.1  # A, covalent radii, van der Waals radii
NO_RADIUS = 6.0  # A, the end of the curve where the van der Waals radius is not known
SMALL_ENERGY, SMALL_FORCE = 1e-3, 1e-2  # eV, eV/A: smaller ones have no sign


def measure(subject, atoms):
    """The measures of the curve of one pair of elements, from far to near."""
    distances = grid(atoms.numbers)
    structures = []
    for distance in distances:
        structures.append(atoms.copy())
        structures[-1].positions[1] = [0, 0, distance]
    energies, forces = subject.many(structures)
    force = np.array([pair[1, 2] for pair in forces])
    if np.ptp(energies) < SMALL_ENERGY:
        raise NotApplicable(f"the energy of the pair varies by less than {SMALL_ENERGY:g} eV")
    near = energies < energies[0] + 3.0  # eV: what a plot can show beside the minimum
    plot = Plot(
        "distance (A)", "energy (eV)", {"energy": (distances[near], (energies - energies[0])[near])}
    )
    for quantity, value in {
        **smoothness(energies, force),
        **agreement(distances, energies, force),
    }.items():
        yield Measured(quantity, float(value), plot=plot if quantity == "tortuosity" else None)


def grid(numbers):
    """Distances in A from 3.1 van der Waals radii to 0.9 covalent radii.

    Means over the two atoms.
    """
    ends = [
        MOST * vdw_radii[z] if z < len(vdw_radii) and np.isfinite(vdw_radii[z]) else NO_RADIUS
        for z in numbers
    ]
    start = LEAST * np.mean([covalent_radii[z] for z in numbers])
    return np.arange(start, np.mean(ends), SPACING)[::-1]


def smoothness(energies, forces):
    """{quantity: value} of a curve from far to near.

    Energies in eV, forces in eV/A that repel where positive.
    """
    steps = np.diff(energies)
    visible = steps[np.abs(steps) >= SMALL_ENERGY]
    lowest = energies.min()
    signs = np.sign(forces[np.abs(forces) >= SMALL_FORCE])
    return {
        "tortuosity": (
            np.abs(steps).sum() / (abs(energies[0] - lowest) + abs(energies[-1] - lowest))
        ),
        "energy flips": np.count_nonzero(np.diff(np.sign(visible))),
        "energy jump": _at_flips(visible),
        "force flips": np.count_nonzero(np.diff(signs)),
        "force jump": _at_flips(np.diff(forces)),
    }


def agreement(distances, energies, forces):
    """{quantity: value}: mean of |F + dE/dr|.

    How far the energy is from rising with each step out of the minimum.
    """
    bottom = int(energies.argmin())
    sides = {"repulsive": slice(bottom, None), "attractive": slice(None, bottom + 1)}
    ranks = {name: _rank(distances[side], energies[side]) for name, side in sides.items()}
    return {
        "|F + dE/dr|": np.abs(forces + np.gradient(energies, distances)).mean(),
        "1 + Spearman, repulsive side": 1 + ranks["repulsive"],
        "1 - Spearman, attractive side": 1 - ranks["attractive"],
    }


def _at_flips(steps):
    """Sum of the steps before and after each change of sign."""
    flips = np.diff(np.sign(steps)) != 0
    return np.abs(steps[:-1][flips]).sum() + np.abs(steps[1:][flips]).sum()


def _rank(distances, energies):
    """Rank correlation; 0 where a side has no points or no variation."""
    return (
        spearmanr(distances, energies).statistic
        if len(energies) > 2 and np.ptp(energies) > 0
        else 0.0
    )


def broken(calculate):
    """Energy and forces that are multiplied by a wave in the distance."""

    def wrong(atoms):
        results = calculate(atoms)
        wave = 1 + 2 * np.sin(2 * np.pi * atoms.get_distance(0, 1) / 0.4)
        return results | {name: wave * results[name] for name in ("energy", "forces")}

    return wrong
