"""Locality and separation: energies and forces of two structures far apart are additive.

Interactions of charges and dipoles end at no distance; what they leave at infinity is zero.

What helps: an interaction that ends at its cutoff, and energies that are sums over atoms.

Where it fails, distant molecules act on each other, and energies of reaction or adsorption are
wrong by that.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms

from ._check import Calculate, Properties
from ._equivariance import altered
from ._results import Limit, Measured
from ._subject import Subject

LEVEL = "quick"
STRUCTURES = "free"
LIMITS = {
    "energy": Limit("meV", float64=1e-5, float32=1e-1),
    "forces": Limit("eV/A", float64=1e-8, float32=1e-4),
}
DISTANCE = 40.0  # A between the nearest atoms, or four cutoffs where that is more
FACTORS = (2.5, 5.0, 10.0)  # of it, from which an interaction is extrapolated


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield E(A + B) - E(A) - E(B) of `subject`, and the change of the forces.

    A are the `atoms`, and B is a rotated copy of them far away. Where they interact, the values are
    those at infinite distance, extrapolated from three distances that double: for a law d^-p,
    E = (E1 E3 - E2^2) / (E1 + E3 - 2 E2) there.
    """
    cutoff = subject.cutoff or 0.0
    distance = max(DISTANCE, 4 * cutoff)
    energy, forces = _interaction(subject, atoms, distance)
    noise = subject.noise
    of_both = 1e3 * noise.energy * 2 * len(atoms)  # meV
    limit = LIMITS["energy"].high(subject.dtype) or 0.0
    note = f"{distance:.0f} A apart"
    # Charges and dipoles act at any distance.
    if 1e3 * abs(energy) > max(limit, of_both):
        energies = []
        for factor in FACTORS:
            energy, forces = _interaction(subject, atoms, factor * distance)
            energies.append(energy)
        energy, power = _at_infinity(energies)
        note = f"interaction falls as d^-{power:.1f}, extrapolated"
    force = np.abs(forces).max()
    yield Measured("energy", 1e3 * abs(energy), note, noise=of_both)
    yield Measured("forces", force, note, noise=noise.forces)


def _interaction(subject: Subject, atoms: Atoms, distance: float) -> tuple[float, np.ndarray]:
    """E(A + B) - E(A) - E(B) in eV and the changes of the forces (2n, 3) of copies far apart."""
    other = atoms.copy()
    other.positions[:] = other.positions[:, [1, 2, 0]]  # a rotation by 120 degrees
    # Far enough along x, whatever the shape of the two.
    width = np.ptp(atoms.positions[:, 0])
    other_width = np.ptp(other.positions[:, 0])
    shift = width + other_width + distance
    other.positions += [shift, 0, 0]

    energy_a, forces_a = subject.energy_and_forces(atoms)
    energy_b, forces_b = subject.energy_and_forces(other)
    energy, forces = subject.energy_and_forces(atoms + other)
    separate_forces = np.concatenate([forces_a, forces_b])
    interaction = energy - energy_a - energy_b
    return interaction, forces - separate_forces


def _at_infinity(energies: list[float]) -> tuple[float, float]:
    """Limit in eV of three energies at doubled distances, and the power with which they fall.

    The last energy where they do not fall.
    """
    first, second, third = energies
    ratio = (first - second) / (second - third) if second != third else 0.0
    # A law that falls more slowly than that of charges is none.
    if ratio < 1.5:
        return third, 0.0
    limit = (first * third - second**2) / (first + third - 2 * second)
    return limit, float(np.log2(ratio))


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with terms that depend on the number of atoms."""

    def wrong(atoms: Atoms) -> Properties:
        number = len(atoms)
        return altered(calculate(atoms), energy=1e-3 * number**2, forces=1e-3 * number)

    return wrong
