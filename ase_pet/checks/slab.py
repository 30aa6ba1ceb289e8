"""Slabs, wires and clusters: a direction that is not periodic is open, the others are not.

Atoms do not interact across an edge of the cell that is not periodic, however short it is; they do
across the others.

What helps: add vacuum of more than the cutoff along open directions and make the cell fully
periodic; that is right with any calculator of short range.

Where it fails, surface energies, adsorption and thin films are wrong: a slab is computed as a
crystal or as a molecule.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms

from ._check import Calculate, Properties
from ._equivariance import altered
from ._results import Limit, Measured
from ._subject import Subject, extreme

LEVEL = "quick"
STRUCTURES = "periodic"
LIMITS = {
    "energy": Limit("meV/atom", float64=1e-6, float32=1e-2),
    "forces": Limit("eV/A", float64=1e-8, float32=1e-4),
}
# periodic directions, by subject.full
SLAB = (True, True, False)
WIRE = (True, False, False)
QUICK = (SLAB, WIRE, (False, False, False))
OTHERS = ((True, False, True), (False, True, True), (False, True, False), (False, False, True))
COMBINATIONS = {False: QUICK, True: (*QUICK, *OTHERS)}
VACUUM = 25.0  # A, or three cutoffs where that is more


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield the largest differences of `subject` between open directions and ones with vacuum.

    The cell of `atoms` is left as it is, with some directions open; the reference has a long cell
    along these directions and is fully periodic.
    """
    cutoff = subject.cutoff or 0.0
    vacuum = max(VACUUM, 3 * cutoff)
    wrapped = atoms.copy()
    wrapped.wrap()
    energy_errors = {}
    force_errors = {}
    for periodic in COMBINATIONS[subject.full]:
        name = _letters(periodic)
        open_cell = wrapped.copy()
        open_cell.pbc = periodic
        padded = with_vacuum(wrapped, periodic, vacuum)
        with extreme(f"a cell that is periodic along {name}"):
            energy, forces = subject.energy_and_forces(open_cell)
            expected_energy, expected_forces = subject.energy_and_forces(padded)
        difference = abs(energy - expected_energy)
        force_differences = np.abs(forces - expected_forces)
        energy_errors[name] = 1e3 * difference / len(atoms)  # meV/atom
        force_errors[name] = float(force_differences.max())
    noise = subject.noise
    yield _largest("energy", energy_errors, 1e3 * noise.energy)
    yield _largest("forces", force_errors, noise.forces)


def _letters(periodic: tuple[bool, ...]) -> str:
    """Text such as "TTF" of periodic directions."""
    return "".join("T" if direction else "F" for direction in periodic)


def _largest(quantity: str, errors: dict[str, float], noise: float) -> Measured:
    """The largest of errors by periodic directions."""
    worst = max(errors, key=lambda name: errors[name])
    return Measured(quantity, errors[worst], f"periodic along {worst}", noise=noise)


def with_vacuum(atoms: Atoms, periodic: tuple[bool, ...], vacuum: float) -> Atoms:
    """Fully periodic copy, with vacuum along the directions that are not periodic.

    Parameters
    ----------
    atoms:
        Structure with a cell.
    periodic:
        Whether each of the three directions is periodic.
    vacuum:
        Height of the vacuum in A, perpendicular to the faces of the cell.
    """
    cell = atoms.cell.array.copy()
    heights = atoms.get_volume() / atoms.cell.areas()
    for direction in range(3):
        if not periodic[direction]:
            cell[direction] *= 1 + vacuum / heights[direction]
    padded: Atoms = atoms.copy()
    padded.set_cell(cell)
    padded.pbc = True
    return padded


def broken(calculate: Calculate) -> Calculate:
    """`calculate` that takes every cell as fully periodic."""

    def wrong(atoms: Atoms) -> Properties:
        if atoms.pbc.any() and not atoms.pbc.all():
            atoms = atoms.copy()
            atoms.pbc = True
        return altered(calculate(atoms))

    return wrong
