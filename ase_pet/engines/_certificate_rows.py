"""Rows of results of a certificate, and their limits."""

from __future__ import annotations

from typing import Any, NamedTuple

# quantity: unit, limit in float64, limit in float32
LIMITS: dict[str, tuple[str, float, float]] = {
    "energy": ("eV/atom", 1e-11, 1e-5),
    "energies of atoms": ("eV", 1e-10, 1e-4),
    "forces": ("eV/A", 1e-10, 1e-3),
    "six pressures": ("bar", 1e-6, 100.0),
    "positions": ("A", 1e-9, 1e-2),
    "ghost atoms evaluated": ("", 0.0, 0.0),
}


class Row(dict[str, Any]):
    """One result: check, quantity, value, limit, unit, passed, note."""


class Limits(NamedTuple):
    """Limits for a calculator.

    Attributes
    ----------
    is_precise:
        Whether it computes in float64.
    """

    is_precise: bool

    def row(self, check: str, quantity: str, value: float) -> Row:
        """Row of a quantity with its limit.

        Parameters
        ----------
        check:
            Name of the check.
        quantity:
            Key of LIMITS.
        value:
            What was measured.
        """
        unit, precise, rounded = LIMITS[quantity]
        limit = precise if self.is_precise else rounded
        return Row(
            check=check,
            quantity=quantity,
            value=float(value),
            limit=limit,
            unit=unit,
            passed=bool(value <= limit),
            note="",
        )


def outcome(check: str, quantity: str, value: float, passed: bool) -> Row:
    """Row of a number that has no limit.

    Parameters
    ----------
    check:
        Name of the check.
    quantity:
        What the number is.
    value:
        The number.
    passed:
        Whether it is as it should be.
    """
    return Row(
        check=check,
        quantity=quantity,
        value=float(value),
        limit=None,
        unit="",
        passed=bool(passed),
        note="",
    )
