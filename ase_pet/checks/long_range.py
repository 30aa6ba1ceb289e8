"""Long range: forces between two distant groups of atoms fall at least as those between charges.

Forces between charges fall with 1/r^2, all others faster. An interaction that begins, grows or
stays constant beyond 14 A has no physical cause.

What helps: an interaction that ends at its cutoff; training data with separate molecules; for
electrostatics, charges that do not depend on the distance of the groups.

Where it fails, separate molecules attract or repel each other over empty space, and gases and
solutions cluster.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms

from ._check import Calculate, Properties
from ._equivariance import altered
from ._results import Limit, Measured, Plot, worst_index
from ._subject import Subject, extreme

LEVEL = "quick"
STRUCTURES = "free"
LIMITS = {
    "force": Limit("eV/A", float64=1e-8, float32=1e-4),
    "energy": Limit("meV", float64=1e-5, float32=1e-1),
}
NEAR = np.arange(10.0, 14.1, 0.5)  # A between the groups: the reference
DISTANT = {  # A between the groups, by subject.full
    False: np.array([*np.arange(15.0, 41.0), *np.arange(45.0, 101.0, 5.0)]),
    True: np.array([*np.arange(14.25, 60.0, 0.25), *np.arange(60.0, 201.0, 2.0)]),
}
BROKEN_START = 20.0  # A
BROKEN_PULL = 1e-3  # eV/A
MARGIN = 1.2  # factor over the law of charges, for groups that are not points


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield how far forces and energies of two distant copies of `atoms` exceed the law of charges.

    The forces are those of `subject` on one group minus those on it alone. The law is the largest
    one between 10 and 14 A, F0 at r0, times (r0 / r)^2 for forces and r0 / r for energies.
    """
    reach = 2.0 * (subject.cutoff or 0.0)
    start = max(NEAR[0], reach)
    near = NEAR + (start - NEAR[0])
    distant = DISTANT[subject.full] + (start - NEAR[0])
    gaps = np.concatenate([near, distant])
    energies, forces = _interactions(subject, atoms, gaps)
    noise = subject.noise
    of_both = 1e3 * noise.energy * 2 * len(atoms)  # meV

    count = len(near)
    ratio = start / distant
    plot = Plot("gap (A)", "force (eV/A)", {"force": (gaps, forces)})
    law = MARGIN * forces[:count].max() * ratio**2
    excess, note = _largest(distant, forces[count:] - law)
    yield Measured("force", excess, note, plot, noise=noise.forces)
    law = MARGIN * energies[:count].max() * ratio
    excess, note = _largest(distant, energies[count:] - law)
    yield Measured("energy", 1e3 * excess, note, noise=of_both)


def _largest(distances: np.ndarray, excess: np.ndarray) -> tuple[float, str]:
    """Largest excess over a law, at least 0, and a note of its distance."""
    worst = worst_index(excess)
    value = float(np.maximum(excess[worst], 0.0))
    return value, f"at {distances[worst]:.0f} A"


def _interactions(
    subject: Subject, atoms: Atoms, gaps: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Moduli (m,) of interaction energies in eV, and of forces in eV/A, of copies at gaps in A."""
    other = atoms.copy()
    other.positions[:] = other.positions[:, [1, 2, 0]]  # a rotation by 120 degrees
    structures = [_apart(atoms, other, gap) for gap in gaps]

    energy, forces = subject.energy_and_forces(atoms)
    other_energy, other_forces = subject.energy_and_forces(other)
    separate_energy = energy + other_energy
    separate_forces = np.concatenate([forces, other_forces])
    with extreme("two distant groups"):
        energies, together = subject.energies_and_forces(structures)
    interactions = energies - separate_energy
    changes = np.array(together) - separate_forces  # (m, 2n, 3)
    return np.abs(interactions), np.abs(changes).max(axis=(1, 2))


def _apart(atoms: Atoms, other: Atoms, gap: float) -> Atoms:
    """Both structures, with a gap in A between them along x."""
    edge = atoms.positions[:, 0].max()
    other_edge = other.positions[:, 0].min()
    shifted = other.copy()
    shifted.positions[:, 0] += edge - other_edge + gap
    both: Atoms = atoms + shifted
    return both


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with an attraction of 1 meV/A to the middle, beyond 20 A from it."""

    def wrong(atoms: Atoms) -> Properties:
        middle = atoms.positions.mean(axis=0)
        arms = atoms.positions - middle
        energies, forces = _attraction(arms)
        return altered(calculate(atoms), energy=energies.sum(), forces=forces)

    return wrong


def _attraction(arms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Energies (n,) in eV and forces (n, 3) in eV/A of the broken calculator; arms (n, 3) in A."""
    distances = np.linalg.norm(arms, axis=1)
    beyond = np.maximum(distances - BROKEN_START, 0.0)
    # no pull inside, where the direction does not matter
    pull = np.where(beyond > 0, BROKEN_PULL, 0.0)
    divisors = np.maximum(distances, 1.0)
    directions = arms / divisors[:, None]
    return BROKEN_PULL * beyond, -pull[:, None] * directions
