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
from ._results import Limit, Measured, Plot
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
MARGIN = 1.2  # factor over the law of charges, for groups that are not points


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield how far forces and energies of two distant copies of `atoms` exceed the law of charges.

    The forces are those of `subject` on one group minus those on it alone. The law is the largest
    one between 10 and 14 A, F0 at r0, times (r0 / r)^2 for forces and r0 / r for energies.
    """
    reach = 2.0 * (subject.cutoff or 0.0)
    near = NEAR + max(0.0, reach - NEAR[0])
    distant = DISTANT[subject.full] + (near[0] - NEAR[0])
    other = atoms.copy()
    other.positions[:] = other.positions[:, [1, 2, 0]]  # a rotation by 120 degrees
    # distances between the groups
    offset = atoms.positions[:, 0].max() - other.positions[:, 0].min()

    separate, separate_forces = _separate(subject, atoms, other)
    structures = []
    for gap in (*near, *distant):
        shifted = other.copy()
        shifted.positions[:, 0] += offset + gap
        structures.append(atoms + shifted)
    with extreme("two distant groups"):
        energies, forces = subject.energies_and_forces(structures)
    interactions = np.abs(energies - separate)
    changes = np.array([np.abs(array - separate_forces).max() for array in forces])

    count = len(near)
    noise = subject.noise
    plot = Plot("gap (A)", "force (eV/A)", {"force": (np.array([*near, *distant]), changes)})
    excess = changes[count:] - MARGIN * changes[:count].max() * (near[0] / distant) ** 2
    worst = int(np.argmax(np.nan_to_num(excess, nan=np.inf)))
    note = f"at {distant[worst]:.0f} A"
    yield Measured("force", max(excess[worst], 0.0), note, plot, noise=noise.forces)
    excess = interactions[count:] - MARGIN * interactions[:count].max() * near[0] / distant
    worst = int(np.argmax(np.nan_to_num(excess, nan=np.inf)))
    note = f"at {distant[worst]:.0f} A"
    of_both = 1e3 * noise.energy * 2 * len(atoms)
    yield Measured("energy", 1e3 * max(excess[worst], 0.0), note, noise=of_both)


def _separate(subject: Subject, atoms: Atoms, other: Atoms) -> tuple[float, np.ndarray]:
    """Sum of the energies and forces (2n, 3) of two groups, each alone."""
    energy, forces = subject.energy_and_forces(atoms)
    other_energy, other_forces = subject.energy_and_forces(other)
    return energy + other_energy, np.concatenate([forces, other_forces])


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with an attraction of 1 meV/A to the middle, beyond 20 A from it."""

    def wrong(atoms: Atoms) -> Properties:
        arms = atoms.positions - atoms.positions.mean(axis=0)
        distances = np.linalg.norm(arms, axis=1)
        beyond = np.maximum(distances - 20.0, 0.0)
        units = arms / np.maximum(distances, 1.0)[:, None]
        pull = -1e-3 * units * (beyond > 0)[:, None]
        return altered(calculate(atoms), energy=1e-3 * beyond.sum(), forces=pull)

    return wrong
