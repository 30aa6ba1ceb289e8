"""Optional methods of calculators and integrators, as types that `isinstance` can check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from ase import Atoms


class AseCalculator(Protocol):
    """Any calculator with ASE's interface."""

    def get_property(
        self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True
    ) -> Any:
        """Value of a property of `atoms`, in ASE's units."""


@runtime_checkable
class HasParameters(Protocol):
    """A calculator that stores its parameters by name, as most calculators of ASE do."""

    parameters: Mapping[str, Any]


@runtime_checkable
class ListsProperties(Protocol):
    """A calculator that lists the properties that it computes, as those of ASE do."""

    implemented_properties: list[str]


@runtime_checkable
class SupportsFingerprint(Protocol):
    """A calculator that hashes what decides its numbers, as those of this package do."""

    def fingerprint(self) -> str:
        """Hexadecimal hash of weights and settings."""


@runtime_checkable
class SupportsReset(Protocol):
    """A calculator whose cached results can be dropped."""

    def reset(self) -> None:
        """Drop all cached results."""


@runtime_checkable
class SupportsConservedEnergy(Protocol):
    """An integrator that computes the energy it conserves (Nose-Hoover chains, MTK)."""

    def get_conserved_energy(self) -> float:
        """Conserved energy in eV."""
