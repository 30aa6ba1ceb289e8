"""Uncertainty of the energies along a trajectory, where the frames or the run have it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..md import thermo
from ._results import Analysis, Curve
from .trajectory import Trajectory

TOTAL = "uncertainty_eV"
LARGEST = "max_atom_uncertainty_eV"


def is_known(trajectory: Trajectory) -> bool:
    """Whether a trajectory has uncertainties of atomic energies.

    Parameters
    ----------
    trajectory:
        Trajectory.
    """
    return LARGEST in trajectory.series


def uncertainty(trajectory: Trajectory) -> Analysis:
    """Largest uncertainty of an atomic energy over time, and how often it is above the threshold.

    Energies in eV. The equilibration is part of it: the model has to describe that as well.

    Parameters
    ----------
    trajectory:
        Trajectory with uncertainties.
    """
    series = trajectory.series
    largest = series[LARGEST]
    threshold = thermo.uncertainty_threshold(trajectory.paths[0].parent)
    above = int(np.count_nonzero(largest > threshold))
    values: dict[str, Any] = {
        "largest uncertainty of an atom (eV)": float(f"{largest.max():.4g}"),
        "mean of the largest uncertainty (eV)": float(f"{largest.mean():.4g}"),
        "threshold (eV)": threshold,
        "rows above the threshold": f"{above} of {len(largest)}",
    }
    table = {name: series[name] for name in ("time_ps", TOTAL, LARGEST) if name in series}
    curves: tuple[Curve, ...] = ()
    # times may be unknown
    if np.isfinite(series["time_ps"]).all():
        label = "largest uncertainty\nof an atom (eV)"
        line = (threshold, f"threshold {threshold:g} eV")
        curves = (Curve("time_ps", (LARGEST,), "time (ps)", label, lines=(line,)),)
    return Analysis("uncertainty", "uncertainty of atomic energies", values, table, curves)
