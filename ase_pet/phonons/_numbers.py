"""Validation of the numbers that describe a calculation, before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

Supercell = Sequence[int] | Sequence[Sequence[int]] | np.ndarray
PRESSURES = (-1e3, 1e4)  # GPa; beyond them there are no crystals
HOTTEST = 1e5  # K, far above the melting of any crystal


def between(name: str, value: float, low: float, high: float, unit: str = "") -> float:
    """The value as a float, if it is a number from `low` to `high`.

    Parameters
    ----------
    name:
        Name of the argument.
    value:
        Its value.
    low:
        Lowest valid value.
    high:
        Highest valid value.
    unit:
        Unit, for the error.

    Raises
    ------
    ValueError
        The value is no number, or outside of the range.
    """
    number = _number(value)
    if not low <= number <= high:
        expected = f"a number from {low:g} to {high:g} {unit}".rstrip()
        raise ValueError(f"`{name}` is {value!r}: expected {expected}")
    return number


def positive(name: str, value: float, unit: str = "") -> float:
    """The value as a float, if it is finite and above 0.

    Parameters
    ----------
    name:
        Name of the argument.
    value:
        Its value.
    unit:
        Unit, for the error.

    Raises
    ------
    ValueError
        The value is something else.
    """
    number = _number(value)
    if not (number > 0 and np.isfinite(number)):
        expected = f"a number above 0 {unit}".rstrip()
        raise ValueError(f"`{name}` is {value!r}: expected {expected}")
    return number


def count(name: str, value: int, least: int = 1) -> int:
    """The value as an integer, if it is a whole number of at least `least`.

    Parameters
    ----------
    name:
        Name of the argument.
    value:
        Its value.
    least:
        Lowest valid value.

    Raises
    ------
    ValueError
        The value is something else.
    """
    number = _number(value)
    if not (least <= number < 1e9 and number == np.rint(number)):
        raise ValueError(
            f"`{name}` is {value!r}: expected a number above 0 without a fraction, {least} or more"
        )
    return int(number)


def pressure(value: float) -> float:
    """A pressure in GPa as a float, if it is a valid one.

    Parameters
    ----------
    value:
        Pressure in GPa, positive where it compresses.
    """
    return between("pressure", value, *PRESSURES, "GPa")


def mesh(value: Sequence[int]) -> tuple[int, int, int]:
    """Number of q-points along each reciprocal vector, if these are three whole numbers.

    Parameters
    ----------
    value:
        The three numbers.

    Raises
    ------
    ValueError
        The value is something else.
    """
    numbers = _array(value)
    if numbers.shape != (3,) or not (_whole(numbers) and numbers.min() >= 1):
        raise ValueError(
            f"`mesh` is {value!r}: expected three numbers of q-points, whole ones of 1 or more"
        )
    first, second, third = np.rint(numbers).astype(int).tolist()
    return (first, second, third)


def supercell_matrix(supercell: Supercell) -> np.ndarray:
    """(3, 3) integers of a supercell of positive volume.

    Parameters
    ----------
    supercell:
        Three repeats, or a (3, 3) matrix of integers.

    Raises
    ------
    ValueError
        The value is something else.
    """
    matrix = _array(supercell)
    repeats = matrix.shape == (3,)
    if repeats:
        matrix = np.diag(matrix)
    valid = matrix.shape == (3, 3) and _whole(matrix) and np.linalg.det(matrix) > 0.5
    # (-2, -2, 1) has a positive volume, but nobody means it
    if not valid or (repeats and matrix.min() < 0):
        raise ValueError(
            f"`supercell` is {supercell!r}: expected three repeats, 1 or more, or a 3x3 matrix of"
            " integers with a positive determinant"
        )
    return np.asarray(np.rint(matrix), dtype=int)


def temperatures(values: float | Sequence[float] | np.ndarray, lowest: float = 0.0) -> np.ndarray:
    """(T,) temperatures in K, if all are finite and at least `lowest`.

    Parameters
    ----------
    values:
        One temperature or several.
    lowest:
        Lowest valid temperature in K.

    Raises
    ------
    ValueError
        A value is no temperature, or there is none.
    """
    kelvin = np.atleast_1d(_array(values))
    valid = kelvin.ndim == 1 and kelvin.size > 0 and np.isfinite(kelvin).all()
    if not valid or kelvin.min() < lowest or kelvin.max() > HOTTEST:
        raise ValueError(
            f"`temperatures` are {values!r}: expected numbers from {lowest:g} to {HOTTEST:.0f} K"
        )
    return kelvin


def require_masses(atoms: Atoms) -> None:
    """Raise ValueError unless all masses are finite and above 0.

    Parameters
    ----------
    atoms:
        Structure.
    """
    masses = atoms.get_masses()
    wrong = np.flatnonzero(~(np.isfinite(masses) & (masses > 0)))
    if wrong.size:
        first = int(wrong[0])
        raise ValueError(
            f"atom {first} ({atoms.symbols[first]}) has a mass of {masses[first]:g} u: expected"
            " masses above 0"
        )


def require_finite(what: str, values: object, where: str) -> None:
    """Raise ValueError if a calculator returned NaN or infinity.

    Parameters
    ----------
    what:
        Name of the values, such as "forces".
    values:
        Numbers or array that the calculator returned.
    where:
        Structure that they belong to, such as "at step 3".
    """
    if not np.isfinite(np.asarray(values, dtype=float)).all():
        raise ValueError(f"the calculator returned {what} {where} that are NaN or infinite")


def _number(value: object) -> float:
    """The value as a float; NaN, which no range includes, if it is no number."""
    if isinstance(value, bool | str) or np.ndim(value):  # type: ignore[arg-type]
        return np.nan
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return np.nan


def _array(values: object) -> np.ndarray:
    """The values as an array of floats, empty if they are no numbers."""
    try:
        return np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        return np.empty(0)


def _whole(numbers: np.ndarray) -> bool:
    """Whether all numbers are integers of less than 10 digits."""
    return bool(np.all(np.abs(numbers) < 1e9) and np.array_equal(numbers, np.rint(numbers)))
