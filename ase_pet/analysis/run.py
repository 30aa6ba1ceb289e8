"""All analyses of a trajectory, and their files."""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .. import statistics
from ..md import plots
from ..md.outputs import SETTINGS
from ..staging import staged
from . import uncertainty
from ._results import Analysis
from .motion import mean_square_displacement, vibrational_density_of_states
from .structure import CUTOFF, check_bins, radial_distribution
from .thermodynamics import averages, expansion_from_fluctuations, heat_capacity
from .trajectory import Trajectory, read

REPORT = "analysis.json"


@dataclasses.dataclass(frozen=True)
class Results:
    """Results of `analyse`.

    Attributes
    ----------
    trajectory:
        The trajectory.
    heading:
        System, and the ensemble and calculator where they are known.
    analyses:
        {name: analysis} of those that were possible.
    skipped:
        {name: reason} of the others.
    equilibrated_from:
        Index of the first frame that was used; None if the trajectory still drifts, and all frames
        were used.
    """

    trajectory: Trajectory
    heading: str
    analyses: dict[str, Analysis]
    skipped: dict[str, str]
    equilibrated_from: int | None

    def as_dict(self) -> dict[str, Any]:
        """Content for JSON."""
        return {
            "system": self.heading,
            "frames": len(self.trajectory),
            "atoms": len(self.trajectory.first),
            "interval_ps": self.trajectory.interval,
            "equilibrated_from_frame": self.equilibrated_from,
            "analyses": {name: analysis.as_dict() for name, analysis in self.analyses.items()},
            "skipped": self.skipped,
        }

    def write(self, folder: Path | str) -> list[Path]:
        """Paths of the files: analysis.json with all numbers, and JSON, CSV and PNG of each.

        Parameters
        ----------
        folder:
            Folder to write to; it is made if absent.
        """
        folder = Path(folder)
        names = [REPORT]
        with staged(folder) as stage:
            for analysis in self.analyses.values():
                paths = analysis.write(stage, self.heading)
                names += [path.name for path in paths]
            report = json.dumps(self.as_dict(), indent=1) + "\n"
            (stage / REPORT).write_text(report, encoding="utf-8")
        return [folder / name for name in names]


def analyse(
    source: Path | str | Trajectory,
    *,
    interval: float | None = None,
    ensemble: str | None = None,
    skip: float | None = None,
    cutoff: float = CUTOFF,
) -> Results:
    """All analyses that a trajectory allows, after its equilibration.

    Parameters
    ----------
    source:
        Folder of a run, file, pattern such as "*.traj", or Trajectory.
    interval:
        Time between frames in fs; None for that of `time_ps` in the info of the frames.
    ensemble:
        nve, nvt or npt, for the heat capacity; None for that of the run.
    skip:
        Fraction of the trajectory to leave out at the start; None to detect the equilibration.
    cutoff:
        Largest distance of the radial distribution functions in A.

    Raises
    ------
    ValueError
        The trajectory is not usable; the message says why.
    """
    if skip is not None and not 0 <= skip < 1:
        raise ValueError(f"`skip` is {skip!r}: expected a fraction of the trajectory, 0 to below 1")
    check_bins(cutoff)
    trajectory = source if isinstance(source, Trajectory) else read(source, interval, ensemble)
    means, begin = averages(trajectory)
    if skip is not None:
        begin = skip
    reason = _unsettled(trajectory)
    if begin is None:
        warnings.warn(f"{reason}: structure and motion are those of all frames", stacklevel=2)
    start = int(np.ceil((begin or 0) * len(trajectory)))
    start = min(start, len(trajectory) - 2)
    analyses = {means.name: means}
    skipped: dict[str, str] = {}
    for name, make in _possible(trajectory, start, begin, cutoff).items():
        try:
            made = make()
            analyses[name] = made if begin is not None else made.without_errors(reason)
        except ValueError as error:
            skipped[name] = str(error)
    first = None if begin is None else start
    return Results(trajectory, _heading(source, trajectory), analyses, skipped, first)


def _unsettled(trajectory: Trajectory) -> str:
    """Why a run without an equilibrium has none."""
    if np.ptp(trajectory.series.get("target_K", np.zeros(1))) > 0:
        return statistics.RAMP
    return "the trajectory is not equilibrated, but still drifts"


def _possible(
    trajectory: Trajectory, start: int, begin: float | None, cutoff: float
) -> dict[str, Callable[[], Analysis]]:
    """{name: analysis to make}; those that fail say why."""
    analyses: dict[str, Callable[[], Analysis]] = {
        "rdf": lambda: radial_distribution(trajectory, cutoff, start=start),
        "msd": lambda: mean_square_displacement(trajectory, start),
        "vdos": lambda: vibrational_density_of_states(trajectory, start),
    }
    if uncertainty.is_known(trajectory):
        analyses["uncertainty"] = lambda: uncertainty.uncertainty(trajectory)
    # fluctuations need equilibrium
    if begin is not None:
        analyses["heat_capacity"] = lambda: heat_capacity(trajectory, begin)
    if begin is not None and trajectory.ensemble == "npt":
        analyses["expansion"] = lambda: expansion_from_fluctuations(trajectory, begin)
    return analyses


def _heading(source: Path | str | Trajectory, trajectory: Trajectory) -> str:
    """System, and the ensemble and calculator of a run in a folder."""
    if not isinstance(source, Trajectory) and (Path(source) / SETTINGS).exists():
        return plots.title(Path(source))
    formula = plots.short_formula(str(trajectory.first.symbols))
    name = "" if isinstance(source, Trajectory) else Path(source).name
    return ", ".join(text for text in (formula, name) if text)
