"""Atomic energies: `energies`, one for each atom, add up to the energy.

What helps: shares of all terms of the energy, such as composition energies and corrections, in
`energies`; until then, use `energy` only.

Where it fails, energies of parts of a system, heat currents and uncertainties of atoms are wrong.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms

from ._check import Calculate
from ._results import Limit, Measured, NotApplicable
from ._subject import Subject

LEVEL = "quick"
STRUCTURES = "any"
LIMITS = {"sum": Limit("meV/atom", float64=1e-6, float32=1e-2)}


def measure(subject: Subject, atoms: Atoms) -> Iterator[Measured]:
    """Yield the difference of the sum of `energies` of `atoms` and the energy, by `subject`."""
    with_calculator = subject.with_calculator(atoms)
    energy = float(with_calculator.get_potential_energy())
    energies = _energies(with_calculator)
    difference = abs(energies.sum() - energy)
    error = 1e3 * difference / len(atoms)
    yield Measured("sum", error, noise=1e3 * subject.noise.energy)


def _energies(atoms: Atoms) -> np.ndarray:
    """`energies` (n,) in eV; NotApplicable where the calculator has none."""
    try:
        energies = np.asarray(atoms.get_potential_energies(), dtype=np.float64)
    # what calculators without the property raise, beside NotImplementedError
    except (AttributeError, KeyError) as reason:
        raise NotApplicable(f"the calculator has no `energies`: {reason}") from None
    if energies.shape != (len(atoms),):
        raise ValueError(f"`energies` has shape {energies.shape}: expected ({len(atoms)},)")
    return energies


def broken(calculate: Calculate) -> Calculate:
    """`calculate` with energies of atoms that lack 1 meV each."""

    def wrong(atoms: Atoms) -> dict[str, object]:
        properties = calculate(atoms)
        shares = np.full(len(atoms), properties["energy"] / len(atoms) - 1e-3)
        return properties | {"energies": shares}

    return wrong
