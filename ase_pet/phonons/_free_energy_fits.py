"""Fits of free energies to an equation of state at each temperature, by phonopy."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ._ranges import SAME, grid_of
from ._strained import Strained
from .force_constants import EXTRA

if TYPE_CHECKING:
    from phonopy.qha.qha import QHAResult

# warnings of phonopy
NO_FIT = "EOS fitting failed"  # at a temperature, which it leaves out
# meshes of even numbers only take longer; such temperatures are left out later
KNOWN = (NO_FIT, "Half-grid shift", "Lattice parameters are extrapolated")


def fitted(
    crystals: list[Strained],
    kelvin: np.ndarray,
    mesh: Sequence[int],
    pressure: float,
    equation: str,
) -> tuple[QHAResult, np.ndarray]:
    """Result of phonopy, and its rows of the temperatures that have a fit.

    At high temperatures a crystal may have no minimum any more. The temperatures from the first one
    without a fit on are left out, with a warning.

    Parameters
    ----------
    crystals:
        Crystals with their phonons.
    kelvin:
        (T,) temperatures in K.
    mesh:
        q-points along each reciprocal vector.
    pressure:
        Pressure in GPa.
    equation:
        Name of the equation of state.

    Raises
    ------
    ValueError
        There is no fit at the lowest temperature.
    """
    chosen = kelvin
    # each pass has fewer temperatures than the one before
    while True:
        grid = grid_of(chosen)
        result, failed = _run(crystals, grid, mesh, pressure, equation)
        if not failed:
            break
        last = _last_in_order(grid, np.asarray(result.temperatures))
        fewer = chosen[chosen <= last + SAME]
        # one less in any case: its neighbours above may be what has no fit
        chosen = fewer[: len(chosen) - 1]
        if not len(chosen):
            raise _no_equation("no fit at the lowest temperature")
    if len(chosen) < len(kelvin):
        warnings.warn(
            f"above {chosen[-1]:g} K the free energy does not follow an equation of state:"
            f" {len(kelvin) - len(chosen)} of {len(kelvin)} temperatures are left out. Extend"
            " `strains`, or lower the highest temperature",
            stacklevel=3,
        )
    return result, np.searchsorted(grid, chosen)


def _last_in_order(grid: np.ndarray, found: np.ndarray) -> float:
    """Last temperature in K up to which no one of the grid is missing; -1 without any."""
    count = min(len(grid), len(found))
    same = np.isclose(grid[:count], found[:count], rtol=0, atol=SAME)
    in_order = int(np.argmin([*same, False]))
    return float(grid[in_order - 1]) if in_order else -1.0


def _run(
    crystals: list[Strained],
    grid: np.ndarray,
    mesh: Sequence[int],
    pressure: float,
    equation: str,
) -> tuple[QHAResult, bool]:
    """Result of phonopy on a grid of temperatures, and whether some of them have no fit.

    Energies are relative to that of the first volume: a large energy in the fits, such as that of
    free atoms, would be noise in their volumes.
    """
    try:
        from phonopy import run_qha
    except ImportError as error:
        raise ValueError(f"the approximation needs phonopy 4.10, {EXTRA}: {error}") from None
    zero = crystals[0].primitive_energy
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = run_qha(
                [one.phonopy for one in crystals],
                grid,
                [one.primitive_energy - zero for one in crystals],
                mesh=mesh,
                pressure=pressure,
                eos=equation,
                exclude_gamma_acoustic=True,
            )
        except RuntimeError as error:
            raise _no_equation(str(error)) from None
    for each in caught:
        if not str(each.message).startswith(KNOWN):
            warnings.warn(each.message, stacklevel=4)
    return result, any(str(each.message).startswith(NO_FIT) for each in caught)


def _no_equation(reason: str) -> ValueError:
    return ValueError(
        f"the free energy does not follow an equation of state: {reason}; expected more volumes, or"
        " a smaller range of `strains` or temperatures"
    )
