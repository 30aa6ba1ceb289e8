"""Labels: masses, momenta, tags, names and constraints of atoms do not change energy and forces.

Energies are functions of elements, positions and cell alone. Charges and magnetic moments may
matter; moments of zero are those of a structure without moments.

What helps: read elements from atomic numbers only; remove the labels from the structure until that
is repaired.

Where it fails, isotopes have other bonds, and the same structure from two files has two energies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms

from ..constraints import true_forces
from ._check import Calculate, Properties
from ._equivariance import altered
from ._results import Limit, Measured
from ._subject import Subject

LEVEL = "quick"
STRUCTURES = "any"
LIMITS = {
    "energy": Limit("meV/atom", float64=1e-6, float32=1e-2),
    "forces": Limit("eV/A", float64=1e-8, float32=1e-4),
}


def _heavier(atoms: Atoms) -> None:
    atoms.set_masses(atoms.get_masses() * np.linspace(1.1, 3.0, len(atoms)))


def _moving(atoms: Atoms) -> None:
    atoms.set_momenta(np.outer(np.arange(len(atoms)) + 1.0, [1.0, -2.0, 3.0]))


def _tagged(atoms: Atoms) -> None:
    atoms.set_tags(np.arange(len(atoms)) + 1)


def _named(atoms: Atoms) -> None:
    atoms.info["name"] = "a name"
    atoms.info["energy"] = 1.0
    atoms.new_array("labels", np.arange(len(atoms)))
    atoms.new_array("residuenames", np.array(["ALA"] * len(atoms)))


def _constrained(atoms: Atoms) -> None:
    atoms.set_constraint(FixAtoms(indices=[0]))


def _without_moments(atoms: Atoms) -> None:
    if not atoms.has("initial_magmoms"):
        atoms.set_initial_magnetic_moments(np.zeros(len(atoms)))


def _uncharged(atoms: Atoms) -> None:
    if not atoms.has("initial_charges"):
        atoms.set_initial_charges(np.zeros(len(atoms)))


def _shifted_origin(atoms: Atoms) -> None:
    atoms.set_celldisp([0.3, 0.2, 0.1])


CHANGES: dict[str, Callable[[Atoms], None]] = {
    "masses": _heavier,
    "momenta": _moving,
    "tags": _tagged,
    "names": _named,
    "constraints": _constrained,
    "magnetic moments of zero": _without_moments,
    "charges of zero": _uncharged,
    "origin of the cell": _shifted_origin,
}


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield the largest changes of energy and forces of `subject` with the labels of `atoms`."""
    moved = atoms.copy()
    noise_of_positions = subject.generator().normal(size=moved.positions.shape)
    moved.positions += 0.05 * noise_of_positions
    energy, forces = subject.energy_and_forces(atoms)
    energy_errors = {}
    force_errors = {}
    for name, change in CHANGES.items():
        # ASE's calculators keep the last results where nothing changed that they know of.
        subject.energy_and_forces(moved)
        changed = subject.with_calculator(atoms)
        change(changed)
        changed_forces = true_forces(changed)
        changed_energy = float(changed.get_potential_energy())
        difference = abs(changed_energy - energy)
        force_differences = np.abs(changed_forces - forces)
        energy_errors[name] = 1e3 * difference / len(atoms)  # meV/atom
        force_errors[name] = float(force_differences.max())
    noise = subject.noise
    yield _largest("energy", energy_errors, 1e3 * noise.energy)
    yield _largest("forces", force_errors, noise.forces)


def _largest(quantity: str, errors: dict[str, float], noise: float) -> Measured:
    """The largest of errors by label."""
    worst = max(errors, key=lambda name: errors[name])
    note = f"with other {worst}" if errors[worst] > 0 else ""
    return Measured(quantity, errors[worst], note, noise=noise)


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with energy and forces that depend on masses."""

    def wrong(atoms: Atoms) -> Properties:
        error = 1e-3 * atoms.get_masses().sum()
        return altered(calculate(atoms), energy=error, forces=error)

    return wrong
