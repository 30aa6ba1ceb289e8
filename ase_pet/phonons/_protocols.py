"""Optional methods of calculators, as types that `isinstance` can check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from ase import Atoms

Displacement = tuple[int, np.ndarray]  # index of the displaced atom, displacement (3,) in A


class AseCalculator(Protocol):
    """Any calculator with ASE's interface."""

    def get_property(
        self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True
    ) -> Any:
        """Value of a property of `atoms`, in ASE's units."""


@runtime_checkable
class SupportsCard(Protocol):
    """A calculator that names its model."""

    card: Any  # its attribute `name` is the name of the model


@runtime_checkable
class SupportsHessian(Protocol):
    """A calculator with second derivatives of the energy."""

    def hessian(self, atoms: Atoms) -> np.ndarray:
        """(3n, 3n) second derivatives in eV/A^2.

        A calculator may also take the argument `of`, indices of k atoms, and then returns the rows
        (3k, 3n) of these atoms.
        """


@runtime_checkable
class SupportsBatches(Protocol):
    """A calculator that evaluates many structures in one call."""

    def evaluate(
        self, list_of_atoms: Sequence[Atoms], properties: Sequence[str]
    ) -> list[dict[str, Any]]:
        """{property: value} of each structure, in ASE's units."""


@runtime_checkable
class SupportsDisplacedForces(Protocol):
    """A calculator with fast forces of copies of a structure in which one atom is displaced."""

    def displaced_forces(
        self, atoms: Atoms, displacements: Sequence[Displacement]
    ) -> list[np.ndarray]:
        """Forces (n, 3) in eV/A of each displaced copy."""
